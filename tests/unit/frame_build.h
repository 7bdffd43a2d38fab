/* SPDX-License-Identifier: Apache-2.0 */
/* Builds frames for the tests of egress policies: right in all that their specification does not
 * say. */
#ifndef VOLT_TESTS_FRAME_BUILD_H
#define VOLT_TESTS_FRAME_BUILD_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "net/gate/world.h"

#define FRAMES_VM "10.0.0.2"
#define FRAMES_GATEWAY "10.0.0.1"
#define FRAMES_HOST "198.51.100.7" /* one of the host's own addresses */

static const uint8_t frames_vm_mac[6] = { 0x02, 'V', 10, 0, 0, 2 };
static const uint8_t frames_peer_mac[6] = { 0x02, 0xbb, 0, 0, 0, 1 };
static const uint8_t frames_other_mac[6] = { 0x02, 0xcc, 0, 0, 0, 1 };

enum { OUT, IN };

struct frame_spec {
    const char *name;
    uint8_t way;     /* OUT, IN */
    uint8_t verdict; /* enum net_verdict; of what comes in nothing is dropped */
    uint8_t protocol;
    uint8_t flags;           /* TCP's, or ICMP's type */
    const char *peer;        /* the other address */
    uint16_t port, own_port; /* 0: 80, 1234; of ICMP own_port is the id */
    uint16_t fragment;       /* as in the header */
    uint16_t id;
    const char *source; /* in place of the VM's */
    uint16_t type;      /* in place of IPv4's */
    uint8_t options;    /* bytes of them, each a no-operation */
    uint16_t cut;       /* the frame ends after so many bytes */
    uint16_t claim;     /* total length, in place of the true one */
    bool other_mac;     /* its source */
    bool local;         /* the host itself has sent it, no neighbour */
};

#define FRAMES_BYTES 128u

static inline void frames_put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline uint32_t frames_sum(const uint8_t *at, size_t bytes, uint32_t sum)
{
    for (size_t i = 0; i < bytes; i += 2)
        sum += net_read16(at + i);
    return sum;
}

static inline uint32_t frames_fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

/* Of IPv4 and what is in it; `header` bytes of the former. */
static inline void frames_checksum(uint8_t *ip, uint32_t header, uint32_t bytes, uint8_t protocol)
{
    uint8_t *at = ip + header;
    uint32_t payload = bytes - header, pseudo = frames_sum(ip + 12, 8, protocol + payload);

    frames_put16(ip + 10, frames_fold(frames_sum(ip, header, 0)));
    if (protocol == NET_TCP)
        frames_put16(at + 16, frames_fold(frames_sum(at, payload, pseudo)));
    else if (protocol == NET_UDP)
        frames_put16(at + 6, frames_fold(frames_sum(at, payload, pseudo)));
    else if (protocol == NET_ICMP)
        frames_put16(at + 2, frames_fold(frames_sum(at, payload, 0)));
}

static inline void frames_put_transport(const struct frame_spec *spec, uint8_t *at)
{
    uint16_t peer_port = spec->port ? spec->port : 80,
             own_port = spec->own_port ? spec->own_port : 1234;

    if (spec->protocol == NET_ICMP) {
        at[0] = spec->flags;
        frames_put16(at + 4, own_port);
        return;
    }
    frames_put16(at, spec->way == OUT ? own_port : peer_port);
    frames_put16(at + 2, spec->way == OUT ? peer_port : own_port);
    if (spec->protocol == NET_TCP) {
        at[12] = 5 << 4;
        at[13] = spec->flags;
    } else {
        frames_put16(at + 4, 24);
    }
}

static inline void frames_put_arp(const struct frame_spec *spec, uint8_t *at)
{
    static const uint8_t begins[8] = { 0, 1, 8, 0, 6, 4, 0, 1 };
    struct in_addr own, peer;

    inet_pton(AF_INET, spec->source ? spec->source : FRAMES_VM, &own);
    inet_pton(AF_INET, spec->peer, &peer);
    memcpy(at, begins, sizeof begins);
    memcpy(at + 8, spec->other_mac ? frames_other_mac : frames_vm_mac, 6);
    memcpy(at + 14, &own, 4);
    memcpy(at + 24, &peer, 4);
}

/* Its length. What is sent has 24 bytes behind IPv4's header. */
static inline uint32_t frames_build(const struct frame_spec *spec, uint8_t ret[FRAMES_BYTES])
{
    uint32_t header = NET_IPV4_BYTES + spec->options, bytes = header + 24;
    const char *own = spec->source ? spec->source : FRAMES_VM;
    uint8_t *ip = ret + NET_ETHERNET_BYTES;

    memset(ret, 0, FRAMES_BYTES);
    memcpy(ret, spec->way == OUT ? frames_peer_mac : frames_vm_mac, 6);
    memcpy(ret + 6,
           spec->way == IN   ? frames_peer_mac
           : spec->other_mac ? frames_other_mac
                             : frames_vm_mac,
           6);
    frames_put16(ret + 12, spec->type ? spec->type : NET_TYPE_IPV4);
    if (spec->type == NET_TYPE_ARP) {
        frames_put_arp(spec, ip);
        return spec->cut ? spec->cut : NET_ETHERNET_BYTES + NET_ARP_BYTES;
    }
    ip[0] = (uint8_t)(4 << 4 | header / 4);
    frames_put16(ip + 2, spec->claim ? spec->claim : bytes);
    frames_put16(ip + 4, spec->id);
    frames_put16(ip + 6, spec->fragment);
    ip[8] = 64;
    ip[9] = spec->protocol;
    inet_pton(AF_INET, spec->way == OUT ? own : spec->peer, ip + 12);
    inet_pton(AF_INET, spec->way == OUT ? spec->peer : own, ip + 16);
    memset(ip + NET_IPV4_BYTES, 1, spec->options);
    frames_put_transport(spec, ip + header);
    frames_checksum(ip, header, bytes, spec->protocol);
    return spec->cut ? spec->cut : NET_ETHERNET_BYTES + bytes;
}

static inline struct net_vm frames_vm(void)
{
    struct net_vm vm = { .source_check = 1, .on_bridge = 1, .key = 1 };
    struct in_addr address;

    inet_pton(AF_INET, FRAMES_VM, &address);
    vm.address = ntohl(address.s_addr);
    memcpy(vm.mac, frames_vm_mac, 6);
    return vm;
}

#endif
