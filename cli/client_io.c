/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the waiting for a descriptor, and the sending of all of something; see client.h. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/util.h"
#include "client.h"

int client_wait_readable(int fd, uint64_t deadline_ns)
{
    for (;;) {
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
        uint64_t now = now_ns();

        if (now >= deadline_ns)
            return -ETIMEDOUT;
        uint64_t left_ms = (deadline_ns - now) / NS_PER_MS + 1;
        int n = poll(&poll_fd, 1, (int)MIN_OF(left_ms, 3600u * 1000));
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
    }
}

int client_send_all(int fd, const void *data, size_t bytes)
{
    const uint8_t *at = data;

    while (bytes > 0) {
        ssize_t n = send(fd, at, bytes, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        bytes -= (size_t)n;
    }
    return 0;
}
