/* SPDX-License-Identifier: Apache-2.0 */
/* The machine as a whole: mounts at boot, what is told about it, and its end. */
#ifndef GUEST_SYSTEM_H
#define GUEST_SYSTEM_H

#include <stdbool.h>

#include "text.h"

/* Mounts proc, sys, dev and what is in them, run and tmp, and makes /dev/fd and its like. Failures
 * are told on the console; what works without them goes on. */
void system_mount(void);

/* Raises the limits that a login on Debian has higher than the kernel does. */
void system_limits(void);

/* Kernel, memory, CPUs and uptime, one a line, each behind `indent`. */
void system_describe(struct text *text, const char *indent);

/* Keeps this process on CPU 0, the only one whose doorbell the host hears, or lets it run on all
 * again. No system call on a machine with one CPU after the first time. */
void system_stay_on_cpu0(bool stay);

/* Ends all processes, syncs and resets the machine, which the VMM takes as power off. */
_Noreturn void system_power_off(void);

/* Tells on the console that something does not work. */
void system_complain(const struct fail *fail);

/* The same for what a VM is of no use without: the first such sentence is kept for the host. */
void system_fail(const struct fail *fail);

/* That sentence; "" if nothing failed. */
const char *system_failure(void);

/* Writes all of `string` to fd 1, the console, or drops what can't be written. */
void console_write(const char *string);

#endif
