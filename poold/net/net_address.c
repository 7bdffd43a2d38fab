/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the arithmetic of a pool's network; see net_address.h. */
#include "net/net_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

bool net_network_parse(const char *text, struct net_network *ret_network)
{
    char address[INET_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    struct in_addr in;
    char *end;

    if (!slash || (size_t)(slash - text) >= sizeof address)
        return false;
    snprintf(address, sizeof address, "%.*s", (int)(slash - text), text);
    unsigned long bits = strtoul(slash + 1, &end, 10);
    if (slash[1] < '0' || slash[1] > '9' || *end || bits < 8 || bits > 29 ||
        inet_pton(AF_INET, address, &in) != 1)
        return false;
    uint32_t size = 1u << (32 - bits);
    *ret_network = (struct net_network){ .base = ntohl(in.s_addr),
                                         .bits = (uint32_t)bits,
                                         .hosts = MIN_OF(size - 3, NET_HOSTS_MAX) };
    return (ret_network->base & (size - 1)) == 0;
}

uint32_t net_network_gateway(const struct net_network *network)
{
    return network->base + 1;
}

uint32_t net_network_address(const struct net_network *network, uint32_t number)
{
    return network->base + 2 + number;
}

void net_mac_of(uint32_t address, uint8_t ret_mac[6])
{
    const uint8_t mac[6] = { 0x02, /* unicast, locally administered */
                             'V',
                             (uint8_t)(address >> 24),
                             (uint8_t)(address >> 16),
                             (uint8_t)(address >> 8),
                             (uint8_t)address };

    memcpy(ret_mac, mac, sizeof mac);
}

static bool have_bits(struct net_addresses *addresses)
{
    if (!addresses->used)
        addresses->used = calloc(NET_HOSTS_MAX / 64, sizeof *addresses->used);
    return addresses->used != NULL;
}

int net_addresses_retake(struct net_addresses *addresses, uint32_t hosts, uint32_t number)
{
    if (!have_bits(addresses))
        return -ENOMEM;
    if (number >= hosts || addresses->used[number / 64] & 1ull << number % 64)
        return -EADDRINUSE;
    addresses->used[number / 64] |= 1ull << number % 64;
    /* Others are given first: who was ended with the poold before may take a moment. */
    addresses->next = MAX_OF(addresses->next, number + 1);
    return 0;
}

int net_addresses_take(struct net_addresses *addresses, uint32_t hosts, uint32_t *ret_number)
{
    if (!have_bits(addresses))
        return -ENOMEM;
    for (uint32_t i = 0; i < hosts; i++) {
        uint32_t n = (addresses->next + i) % hosts;

        if (!(addresses->used[n / 64] & 1ull << n % 64)) {
            addresses->used[n / 64] |= 1ull << n % 64;
            addresses->next = n + 1;
            *ret_number = n;
            return 0;
        }
    }
    return -EADDRNOTAVAIL;
}

void net_addresses_free(struct net_addresses *addresses, uint32_t number)
{
    addresses->used[number / 64] &= ~(1ull << number % 64);
}

void net_addresses_fini(struct net_addresses *addresses)
{
    free(addresses->used);
    addresses->used = NULL;
}
