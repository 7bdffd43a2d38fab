/* SPDX-License-Identifier: Apache-2.0 */
/* A keyboard controller (i8042) with no keyboard: it is there so that a guest can reset the machine
 * (command 0xfe, Linux's reboot=k) and so that drivers that probe it get answers and give up. */
#ifndef VOLT_DEVICES_I8042_H
#define VOLT_DEVICES_I8042_H

#include "devices/device.h"

#define I8042_PIO_BASE 0x60u /* data 0x60, command and status 0x64 */
#define I8042_PIO_BYTES 5u

/* Makes the controller; a reset calls vm_guest_reset on the vCPU's thread. Its ops->destroy frees
 * it. 0 or -errno with a sentence. */
int i8042_create(struct vm *vm, struct device **ret_device, struct err *err);

#endif
