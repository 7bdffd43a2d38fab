/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the connections over the vsock device's Unix sockets: the greeting on the CONNECT socket,
 * and dialing for the guest. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/util.h"
#include "virtio/vsock_internal.h"
#include "virtio/vsock_listen.h"

#define ACCEPTS_A_TURN 16u

/* A Unix socket can only be named by path, and the directory is only held by fd: so the path is
 * relative, and the directory the working one. That works where no path leads there any more. */
static int enter(int dir_fd)
{
    return fchdir(dir_fd) < 0 ? -errno : 0;
}

int vsock_host_dial(const struct vsock *vsock, uint32_t port)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    _cleanup_close_ int fd = -1;

    if (vsock->dir_fd < 0)
        return -ECONNREFUSED;
    snprintf(address.sun_path, sizeof(address.sun_path), VSOCK_LISTEN_NAME "_%u", port);
    int rc = enter(vsock->dir_fd);
    if (rc < 0)
        return rc;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* A full backlog is EAGAIN: refused, the guest may try again. */
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    return take_fd(&fd);
}

/* "CONNECT <port>\n", nothing more or less. */
static bool parse_greeting(const char *line, uint32_t bytes, uint32_t *ret_port)
{
    static const char verb[] = "CONNECT ";
    uint32_t at = sizeof(verb) - 1;
    uint64_t port = 0;

    if (bytes < sizeof(verb) + 1 || memcmp(line, verb, at) != 0)
        return false;
    for (; at < bytes - 1; at++) {
        if (line[at] < '0' || line[at] > '9')
            return false;
        port = port * 10 + (uint64_t)(line[at] - '0');
        if (port > UINT32_MAX)
            return false;
    }
    *ret_port = (uint32_t)port;
    return true;
}

void vsock_host_greet(struct vsock_conn *conn)
{
    struct vsock *vsock = conn->vsock;
    char *to = conn->greeting + conn->greeting_bytes;
    uint32_t port;

    /* Looks first, then takes no more than the line: what follows is for the guest. */
    ssize_t n = recv(conn->poll.fd, to, VSOCK_GREETING_BYTES - conn->greeting_bytes,
                     MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        vsock_conn_free(conn);
        return;
    }
    const char *end = memchr(to, '\n', (size_t)n);
    n = recv(conn->poll.fd, to, end ? (size_t)(end + 1 - to) : (size_t)n, MSG_DONTWAIT);
    conn->greeting_bytes += n > 0 ? (uint32_t)n : 0;
    if (n > 0 && !end && conn->greeting_bytes < VSOCK_GREETING_BYTES)
        return;
    if (n <= 0 || !end || !parse_greeting(conn->greeting, conn->greeting_bytes, &port) ||
        !virtio_dev_running(&vsock->dev)) {
        atomic_fetch_add(&vsock->refused, 1);
        vsock_conn_free(conn);
        return;
    }
    vsock_conn_request(conn, port);
}

static void listen_ready(struct vm_poll *poll, uint32_t events)
{
    struct vsock *vsock = (struct vsock *)(void *)((char *)poll - offsetof(struct vsock, listen));

    (void)events;
    pthread_mutex_lock(&vsock->dev.lock);
    virtio_dev_settle(&vsock->dev);
    for (unsigned i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(poll->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            /* Out of fds or memory: the waiting client would keep us spinning. */
            vm_poll_mod(vsock->dev.device.vm, poll, 0);
            vsock->listen_paused = true;
        }
        if (fd < 0)
            break;
        struct vsock_conn *conn = vsock_conn_new(vsock, fd, VSOCK_GREETING);
        if (conn)
            vsock_conn_poll(conn);
    }
    pthread_mutex_unlock(&vsock->dev.lock);
}

void vsock_host_unpause(struct vsock *vsock)
{
    if (!vsock->listen_paused)
        return;
    vsock->listen_paused = false;
    vm_poll_mod(vsock->dev.device.vm, &vsock->listen, EPOLLIN);
}

int vsock_host_start(struct vsock *vsock, int listen_fd, struct err *err)
{
    vsock->listen = (struct vm_poll){ .ready = listen_ready, .fd = listen_fd };
    int rc = vm_poll_add(vsock->dev.device.vm, &vsock->listen, EPOLLIN);
    if (rc < 0) {
        close_fd(&vsock->listen.fd);
        return err_set_errno(err, -rc, "watching the vsock CONNECT socket");
    }
    return 0;
}
