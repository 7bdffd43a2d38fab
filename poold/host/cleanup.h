/* SPDX-License-Identifier: Apache-2.0 */
/* What a start finds and what an end leaves: the lock of the state directory, folders with the
 * right modes, and the removal of what a killed poold left in the run directory. Blocks: start-up,
 * or the thread pool. */
#ifndef VOLT_POOLD_CLEANUP_H
#define VOLT_POOLD_CLEANUP_H

#include "base/err.h"

/* mkdir -p. */
int cleanup_make_dirs(const char *path, unsigned mode, struct err *err);

/* Takes the lock file `dir`/lock for the life of *ret_fd. -EBUSY names the pid that has it. */
int cleanup_lock(const char *dir, int *ret_fd, struct err *err);

/* Removes parent/name and what is in it, without following links or leaving the file system; at
 * most a few levels deep. 0, also when there is none; or -errno, and what can't be removed stays. Any
 * thread. */
int cleanup_remove_tree(int parent_fd, const char *name);

#endif
