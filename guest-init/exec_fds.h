/* SPDX-License-Identifier: Apache-2.0 */
/* The fds between the agent and a command: pipes or a terminal; and signals to its group. With io.h
 * and child.h this is what tests stand in for.
 *
 * How it works
 *   Of the pipes for stdout and stderr both ends stay open here, and a terminal's. So a command that
 *   ends does not wake the agent by each fd that it closes, only by its death; then what is left in
 *   the pipes is read until they are empty, and the terminal until nobody else has it open.
 *   A terminal is made ahead, before the snapshot and when a session's client has gone, as making
 *   one takes 20 ms on a software-only KVM. It is new and serves one command: what a command had is
 *   closed, never kept. That it has its name still in /dev/pts is looked up after mounts only.
 */
#ifndef GUEST_EXEC_FDS_H
#define GUEST_EXEC_FDS_H

#include <stddef.h>
#include <sys/types.h>

#include "guest_abi.h"

#define STREAM_COUNT 2    /* stdout and stderr; a terminal has the first only */
#define PIPE_BYTES 65536u /* what a pipe holds unless somebody makes it larger */

/* -1 where there is none. */
struct exec_fds {
    int child[3];              /* the command's own; of a terminal they are one */
    int input;                 /* our end of stdin, non-blocking, as are the next */
    int streams[STREAM_COUNT]; /* our ends of stdout and stderr */
};

/* Makes them for this request, or takes a terminal made ahead: a service's stdout and stderr are one pipe,
 * streams[0]. 0, or -errno with nothing left open. */
int exec_fds_open(const struct agent_exec *exec, struct exec_fds *ret_fds);

/* What the command is born with: /dev/null where it has none. */
void exec_fds_child(const struct exec_fds *fds, int ret_child[3]);

/* It is born. Closes a stdin of its own, which nobody reads when the command has closed it. */
void exec_fds_started(struct exec_fds *fds);

/* It is dead. Closes its terminal, which ends when nobody has it open. */
void exec_fds_ended(struct exec_fds *fds);

/* Closes what is still there. */
void exec_fds_close(struct exec_fds *fds);

/* Makes ready what the next command needs, as far as it is not: before the snapshot, and when one has
 * ended and its client is gone. What can't be made is made, or fails, when a command asks for it. */
void exec_fds_prepare(void);

/* Closes the terminal made ahead. In a copy of this process that goes on without exec, as a terminal of
 * which it kept its copy would never end. */
void exec_fds_drop(void);

/* Another fd for the same, or -errno. */
int exec_fd_duplicate(int fd);

/* What a pipe holds at most. */
size_t exec_pipe_bytes(int fd);

void exec_terminal_resize(int fd, const struct agent_winsize *size);

/* Sends a signal to the process group that `leader` leads. */
void exec_signal_group(pid_t leader, int signal);

#endif
