/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the back end of a virtio-net device that leads nowhere: what is sent vanishes, nothing ever
 * comes. A VM that boots for a snapshot has it, so that the guest's driver is there. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/util.h"
#include "virtio/net_backend.h"

static ssize_t none_send(struct net_backend *backend, const struct iovec *iov, unsigned iov_count)
{
    ssize_t bytes = 0;

    (void)backend;
    for (unsigned i = 0; i < iov_count; i++)
        bytes += (ssize_t)iov[i].iov_len;
    return bytes;
}

static ssize_t none_receive(struct net_backend *backend, const struct iovec *iov,
                            unsigned iov_count)
{
    (void)backend;
    (void)iov;
    (void)iov_count;
    return -EAGAIN;
}

static int none_set_offloads(struct net_backend *backend, uint32_t offloads)
{
    (void)backend;
    (void)offloads;
    return 0;
}

static void none_destroy(struct net_backend *backend)
{
    close_fd(&backend->fd);
    free(backend);
}

#define NONE_OPS(what)                                                                             \
    {                                                                                              \
        .name = "none", .offloads = what, .send = none_send, .receive = none_receive,              \
        .set_offloads = none_set_offloads, .destroy = none_destroy,                                \
    }

static const struct net_backend_ops plain_ops = NONE_OPS(0);
static const struct net_backend_ops offload_ops = NONE_OPS(NET_OFFLOAD_ALL);

int net_none_open(bool offloads, struct net_backend **ret_backend, struct err *err)
{
    struct net_backend *backend = calloc(1, sizeof(*backend));

    if (!backend)
        return err_set(err, ENOMEM, "no memory for the network");
    /* Never ready: something to poll. */
    *backend = (struct net_backend){ .ops = offloads ? &offload_ops : &plain_ops,
                                     .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    if (backend->fd < 0) {
        free(backend);
        return err_set_errno(err, errno, "making an eventfd for the network");
    }
    *ret_backend = backend;
    return 0;
}
