/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper as a process, for keep.c alone: how it is started, reached and ended. Loop thread; all of
 * it blocks for a moment. */
#ifndef VOLT_POOLD_KEEP_PROCESS_H
#define VOLT_POOLD_KEEP_PROCESS_H

#include "keep/keep.h"

/* Connects to the keeper at path: 0 or -errno. */
int keep_dial(const char *path, int *ret_fd);
/* Reads its first word: 0, -EPROTO if that is another, or -errno. */
int keep_greet(int fd);
/* Starts keep->program as a keeper and connects to it; keep->fd and keep->pid. 0 or -errno with a
 * sentence: then there is none. */
int keep_begin(struct keep *keep, struct err *err);
/* Until nothing is left to be read of one that was told to end. */
void keep_await_end(int fd);
/* Ends one whose connection is closed already, if it is there: by force, or, another poold's child, by
 * telling it. */
void keep_put_down(struct keep *keep);

#endif
