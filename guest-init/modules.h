/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel modules of the initramfs: a stock kernel has its virtio drivers in them. */
#ifndef GUEST_MODULES_H
#define GUEST_MODULES_H

/* make-initramfs puts plain .ko files there, and their names, one a line, each after those that it
 * needs, into MODULES_LIST. */
#define MODULES_FOLDER "/lib/modules/volt/"
#define MODULES_LIST MODULES_FOLDER "load"

/* Loads what the list names, in its order. No list: there is nothing to load. One that can't be
 * loaded is told on the console, and the others are loaded. At boot, once. */
void modules_load(void);

#endif
