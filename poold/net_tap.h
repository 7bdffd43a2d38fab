/* SPDX-License-Identifier: Apache-2.0 */
/* A tap in a network namespace of its own, as an item of a stock (stock.h): making one takes 0.6
 * ms, giving it an address 0.1 ms. */
#ifndef VOLT_POOLD_NET_TAP_H
#define VOLT_POOLD_NET_TAP_H

#include <stdint.h>

#include "stock.h"

#define NET_TAP_NAME "tap0"

/* The item's fds. */
enum {
    NET_TAP_FD,     /* for the VM */
    NET_NETNS_FD,   /* the namespace, which lives as long as an fd of it */
    NET_CONTROL_FD, /* a socket in it, for ioctls on its links */
};

/* A network namespace with nothing in it but what `fill` (NULL: nothing) makes there, called while
 * the thread is in it: 0 or -errno. Fills in the item's last two fds. 0 or -errno; then the item is
 * to be closed all the same. Any thread. */
int net_namespace_make(int (*fill)(struct stock_item *item), struct stock_item *ret_item);

/* A stock_make; the context is not used. Without an address, and down. */
int net_tap_make(int context_fd, struct stock_item *ret_tap);

/* Gives the tap its address (network byte order) and has it up, and the namespace's loopback. 0 or
 * -errno. Any thread. */
int net_tap_configure(const struct stock_item *tap, uint32_t address, uint8_t prefix_bits);

#endif
