/* SPDX-License-Identifier: Apache-2.0 */
/* Decides what becomes of a frame that a VM sends. The one judge, compiled twice: into volt-gate,
 * which stands between a VM and passt, and into the programs that the host's kernel runs for taps
 * (net_programs.bpf.c). Freestanding; every loop is bounded, and nothing of a frame is read but its
 * head.
 *
 * How it works
 *   net_judge looks at what a VM sends, net_note at what comes to it. A frame passes if it is ARP
 *   or IPv4, its source is the VM's own, and the first rule that matches its destination allows
 *   that, or none matches. What a denied address has begun is answered all the same: net_note
 *   remembers who opened a connection or sent a datagram, net_judge lets the answers pass.
 *
 * Invariants
 *   1. What is judged is what the receiver will read: IPv4 options (source routes), headers that are
 *      cut, and all that is neither ARP nor IPv4, tags of VLANs too, are dropped.
 *   2. A fragment is let through behind its first one only, which has the ports and passed.
 *   3. A VM opens no TCP connection to a denied address by what is remembered: a SYN without ACK
 *      never passes, one with it only until the connection it answers is open.
 *   4. What is remembered of who is denied was sent by who can have sent it: nothing comes from
 *      loopback or multicast addresses, and from the host's own on a bridge only what the host has
 *      sent or routed itself.
 *
 * Whoever includes this defines net_world_is_host and what net_flows.h asks for; `world` is passed
 * through. */
#ifndef VOLT_POOLD_NET_JUDGE_H
#define VOLT_POOLD_NET_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "net/net_flows.h"
#include "net/net_rules.h"

#define NET_ETHERNET_BYTES 14u
#define NET_IPV4_BYTES 20u
#define NET_ARP_BYTES 28u
#define NET_HEAD_BYTES (NET_ETHERNET_BYTES + NET_IPV4_BYTES + 20u)
#define NET_TYPE_IPV4 0x0800u
#define NET_TYPE_ARP 0x0806u
/* IPPROTO_*, for the kernel's programs do without the C library's headers. */
#define NET_ICMP 1u
#define NET_TCP 6u
#define NET_UDP 17u
#define NET_DCCP 33u
#define NET_SCTP 132u
#define NET_UDPLITE 136u

#define NET_TCP_SYN 0x02u
#define NET_TCP_ACK 0x10u
#define NET_ICMP_ECHO_REPLY 0u
#define NET_ICMP_REDIRECT 5u
#define NET_ICMP_ECHO 8u
#define NET_ICMP_ROUTER 9u   /* advertisement */
#define NET_ICMP_SOLICIT 10u /* of routers */
#define NET_MORE_FRAGMENTS 0x2000u
#define NET_FRAGMENT_OFFSET 0x1fffu /* in units of 8 bytes */
#define NET_TCP_OFFSET_LEAST 3u     /* behind TCP's header */
#define NET_DHCP_SERVER 67u
#define NET_DHCP_CLIENT 68u
#define NET_BROADCAST 0xffffffffu

#define NET_REPLY_NS (180ull * 1000 * 1000 * 1000) /* of a datagram; TCP says itself when it ends */
#define NET_FRAGMENT_NS (30ull * 1000 * 1000 * 1000) /* as long as Linux waits for the others */

/* The beginning of a frame; what is not there is 0. */
struct net_head {
    uint8_t byte[NET_HEAD_BYTES];
    uint32_t have;        /* of them */
    uint32_t frame_bytes; /* all of it */
};

/* What is read of an IPv4 packet. */
struct net_packet {
    uint32_t source, destination;
    uint16_t source_port, destination_port; /* of an ICMP echo: its id, and 0 */
    uint16_t id;
    uint8_t protocol;
    uint8_t has_ports;
    uint8_t tcp_flags, icmp_type;
    uint8_t more, later; /* fragments follow; it is one, and not the first */
};

#ifdef __bpf__ /* a function that the kernel verifies by itself, once for all its callers */
#define NET_CALLED __attribute__((noinline))
#else
#define NET_CALLED static inline
#endif

/* Whether it is one of the host's own addresses. */
NET_INLINE bool net_world_is_host(void *world, uint32_t address);
NET_INLINE uint32_t net_read16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

NET_INLINE uint32_t net_read32(const uint8_t *at)
{
    return net_read16(at) << 16 | net_read16(at + 2);
}

