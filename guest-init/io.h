/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls of the agent's streams. What is interrupted is done again, failures are -errno.
 * They are a seam: tests/unit/stream_guest.c stands in for them, so that everything above runs
 * against streams that take and give what a test decides.
 */
#ifndef GUEST_IO_H
#define GUEST_IO_H

#include <stdint.h>
#include <sys/types.h>

/* Non-blocking: bytes, 0 at the end, -EAGAIN, or -errno. */
ssize_t io_read(int fd, void *data, size_t bytes);
ssize_t io_write(int fd, const void *data, size_t bytes);

/* io_write to a socket. */
ssize_t io_send(int fd, const void *data, size_t bytes);

/* Says that nothing more will be sent. */
void io_shutdown(int fd);

void io_close(int fd);

/* The next connection, non-blocking. -EAGAIN: none. */
int io_accept(int listen_fd);

/* A non-blocking connection to a TCP port of the loopback, or -errno. It waits IO_CONNECT_MS at most,
 * and only for a listener whose queue is full. */
#define IO_CONNECT_MS 50
int io_connect_local(uint16_t port);
/* A listening, non-blocking socket at such a port, or -errno. */
int io_listen_local(uint16_t port, int backlog);
/* Reads what is there without taking it; as io_read. */
ssize_t io_peek(int fd, void *data, size_t bytes);

#endif
