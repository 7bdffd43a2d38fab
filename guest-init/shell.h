/* SPDX-License-Identifier: Apache-2.0 */
/* The small shell on the serial console. */
#ifndef GUEST_SHELL_H
#define GUEST_SHELL_H

#include <sys/types.h>

/* Starts the shell as a process of its own on the console. It has written its prompt when this
 * returns. Its pid, or -errno. */
pid_t shell_start(void);

#endif
