/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the system calls of an exec session; see fd_io.h. */
#include "fd_io.h"

#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"

static ssize_t result(ssize_t n)
{
    if (n >= 0)
        return n;
    return errno == EINTR ? -EAGAIN : -errno;
}

int fd_poll(struct pollfd *fds, size_t count, uint64_t deadline_ns)
{
    uint64_t now = now_ns();
    int timeout_ms = -1;

    if (deadline_ns != UINT64_MAX)
        timeout_ms = now >= deadline_ns
                         ? 0
                         : (int)MIN_OF((deadline_ns - now) / NS_PER_MS + 1, (uint64_t)INT_MAX);
    int n = poll(fds, count, timeout_ms);
    return n < 0 && errno == EINTR ? 0 : (int)result(n);
}

ssize_t fd_read(int fd, void *data, size_t bytes)
{
    return result(read(fd, data, bytes));
}

ssize_t fd_write(int fd, const void *data, size_t bytes)
{
    return result(write(fd, data, bytes));
}

ssize_t fd_receive(int fd, void *data, size_t bytes)
{
    return result(recv(fd, data, bytes, MSG_DONTWAIT));
}

ssize_t fd_send(int fd, const void *data, size_t bytes)
{
    return result(send(fd, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL));
}

bool fd_is_file(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

uint64_t fd_now_ns(void)
{
    return now_ns();
}
