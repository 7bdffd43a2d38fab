/* SPDX-License-Identifier: Apache-2.0 */
/* Processes: starts a volt-vmm with chosen fds, and sets how promptly poold itself is run. Only
 * boot VMs and templates are started here: clones are forked by their template, so that nothing of
 * the size of poold is forked for a VM. Loop thread. */
#ifndef VOLT_POOLD_PROCESS_H
#define VOLT_POOLD_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define SPAWN_FIRST_FD 3
#define SPAWN_FDS_MAX 32

/* A process that was started; all of it is the caller's, who reaps it. Its fds are close-on-exec. */
struct spawned {
    pid_t pid;
    int pidfd;
    int text_fd; /* what it writes to its stdout and stderr, until it lets go of them */
};

/* Runs argv[0] argv[1] with fds[i] (fewer than SPAWN_FDS_MAX) as fd SPAWN_FIRST_FD + i, the other
 * arguments by way of a file (base/arguments.h), stdin from /dev/null, stdout and stderr a pipe of
 * its own, no other fd, default signals, and process_environment. 0 or -errno; then nothing runs. */
int spawn_process(char *const argv[], const int *fds, unsigned fd_count, struct spawned *ret,
                  struct err *err);

/* What is left of poold's environment for what it starts: the variables of the dynamic linker, the
 * C library, the sanitizers and Volt itself. A service's environment may hold secrets, and a
 * program's is in its memory. NULL-terminated; valid for ever. */
char **process_environment(void);

/* The process's id in this pid namespace; 0 when it is gone. Any thread; reads /proc. */
pid_t process_of_pidfd(int pidfd);

/* Memory that is a process's alone, as far as it has touched it; `otherwise` where that can't be told.
 * Any thread; reads /proc. */
uint64_t process_private_bytes(pid_t pid, uint64_t otherwise);

/* Whether the process of a pidfd has ended. Any thread. */
bool process_ended(int pidfd);

#endif
