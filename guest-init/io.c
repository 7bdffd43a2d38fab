/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's system calls: see io.h. */
#include "io.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
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

/* A connection that is on its way: 0 when it is there. */
static int connect_await(int fd)
{
    struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
    int error = 0;
    socklen_t bytes = sizeof(error);

    if (poll(&poll_fd, 1, IO_CONNECT_MS) <= 0)
        return -ETIMEDOUT;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) < 0)
        return -errno;
    return -error;
}

static struct sockaddr_in local_address(uint16_t port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

int io_connect_local(uint16_t port)
{
    const struct sockaddr_in address = local_address(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), status;

    if (fd < 0)
        return -errno;
    status = (int)UNINTERRUPTED(connect(fd, (const struct sockaddr *)&address, sizeof(address)));
    if (status == -EINPROGRESS)
        status = connect_await(fd);
    if (status == 0)
        return fd;
    close(fd);
    return status;
}

int io_listen_local(uint16_t port, int backlog)
{
    const struct sockaddr_in address = local_address(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), status;

    if (fd < 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
        listen(fd, backlog) == 0)
        return fd;
    status = -errno;
    close(fd);
    return status;
}

ssize_t io_peek(int fd, void *data, size_t bytes)
{
    return UNINTERRUPTED(recv(fd, data, bytes, MSG_PEEK | MSG_DONTWAIT));
}
