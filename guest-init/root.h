/* SPDX-License-Identifier: Apache-2.0 */
/* The root filesystem on a disk, for guests that have one. */
#ifndef VOLT_GUEST_ROOT_H
#define VOLT_GUEST_ROOT_H

#include <stdbool.h>

/* Goes into the disk that the kernel command line names by volt.root=DEVICE: an erofs or a disk
 * that can't be written gets a writable layer in memory. From then on everything, volt-init's own
 * paths too, is in there. Nothing happens without volt.root. 0, or -1 after saying on the console
 * why it failed: the guest then stays in its initramfs. */
int root_enter(void);

/* Hands PID 1 over to the program that the command line names by volt.init=PATH: true, and the
 * caller is its child from here on, which goes on serving the agent. False: nothing happened, as
 * without volt.init. */
bool root_hand_over(void);

#endif
