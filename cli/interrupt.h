/* SPDX-License-Identifier: Apache-2.0 */
/* Ctrl-C and its like, for commands that must clean up before they go. */
#ifndef VOLT_CLI_INTERRUPT_H
#define VOLT_CLI_INTERRUPT_H

#include "base/err.h"

/* From now on SIGINT, SIGTERM and SIGHUP are only noted. */
void interrupt_catch(void);

/* Nothing is left to clean up: they end the program again. One that was noted stays noted. */
void interrupt_release(void);

/* Prints what failed, as cli_fail. Returns the exit code: 128 and the signal, if one was noted. */
int interrupt_fail(const struct err *err);

/* 0, or -EINTR with a sentence when one was noted. */
int interrupt_check(struct err *err);

#endif
