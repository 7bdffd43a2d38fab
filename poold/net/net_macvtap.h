/* SPDX-License-Identifier: Apache-2.0 */
/* Macvtaps over a link of the host's. Each is in a network namespace of its own, though its frames
 * are the link's: it ends with the namespace, and so with poold's fd of that, whichever way poold
 * ends. Any thread. */
#ifndef VOLT_POOLD_NET_MACVTAP_H
#define VOLT_POOLD_NET_MACVTAP_H

#include <stdint.h>

#include "base/err.h"
#include "host/stock.h"

struct net_walls;

/* Makes one with that MAC, up, in bridge mode, held to a policy; the item's fds and number are those
 * of net_tap.h, with its node in /dev open as the tap. The walls are loaded. 0, or -errno with a
 * sentence. */
int net_macvtap_make(struct net_walls *walls, const char *parent, const uint8_t mac[6],
                     struct stock_item *ret_item, struct err *err);

/* Whether one can be made over that link. 0 or -errno with a sentence. */
int net_macvtap_check(struct net_walls *walls, const char *parent, struct err *err);

#endif
