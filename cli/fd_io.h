/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls of an exec session: its descriptors and its clock. They are a seam:
 * tests/unit/stream_host.c stands in for them, so that exec_session.c and agent.c run against
 * streams that take and give what a test decides. */
#ifndef VOLT_CLI_FD_IO_H
#define VOLT_CLI_FD_IO_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* poll(2) until deadline_ns (UINT64_MAX: for ever). How many are ready; 0 at the deadline, and when
 * a signal came; -errno. */
int fd_poll(struct pollfd *fds, size_t count, uint64_t deadline_ns);

/* Bytes, 0 at the end; -EAGAIN when there is nothing, or a signal came; -errno. */
ssize_t fd_read(int fd, void *data, size_t bytes);
ssize_t fd_write(int fd, const void *data, size_t bytes);

/* The same on a socket, never blocking. */
ssize_t fd_receive(int fd, void *data, size_t bytes);
ssize_t fd_send(int fd, const void *data, size_t bytes);

/* Whether a write takes everything at once. */
bool fd_is_file(int fd);

/* CLOCK_MONOTONIC. */
uint64_t fd_now_ns(void);

#endif
