/* SPDX-License-Identifier: Apache-2.0 */
/* The network of a pool and the addresses of its VMs in it. */
#ifndef VOLT_POOLD_NET_ADDRESS_H
#define VOLT_POOLD_NET_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#define NET_HOSTS_MAX 65536u /* of a network, that are made use of */

struct net_network {
    uint32_t base; /* host byte order */
    uint32_t bits;
    uint32_t
        hosts; /* for VMs: all but the network's own, the gateway's and the broadcast address */
};

/* ADDRESS/BITS, 8 to 29 of them, without bits beyond. */
bool net_network_parse(const char *text, struct net_network *ret_network);
/* In host byte order: the first address, and that of VM `number`. */
uint32_t net_network_gateway(const struct net_network *network);
uint32_t net_network_address(const struct net_network *network, uint32_t number);

/* The MAC of the VM with that address (host byte order): no two VMs of a network have the same, and
 * none has one that begins as a tap's does. */
void net_mac_of(uint32_t address, uint8_t ret_mac[6]);

/* Which numbers are given. Zeroes: none. Loop thread. */
struct net_addresses {
    uint64_t *used; /* a bit for each */
    uint32_t next;
};

/* The next free one. 0; -EADDRNOTAVAIL, -ENOMEM. */
int net_addresses_take(struct net_addresses *addresses, uint32_t hosts, uint32_t *ret_number);
/* That one. 0; -EADDRINUSE, -ENOMEM. */
int net_addresses_retake(struct net_addresses *addresses, uint32_t hosts, uint32_t number);
void net_addresses_free(struct net_addresses *addresses, uint32_t number);
void net_addresses_fini(struct net_addresses *addresses);

#endif
