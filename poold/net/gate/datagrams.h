/* SPDX-License-Identifier: Apache-2.0 */
/* Which datagrams a VM gets of what passt has for it: those for ports that are published, and what
 * comes from where the VM has sent some to, from the same port, within NET_REPLY_NS. passt would hand
 * it whatever anybody sends to a port of the host's that it has taken for the VM. Behind world.h.
 *
 * passt's answers from loopback addresses come from the gateway's, as the VM sees them. */
#ifndef VOLT_POOLD_GATE_DATAGRAMS_H
#define VOLT_POOLD_GATE_DATAGRAMS_H

#include "net/gate/gate.h"
#include "net/net_judge.h"

static inline bool datagrams_is_published(const struct gate_datagrams *datagrams, uint16_t port)
{
    bool found = false;

    for (unsigned i = 0; i < NET_OPENED_MAX; i++)
        found |= port && datagrams->published[i] == port;
    return found;
}

/* What is remembered when the VM's port and the remote one exchange datagrams. */
static inline struct net_flow_key datagrams_key(const struct gate_datagrams *datagrams,
                                                uint32_t remote, uint16_t remote_port,
                                                uint16_t own_port)
{
    return (struct net_flow_key){ .remote = remote >> 24 == 127 ? datagrams->gateway : remote,
                                  .remote_port = remote_port,
                                  .own_port = own_port,
                                  .protocol = NET_UDP,
                                  .kind = NET_FLOW_OWN };
}

/* The VM has sent that, and it has passed. */
static inline void datagrams_note(void *world, const struct net_vm *vm,
                                  const struct gate_datagrams *datagrams,
                                  const struct net_packet *packet)
{
    const struct net_flow_key key = datagrams_key(datagrams, packet->destination,
                                                  packet->destination_port, packet->source_port);

    if (packet->protocol == NET_UDP && packet->has_ports)
        net_flow_remember(world, vm, &key);
}

/* Whether what comes is let in, as all is that is no datagram. */
static inline bool datagrams_enter(void *world, const struct net_vm *vm,
                                   const struct gate_datagrams *datagrams,
                                   const struct net_head *head)
{
    struct net_packet packet = { 0 };

    if (net_read16(head->byte + 12) != NET_TYPE_IPV4)
        return true;
    if (net_parse(head, &packet) != NET_PASSED)
        return false;
    if (packet.protocol != NET_UDP)
        return true;
    const struct net_flow_key key =
        datagrams_key(datagrams, packet.source, packet.source_port, packet.destination_port);
    bool dhcp = packet.source_port == NET_DHCP_SERVER && packet.destination_port == NET_DHCP_CLIENT;

    return dhcp || datagrams_is_published(datagrams, packet.destination_port) ||
           net_flow_is_recent(world, vm, &key, NET_REPLY_NS);
}

#endif