NET_INLINE bool net_same_mac(const uint8_t *a, const uint8_t *b)
{
    return net_read32(a) == net_read32(b) && net_read16(a + 4) == net_read16(b + 4);
}

/* ---- What a packet says ---- */

/* Bytes of the header behind IPv4's that are looked at. */
NET_INLINE uint32_t net_header_bytes(uint8_t protocol)
{
    switch (protocol) {
    case NET_TCP:
        return 20;
    case NET_UDP:
    case NET_ICMP:
    case NET_DCCP:
    case NET_SCTP:
    case NET_UDPLITE:
        return 8;
    default:
        return 0;
    }
}

NET_INLINE void net_parse_transport(const uint8_t *at, struct net_packet *packet)
{
    if (packet->protocol == NET_ICMP) {
        packet->icmp_type = at[0];
        if (at[0] == NET_ICMP_ECHO || at[0] == NET_ICMP_ECHO_REPLY)
            packet->source_port = (uint16_t)net_read16(at + 4);
        return;
    }
    packet->has_ports = 1;
    packet->source_port = (uint16_t)net_read16(at);
    packet->destination_port = (uint16_t)net_read16(at + 2);
    if (packet->protocol == NET_TCP)
        packet->tcp_flags = at[13];
}

/* *ret_packet is zeroes. NET_PASSED or NET_MALFORMED. */
NET_INLINE enum net_verdict net_parse(const struct net_head *head, struct net_packet *ret_packet)
{
    const uint8_t *ip = head->byte + NET_ETHERNET_BYTES;
    uint32_t bytes = net_read16(ip + 2), fragment = net_read16(ip + 6), wanted;

    if (head->have < NET_ETHERNET_BYTES + NET_IPV4_BYTES || ip[0] != 0x45 ||
        bytes < NET_IPV4_BYTES || bytes + NET_ETHERNET_BYTES > head->frame_bytes)
        return NET_MALFORMED;
    ret_packet->source = net_read32(ip + 12);
    ret_packet->destination = net_read32(ip + 16);
    ret_packet->id = (uint16_t)net_read16(ip + 4);
    ret_packet->protocol = ip[9];
    ret_packet->more = (fragment & NET_MORE_FRAGMENTS) != 0;
    ret_packet->later = (fragment & NET_FRAGMENT_OFFSET) != 0;
    if (ip[9] == NET_TCP && ret_packet->later &&
        (fragment & NET_FRAGMENT_OFFSET) < NET_TCP_OFFSET_LEAST)
        return NET_MALFORMED; /* it could write over the flags that were judged */
    wanted = ret_packet->later ? 0 : net_header_bytes(ip[9]);
    if (wanted == 0)
        return NET_PASSED;
    if (bytes < NET_IPV4_BYTES + wanted ||
        head->have < NET_ETHERNET_BYTES + NET_IPV4_BYTES + wanted)
        return NET_MALFORMED;
    net_parse_transport(ip + NET_IPV4_BYTES, ret_packet);
    return NET_PASSED;
}

/* ---- The policy ---- */

/* Not 0 if the rule does not match. Without a branch: the kernel's verifier follows each one through
 * all the rules that are left. Ports of rules that name some begin at 1; port 0 is that of packets
 * without ports. */
NET_INLINE uint64_t net_rule_misses(const struct net_rule *rule, uint32_t address, uint32_t port,
                                    uint32_t protocol, uint32_t is_host)
{
    int64_t above_first = (int64_t)port - rule->port_first;
    int64_t below_last = (int64_t)rule->port_last - port;

    return ((address ^ rule->network) & rule->mask) |
           ((protocol ^ rule->protocol) & rule->protocol_mask) | (rule->host & ~is_host & 1u) |
           (uint64_t)(above_first | below_last) >> 63;
}

/* What the first rule that matches says, 0 or 1; without one it is 1. rules NULL: 0. */
NET_CALLED int net_rules_allow(const struct net_rules *rules, uint32_t address, uint32_t port,
                               uint32_t protocol, uint32_t is_host)
{
    if (!rules)
        return 0;
    for (uint32_t i = 0; i < NET_RULES_MAX; i++) {
        if (i >= rules->count)
            break;
        if (net_rule_misses(&rules->rule[i], address, port, protocol, is_host) == 0)
            return rules->rule[i].allow;
    }
    return 1;
}

