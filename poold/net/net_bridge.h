/* SPDX-License-Identifier: Apache-2.0 */
/* Taps on a bridge of the host's, in poold's own network namespace. A tap ends with the last
 * process that has it open, so nothing is left behind by any death. Any thread. */
#ifndef VOLT_POOLD_NET_BRIDGE_H
#define VOLT_POOLD_NET_BRIDGE_H

#include <net/if.h>
#include <stdint.h>

#include "base/err.h"

struct net_walls;

/* Whether there is a bridge of that name. 0 or -errno with a sentence. */
int net_bridge_check(const char *bridge, struct err *err);

struct net_bridge_port {
    char name[IFNAMSIZ]; /* volt0, volt1, ... */
    uint32_t index;
    int tap_fd; /* for the VM */
};

/* Makes a tap for a VM with that MAC, whose first byte is not fe: a port of the bridge, up, held to
 * a policy. The walls are loaded. 0 and an fd of the caller's, or -errno with a sentence. */
int net_bridge_tap(struct net_walls *walls, const char *bridge, const uint8_t mac[6],
                   struct net_bridge_port *ret_port, struct err *err);

#endif
