/* SPDX-License-Identifier: Apache-2.0 */
/* The host's own IPv4 addresses, kept up to date by rtnetlink(7): those of its links and whatever
 * else its kernel takes for itself (routes of the types `local` and `broadcast`, in whichever table,
 * but for a default route), but for 127.0.0.0/8, which no policy needs to be told. Of the network
 * namespace that poold is in. Loop thread. */
#ifndef VOLT_POOLD_NET_HOST_H
#define VOLT_POOLD_NET_HOST_H

#include <stdint.h>
#include <uv.h>

#include "base/err.h"

struct mnl_socket;

struct net_prefix {
    uint32_t network, bits; /* host byte order */
};

/* Sorted, each once. */
struct net_prefixes {
    struct net_prefix *prefix; /* owned */
    uint32_t count;
};

struct net_host {
    struct mnl_socket *watch; /* the kernel's news; NULL: not started */
    uv_poll_t poll;
    struct net_prefixes now;
    /* They have changed from `before` to host->now. */
    void (*changed)(struct net_host *host, const struct net_prefixes *before);
};

/* Reads them, and calls `changed` from then on when they have. 0 or -errno with a sentence; once it
 * has succeeded, nothing happens. */
int net_host_start(struct net_host *host, uv_loop_t *loop,
                   void (*changed)(struct net_host *host, const struct net_prefixes *before),
                   struct err *err);
/* The loop's handles are closed already. Zeroes are fine. */
void net_host_fini(struct net_host *host);

/* -1, 0 or 1, as they are sorted. */
int net_prefix_compare(const void *a, const void *b);

#endif
