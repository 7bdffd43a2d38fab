/* SPDX-License-Identifier: Apache-2.0 */
/* Taps, and the network namespaces that hold one: as an item of a stock (stock.h), a tap in a
 * namespace of its own, held to a policy (net_kernel.h): making one takes 1 ms, giving it an address
 * 0.1 ms. Any thread. */
#ifndef VOLT_POOLD_NET_TAP_H
#define VOLT_POOLD_NET_TAP_H

#include <net/if.h>
#include <stdint.h>

#include "base/err.h"
#include "host/stock.h"

#define NET_TAP_NAME "tap0"

struct net_kernel;
struct net_walls;

/* The item's fds; its number is the index of the tap's link. */
enum {
    NET_TAP_FD,     /* for the VM */
    NET_NETNS_FD,   /* the namespace, which lives as long as an fd of it */
    NET_CONTROL_FD, /* a socket in it, for ioctls on its links */
};

/* Makes a tap in the thread's own network namespace, whose link is called *name ("volt%d" will do,
 * and becomes what it is called), has the given index and is down, held to policies from its first
 * frame on. 0 and an fd of the caller's, with which the link goes; -EBUSY: another link has the
 * index; or -errno; each with a sentence. */
int net_tap_open(const struct net_kernel *kernel, uint32_t index, char name[IFNAMSIZ], int *ret_fd,
                 struct err *err);

/* A network namespace with nothing in it but what `fill` makes there, called while the thread is in
 * it: 0 or -errno with a sentence. Fills in the item's last two fds. 0 or -errno with a sentence;
 * then the item is to be closed all the same. */
int net_namespace_make(int (*fill)(void *context, struct stock_item *item, struct err *err),
                       void *context, struct stock_item *ret_item, struct err *err);
/* Calls work in the network namespace of netns_fd. Its result, or -errno with a sentence. */
int net_namespace_do(int netns_fd, int (*work)(void *context, struct err *err), void *context,
                     struct err *err);

/* A stock_make; its context is the struct net_walls, loaded. Without an address, and down. */
int net_tap_make(void *context, struct stock_item *ret_tap);
/* The same with a sentence. */
int net_tap_try(struct net_walls *walls, struct stock_item *ret_tap, struct err *err);

/* Gives the tap its address (network byte order) and has it up, and the namespace's loopback. 0 or
 * -errno. */
int net_tap_configure(const struct stock_item *tap, uint32_t address, uint8_t prefix_bits);

#endif