/* Whether the VM may begin something with that address and port, in the packet's protocol. */
NET_INLINE bool net_allows(void *world, const struct net_rules *rules, uint32_t address,
                           uint16_t port, const struct net_packet *packet)
{
    return net_rules_allow(rules, address, packet->has_ports ? port : 0, packet->protocol,
                           net_world_is_host(world, address)) != 0;
}

/* ---- What is remembered ---- */

NET_INLINE void net_fragment_key(const struct net_packet *packet, struct net_flow_key *ret_key)
{
    *ret_key = (struct net_flow_key){ .remote = packet->destination,
                                      .remote_port = packet->id,
                                      .protocol = packet->protocol,
                                      .kind = NET_FLOW_FRAGMENTS };
}

/* Whether the packet answers what `flow` is of, from a denied address, and was begun by it. */
NET_INLINE bool net_answers(struct net_flow *flow, const struct net_packet *packet, uint64_t now)
{
    bool recent = now - flow->seen_ns < NET_REPLY_NS;

    if (packet->protocol == NET_ICMP)
        return packet->icmp_type == NET_ICMP_ECHO_REPLY && recent;
    if (packet->protocol != NET_TCP)
        return packet->has_ports && recent;
    if (packet->tcp_flags & NET_TCP_SYN && (!(packet->tcp_flags & NET_TCP_ACK) || flow->answered))
        return false;
    flow->answered = !(packet->tcp_flags & NET_TCP_SYN);
    flow->seen_ns = now;
    return true;
}

/* Whether a packet to a denied address answers one from there. */
NET_INLINE bool net_is_reply(void *world, const struct net_vm *vm, const struct net_packet *packet)
{
    const struct net_flow_key key = { .remote = packet->destination,
                                      .remote_port = packet->destination_port,
                                      .own_port = packet->source_port,
                                      .protocol = packet->protocol,
                                      .kind = NET_FLOW_OTHERS };
    uint64_t now = net_world_now(world);
    struct net_flow_set *set = net_world_lock(world, vm, net_flow_set_of(vm, &key), false);

    if (!set)
        return false;
    struct net_flow *flow = net_flow_find(set, &key);
    bool answers = flow && net_answers(flow, packet, now);
    net_world_unlock(world, set);
    return answers;
}

/* Whether nobody sends from there. */
NET_INLINE bool net_is_no_source(uint32_t address)
{
    return address >> 24 == 0 || address >> 24 == 127 || address >> 29 == 7;
}

/* Whether a packet to the VM may be what its source says. `bridged`: it comes from somebody on the VM's
 * bridge, neither from the host nor by way of its routes. Without an address it is passt's, whose own
 * kernel tells. */
NET_INLINE bool net_is_believed(void *world, const struct net_vm *vm,
                                const struct net_packet *packet, bool bridged)
{
    if (!vm->address)
        return true;
    return packet->destination == vm->address && !net_is_no_source(packet->source) &&
           !(bridged && net_world_is_host(world, packet->source));
}

/* Remembers what a denied address begins with the VM. */
NET_INLINE void net_note(void *world, const struct net_vm *vm, const struct net_rules *rules,
                         const struct net_head *head, bool bridged)
{
    struct net_packet packet = { 0 };
    bool begins;

    if (net_read16(head->byte + 12) != NET_TYPE_IPV4 || net_parse(head, &packet) != NET_PASSED ||
        packet.later || !net_is_believed(world, vm, &packet, bridged))
        return;
    if (packet.protocol == NET_TCP)
        begins = (packet.tcp_flags & (NET_TCP_SYN | NET_TCP_ACK)) == NET_TCP_SYN;
    else
        begins = packet.has_ports || packet.icmp_type == NET_ICMP_ECHO;
    if (!begins || net_allows(world, rules, packet.source, packet.source_port, &packet))
        return;
    const struct net_flow_key key = { .remote = packet.source,
                                      .remote_port = packet.has_ports ? packet.source_port : 0,
                                      .own_port = packet.has_ports ? packet.destination_port
                                                                   : packet.source_port,
                                      .protocol = packet.protocol,
                                      .kind = NET_FLOW_OTHERS };
    net_flow_remember(world, vm, &key);
}

/* ---- What a VM sends ---- */

