/* SPDX-License-Identifier: Apache-2.0 */
/* A pool's egress policy as its judge reads it (net_judge.h), and what is known of a VM that sends:
 * plain data, the same in poold, in volt-gate and in the maps of the host's kernel. Addresses and
 * ports are in host byte order. */
#ifndef VOLT_POOLD_NET_RULES_H
#define VOLT_POOLD_NET_RULES_H

#include <stdint.h>

#define NET_RULES_USER_MAX 64u
#define NET_RULES_MAX (NET_RULES_USER_MAX + 8u) /* with those that every pool has */
#define NET_PORT_LAST 65535u

/* The first rule of a policy that matches decides. */
struct net_rule {
    uint32_t network, mask;
    uint16_t port_first, port_last;  /* 0 to NET_PORT_LAST: all, and protocols without ports */
    uint8_t protocol, protocol_mask; /* IPPROTO_* and 255; 0 and 0: any */
    uint8_t host; /* 1: in place of a network (then with mask 0) the host's own addresses */
    uint8_t allow : 1, of_user : 1; /* of_user: not one of those that every pool has */
};

struct net_rules {
    uint32_t count;
    struct net_rule rule[NET_RULES_MAX];
};

/* What becomes of a frame, and the name of its counter. */
#define NET_VERDICT_MAP(X)                                                                         \
    X(NET_PASSED, "passed")                                                                        \
    X(NET_DENIED, "denied")       /* the policy denies where it goes */                            \
    X(NET_SPOOFED, "spoofed")     /* its source is not the VM's MAC or address */                  \
    X(NET_NOT_IPV4, "not_ipv4")   /* nor ARP */                                                    \
    X(NET_MALFORMED, "malformed") /* its headers can't be trusted */

enum net_verdict {
#define X(name, text) name,
    NET_VERDICT_MAP(X)
#undef X
        NET_VERDICT_COUNT
};

/* What was dropped of a VM's. NET_PASSED is not counted. */
struct net_drops {
    uint64_t count[NET_VERDICT_COUNT];
    uint32_t denied_address; /* the last one; 0: none */
    uint16_t denied_port;
    uint16_t denied_protocol;
};

struct net_vm {
    uint32_t policy;  /* number of its net_rules in the kernel's map; not used by volt-gate */
    uint32_t address; /* 0: not looked at, as in what passt sends */
    uint8_t mac[6];
    uint8_t source_check; /* it may send with its own MAC and address only */
    uint8_t passt;        /* what it sends goes to passt */
    uint8_t on_bridge;    /* others send on its link, and so does the host */
    uint8_t zero[3];
    uint32_t key; /* tells its flows from those of others */
};

#define NET_FLOW_SETS 256u /* of what is remembered of a VM, net_flows.h */

/* A port of the host's that a VM's passt may have. */
#define NET_OPENED_MAX 16u

struct net_opened {
    uint32_t address; /* 0: all */
    uint16_t port;
    uint8_t protocol; /* NET_TCP, NET_UDP */
    uint8_t zero;
};

#endif
