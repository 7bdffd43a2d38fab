/* SPDX-License-Identifier: Apache-2.0 */
/* Network interfaces by ioctl: loopback at boot, eth0 from the mailbox. */
#ifndef GUEST_NET_H
#define GUEST_NET_H

#include "guest_abi.h"
#include "text.h"

/* Brings lo up. 0 or -errno. */
int net_loopback_up(void);

/* Gives eth0 the mailbox's MAC, address and route, brings it up, writes /etc/resolv.conf and
 * announces the address by a gratuitous ARP. 0, or -errno of the first step that failed and in
 * `fail` which it was. */
int net_configure(const struct doorbell_mailbox *mailbox, struct fail *fail);

#endif