/* Of a packet whose source is in order. */
NET_INLINE enum net_verdict net_judge_packet(void *world, const struct net_vm *vm,
                                             const struct net_rules *rules,
                                             const struct net_packet *packet)
{
    struct net_flow_key fragment;

    /* passt, some versions of it, takes each fragment for a whole packet. */
    if (vm->passt && (packet->more || packet->later))
        return NET_MALFORMED;
    net_fragment_key(packet, &fragment);
    if (packet->later)
        return net_flow_is_recent(world, vm, &fragment, NET_FRAGMENT_NS) ? NET_PASSED
                                                                         : NET_MALFORMED;
    if (!net_allows(world, rules, packet->destination, packet->destination_port, packet) &&
        !net_is_reply(world, vm, packet))
        return NET_DENIED;
    if (packet->more)
        net_flow_remember(world, vm, &fragment);
    return NET_PASSED;
}

/* It says that the VM has the VM's own address, or asks before the VM has one. */
NET_INLINE enum net_verdict net_judge_arp(const struct net_vm *vm, const struct net_head *head)
{
    const uint8_t *arp = head->byte + NET_ETHERNET_BYTES;
    uint32_t sender = net_read32(arp + 14);

    if (head->have < NET_ETHERNET_BYTES + NET_ARP_BYTES)
        return NET_MALFORMED;
    if (!vm->source_check)
        return NET_PASSED;
    if (net_read32(arp) != (1u << 16 | NET_TYPE_IPV4) || net_read16(arp + 4) != 0x0604)
        return NET_MALFORMED;
    return net_same_mac(arp + 8, vm->mac) && (sender == 0 || sender == vm->address) ? NET_PASSED
                                                                                    : NET_SPOOFED;
}

/* A question to passt's own DHCP server, which answers it itself. */
NET_INLINE bool net_is_dhcp(const struct net_vm *vm, const struct net_packet *packet)
{
    return vm->passt && packet->protocol == NET_UDP && packet->source_port == NET_DHCP_CLIENT &&
           packet->destination_port == NET_DHCP_SERVER && packet->destination == NET_BROADCAST &&
           (packet->source == 0 || packet->source == vm->address) && !packet->more;
}

/* Neither another's, nor what only a router or a DHCP server says. */
NET_INLINE bool net_is_own_source(const struct net_vm *vm, const struct net_packet *packet)
{
    bool routes = packet->protocol == NET_ICMP && !packet->later &&
                  (packet->icmp_type == NET_ICMP_REDIRECT || packet->icmp_type == NET_ICMP_ROUTER ||
                   packet->icmp_type == NET_ICMP_SOLICIT);
    bool gives_addresses = packet->protocol == NET_UDP && packet->source_port == NET_DHCP_SERVER &&
                           packet->destination_port == NET_DHCP_CLIENT;

    return packet->source == vm->address && !routes && !gives_addresses;
}

/* *ret_packet is zeroes, and what was read of the frame afterwards. */
NET_INLINE enum net_verdict net_judge(void *world, const struct net_vm *vm,
                                      const struct net_rules *rules, const struct net_head *head,
                                      struct net_packet *ret_packet)
{
    uint32_t type = net_read16(head->byte + 12);
    enum net_verdict verdict;

    if (head->have < NET_ETHERNET_BYTES)
        return NET_MALFORMED;
    if (type != NET_TYPE_ARP && type != NET_TYPE_IPV4)
        return NET_NOT_IPV4;
    if (vm->source_check && !net_same_mac(head->byte + 6, vm->mac))
        return NET_SPOOFED;
    if (type == NET_TYPE_ARP)
        return net_judge_arp(vm, head);
    verdict = net_parse(head, ret_packet);
    if (verdict != NET_PASSED || net_is_dhcp(vm, ret_packet))
        return verdict;
    if (vm->source_check && !net_is_own_source(vm, ret_packet))
        return NET_SPOOFED;
    return net_judge_packet(world, vm, rules, ret_packet);
}

/* Others may count at the same time. */
NET_INLINE void net_count(struct net_drops *drops, enum net_verdict verdict,
                          const struct net_packet *packet)
{
    if (verdict == NET_PASSED || verdict >= NET_VERDICT_COUNT)
        return;
    __sync_fetch_and_add(&drops->count[verdict], 1);
    if (verdict != NET_DENIED)
        return;
    drops->denied_address = packet->destination;
    drops->denied_port = packet->destination_port;
    drops->denied_protocol = packet->protocol;
}

#endif
