/* SPDX-License-Identifier: Apache-2.0 */
/* Which programs busybox stands in for. The initramfs has a link in /bin only for the few of them
 * that scripts name by path: on a software-only KVM the guest's kernel takes 18 ms to unpack each,
 * and there are 270. */
#ifndef GUEST_APPLETS_H
#define GUEST_APPLETS_H

#include <stdbool.h>

#define APPLETS_PROGRAM "/bin/busybox"
#define APPLETS_LIST "/etc/busybox-applets" /* one name a line; made with the initramfs */

/* Reads the list; without one there are no applets. Before the snapshot. */
void applets_load(void);

/* Whether busybox has an applet of this name. Makes no system call. */
bool applets_known(const char *name);

#endif
