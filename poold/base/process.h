/* SPDX-License-Identifier: Apache-2.0 */
/* Processes: starts a volt-vmm with chosen fds, and sets how promptly poold itself is run. Only
 * boot VMs and templates are started here: clones are forked by their template, so that nothing of
 * the size of poold is forked for a VM. Loop thread. */
#ifndef VOLT_POOLD_PROCESS_H
#define VOLT_POOLD_PROCESS_H

#include <stdbool.h>
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

/* Whether the process of a pidfd has ended. Any thread. */
bool process_ended(int pidfd);

/* Real-time scheduling for poold's loop, whose work is short: it runs as soon as a request or an
 * answer is there, instead of at the next tick, milliseconds later, where VMs are being made or run
 * beside it. What it starts does not inherit that. A hint: without the privilege nothing happens.
 * Cheap when nothing changes. Loop thread. */
void process_run_promptly(bool promptly);

/* Not even if it is wanted, until released as often: while pool threads work. libuv's loop spins
 * until the thread that woke it has left uv_async_send (libuv 1.44, uv__async_spin); a loop with
 * real-time scheduling has preempted that very thread, and on the only CPU that is free it would
 * spin until the kernel throttles it, for a second. Loop thread. */
void process_hold_promptness(void);
void process_release_promptness(void);

#endif
