/* SPDX-License-Identifier: Apache-2.0 */
/* A network card's back end for tests: one end of a socket pair, a packet a frame. Guests may use
 * all offloads with it. */
#ifndef VOLT_TESTS_NET_PAIR_H
#define VOLT_TESTS_NET_PAIR_H

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "virtio/net.h"

/* What a device told its back end last. */
static uint32_t net_pair_offloads;

static inline ssize_t net_pair_send(struct net_backend *backend, const struct iovec *iov,
                                    unsigned iov_count)
{
    union {
        const struct iovec *from;
        struct iovec *iov;
    } plain = { .from = iov };
    struct msghdr msg = { .msg_iov = plain.iov, .msg_iovlen = iov_count };
    ssize_t n = sendmsg(backend->fd, &msg, MSG_NOSIGNAL);

    return n < 0 ? -errno : n;
}

static inline ssize_t net_pair_receive(struct net_backend *backend, const struct iovec *iov,
                                       unsigned iov_count)
{
    ssize_t n = readv(backend->fd, iov, (int)iov_count);

    return n < 0 ? -errno : n;
}

static inline int net_pair_set_offloads(struct net_backend *backend, uint32_t offloads)
{
    (void)backend;
    net_pair_offloads = offloads;
    return 0;
}

static inline void net_pair_destroy(struct net_backend *backend)
{
    close(backend->fd);
    free(backend);
}

static const struct net_backend_ops net_pair_ops = {
    .name = "pair",
    .offloads = NET_OFFLOAD_ALL,
    .send = net_pair_send,
    .receive = net_pair_receive,
    .set_offloads = net_pair_set_offloads,
    .destroy = net_pair_destroy,
};

/* The caller's, as is the other end. NULL: there is none, with errno. */
static inline struct net_backend *net_pair_create(int *ret_peer)
{
    struct net_backend *backend = calloc(1, sizeof *backend);
    int pair[2], bytes = 1 << 20;

    if (!backend ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        free(backend);
        return NULL;
    }
    for (unsigned i = 0; i < 2; i++) /* room for the largest frames; as much as there may be */
        (void)setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    *backend = (struct net_backend){ .ops = &net_pair_ops, .fd = pair[0] };
    *ret_peer = pair[1];
    return backend;
}

#endif
