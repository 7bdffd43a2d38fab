/* SPDX-License-Identifier: Apache-2.0 */
/* Taps, each in a network namespace of its own, made ahead of need on the thread pool: making one
 * takes milliseconds, and no acquire waits for it. Kept only once a pool has asked for one. Loop
 * thread only.
 *
 * Nothing has a name outside: a namespace lives as long as an fd of it. */
#ifndef VOLT_POOLD_NET_STOCK_H
#define VOLT_POOLD_NET_STOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define NET_STOCK 16u /* three fds each */
#define NET_TAP_NAME "tap0"

struct net_tap {
    int tap_fd;     /* for the VM */
    int netns_fd;   /* the namespace */
    int control_fd; /* a socket in it, for ioctls on its links */
};

#define NET_TAP_INIT                                                                               \
    (struct net_tap)                                                                               \
    {                                                                                              \
        -1, -1, -1                                                                                 \
    }

struct net_stock {
    uv_loop_t *loop;
    struct net_tap taps[NET_STOCK];
    struct net_tap made[NET_STOCK]; /* the work's until it is done */
    unsigned count, made_count;
    bool busy; /* a work fills `made` */
};

void net_stock_init(struct net_stock *stock, uv_loop_t *loop);
/* 0 and a tap of the caller's, without an address and down; or -errno. Makes one on the spot only
 * when the stock is empty. */
int net_stock_take(struct net_stock *stock, struct net_tap *ret_tap);
/* Nothing is under way. */
bool net_stock_idle(const struct net_stock *stock);
void net_stock_fini(struct net_stock *stock);

/* Gives the tap its address (network byte order) and has it up, and the namespace's loopback. 0 or
 * -errno. Any thread. */
int net_tap_configure(const struct net_tap *tap, uint32_t address, uint8_t prefix_bits);
void net_tap_close(struct net_tap *tap);

#endif
