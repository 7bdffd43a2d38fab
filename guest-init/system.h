/* SPDX-License-Identifier: Apache-2.0 */
/* The machine as a whole: mounts at boot, what is told about it, and its end. */
#ifndef GUEST_SYSTEM_H
#define GUEST_SYSTEM_H

#include <stdbool.h>

#include "text.h"

/* Mounts proc, sys, dev, devpts, shm, run and tmp. Failures are told on the console; what works
 * without them goes on. */
void system_mount(void);

/* Kernel, memory, CPUs and uptime, one a line, each behind `indent`. */
void system_describe(struct text *text, const char *indent);

/* Keeps this process on CPU 0, the only one whose doorbell the host hears, or lets it run on all
 * again. No system call on a machine with one CPU after the first time. */
void system_stay_on_cpu0(bool stay);

/* Ends all processes, syncs and resets the machine, which the VMM takes as power off. */
_Noreturn void system_power_off(void);

/* Writes all of `string` to fd 1, the console, or drops what can't be written. */
void console_write(const char *string);

#endif
