/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's system calls: see io.h. */
#include "io.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* The value of a system call, made again while a signal interrupts it. */
#define UNINTERRUPTED(call)                                                                        \
    ({                                                                                             \
        ssize_t result_;                                                                           \
                                                                                                   \
        do                                                                                         \
            result_ = (call);                                                                      \
        while (result_ < 0 && errno == EINTR);                                                     \
        result_ < 0 ? -errno : result_;                                                            \
    })

ssize_t io_read(int fd, void *data, size_t bytes)
{
    return UNINTERRUPTED(read(fd, data, bytes));
}

ssize_t io_write(int fd, const void *data, size_t bytes)
{
    return UNINTERRUPTED(write(fd, data, bytes));
}

ssize_t io_send(int fd, const void *data, size_t bytes)
{
    return UNINTERRUPTED(send(fd, data, bytes, MSG_NOSIGNAL));
}

void io_shutdown(int fd)
{
    shutdown(fd, SHUT_WR);
}

void io_close(int fd)
{
    close(fd);
}

int io_accept(int listen_fd)
{
    return (int)UNINTERRUPTED(accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
}
