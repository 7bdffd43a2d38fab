/* SPDX-License-Identifier: Apache-2.0 */
/* What poold and its programs in the host's kernel share: the maps' keys and values. */
#ifndef VOLT_POOLD_NET_PROGRAMS_H
#define VOLT_POOLD_NET_PROGRAMS_H

#include <stdint.h>

#include "net/net_rules.h"

/* vms, by the index of its tap. */
struct net_kernel_vm {
    struct net_vm vm;
    struct net_drops drops;
    uint32_t remembers; /* there are flows of its key */
    uint32_t zero;
};

/* passts, by the uid. */
struct net_kernel_passt {
    struct net_vm vm;
    struct net_opened opened[NET_OPENED_MAX]; /* port 0: none */
    uint32_t remembers;
    uint32_t zero;
};

/* flows: struct net_flow_set by this. */
struct net_kernel_set {
    uint32_t key; /* of struct net_vm */
    uint32_t number;
};

/* host: a trie of the prefixes that are the host's own. */
struct net_kernel_prefix {
    uint32_t bits;
    uint8_t address[4]; /* network byte order */
};

/* layout, entry 0: where this kernel has what a frame's checksum is to be. Offsets in a struct
 * sk_buff, in bytes. */
struct net_kernel_layout {
    uint32_t summed; /* of the byte with ip_summed */
    uint32_t summed_shift;
    uint32_t start, offset; /* csum_start, csum_offset */
    uint32_t head, data;
};

#endif
