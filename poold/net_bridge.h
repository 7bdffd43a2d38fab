/* SPDX-License-Identifier: Apache-2.0 */
/* Taps on a bridge of the host's, in poold's own network namespace. A tap ends with the last
 * process that has it open, so nothing is left behind by any death. Any thread. */
#ifndef VOLT_POOLD_NET_BRIDGE_H
#define VOLT_POOLD_NET_BRIDGE_H

#include <net/if.h>
#include <stdint.h>

#include "base/err.h"

/* Whether there is a bridge of that name. 0 or -errno with a sentence. */
int net_bridge_check(const char *bridge, struct err *err);

/* Makes a tap for a VM with that MAC, a port of the bridge, up; ret_name is what it is called
 * (volt0, volt1, ...). 0 and an fd of the caller's, or -errno with a sentence. */
int net_bridge_tap(const char *bridge, const uint8_t mac[6], char ret_name[IFNAMSIZ], int *ret_fd,
                   struct err *err);

#endif
