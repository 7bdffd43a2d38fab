/* SPDX-License-Identifier: Apache-2.0 */
/* What a pool says of its VMs' network, and whether it makes sense. Any thread. */
#ifndef VOLT_POOLD_NET_SPEC_H
#define VOLT_POOLD_NET_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/net_policy.h"

#define POOL_NET_KIND_BYTES 24
#define POOL_NET_VHOST_BYTES 8
#define POOL_NET_ADDRESS_BYTES 24
#define POOL_NET_ADDRESS_DEFAULT "10.86.0.0/16"
#define POOL_NET_OPTION_BYTES 96

struct pool_net_spec {
    char kind[POOL_NET_KIND_BYTES]; /* "": none; else tap, user, bridge=LINK or macvtap=LINK */
    char address[POOL_NET_ADDRESS_BYTES];
    uint64_t bandwidth; /* bytes a second each way, each VM; 0: no limit */
    uint32_t pps;
    /* Whether the host's kernel serves a tap's rings: on, off, or "" or auto: where it can. */
    char vhost[POOL_NET_VHOST_BYTES];
    char allow[NET_POLICY_TEXT_BYTES], deny[NET_POLICY_TEXT_BYTES]; /* net_policy.h */
    bool any_source; /* VMs may send with any MAC and address, not their own alone */
};

/* Whether a pool of `max` VMs can say this. 0; -EINVAL with a sentence. */
int pool_net_check(const struct pool_net_spec *spec, uint32_t max, struct err *err);
/* Whether two pools would give the same address twice on one link. */
bool pool_net_overlap(const struct pool_net_spec *a, const struct pool_net_spec *b);

/* volt-vmm's value of --net. */
void pool_net_option(const struct pool_net_spec *spec, char ret_text[POOL_NET_OPTION_BYTES]);

/* Whether its VMs are connected by passt. */
bool pool_net_is_user(const struct pool_net_spec *spec);
/* The links that its VMs' are connected to; NULL: it is of another kind. */
const char *pool_net_bridge(const struct pool_net_spec *spec);
const char *pool_net_macvtap_parent(const struct pool_net_spec *spec);
/* Whether something limits what its VMs send. */
bool pool_net_has_limits(const struct pool_net_spec *spec);

#endif
