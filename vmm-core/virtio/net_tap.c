/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the tap back end of virtio-net; macvtap nodes are taps to everything here. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/util.h"
#include "virtio/net_backend.h"

static ssize_t result(ssize_t n)
{
    if (n >= 0)
        return n;
    return errno == EINTR || errno == ENOBUFS ? -EAGAIN : -errno;
}

static ssize_t tap_send(struct net_backend *backend, const struct iovec *iov, unsigned iov_count)
{
    ssize_t n = result(writev(backend->fd, iov, (int)iov_count));

    return n == -EIO ? -EINVAL : n; /* the interface is down: as good as a frame lost */
}

static ssize_t tap_receive(struct net_backend *backend, const struct iovec *iov, unsigned iov_count)
{
    return result(readv(backend->fd, iov, (int)iov_count));
}

static int tap_set_offloads(struct net_backend *backend, uint32_t offloads)
{
    static const struct {
        uint32_t offload;
        unsigned tun;
    } flags[] = {
        { NET_OFFLOAD_CSUM, TUN_F_CSUM }, { NET_OFFLOAD_TSO4, TUN_F_TSO4 },
        { NET_OFFLOAD_TSO6, TUN_F_TSO6 }, { NET_OFFLOAD_ECN, TUN_F_TSO_ECN },
        { NET_OFFLOAD_UFO, TUN_F_UFO },
    };
    unsigned long tun = 0;

    for (unsigned i = 0; i < ARRAY_LEN(flags); i++)
        tun |= offloads & flags[i].offload ? flags[i].tun : 0;
    return ioctl(backend->fd, TUNSETOFFLOAD, tun) < 0 ? -errno : 0;
}

static void tap_destroy(struct net_backend *backend)
{
    close_fd(&backend->fd);
    free(backend);
}

static const struct net_backend_ops tap_ops = {
    .name = "tap",
    .offloads = NET_OFFLOAD_ALL,
    .send = tap_send,
    .receive = tap_receive,
    .set_offloads = tap_set_offloads,
    .destroy = tap_destroy,
};

/* The fd is what it is said to be, and speaks our header. */
static int tap_set_up(int fd, struct err *err)
{
    struct ifreq ifr = { 0 };
    int header_bytes = NET_HEADER_BYTES;
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return err_set_errno(err, errno, "tap: making it non-blocking");
    if (ioctl(fd, TUNGETIFF, &ifr) < 0)
        return err_set_errno(err, errno, "tap: this is no tap device, or not attached to one");
    if (!(ifr.ifr_flags & IFF_TAP) || !(ifr.ifr_flags & IFF_NO_PI) ||
        !(ifr.ifr_flags & IFF_VNET_HDR))
        return err_set(err, EINVAL,
                       "tap '%.15s': attached with flags 0x%x, but TAP, NO_PI and VNET_HDR (0x%x) "
                       "are needed",
                       ifr.ifr_name, (unsigned)(unsigned short)ifr.ifr_flags,
                       IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
    if (ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) < 0)
        return err_set_errno(err, errno, "tap '%.15s': setting the header's size", ifr.ifr_name);
    return 0;
}

int net_tap_open(int tap_fd, struct net_backend **ret_backend, struct err *err)
{
    _cleanup_close_ int fd = tap_fd;
    int rc = tap_set_up(fd, err);

    if (rc < 0)
        return rc;
    struct net_backend *backend = calloc(1, sizeof(*backend));
    if (!backend)
        return err_set(err, ENOMEM, "no memory for the tap");
    *backend = (struct net_backend){ .ops = &tap_ops, .fd = take_fd(&fd) };
    *ret_backend = backend;
    return 0;
}

int net_backend_open(int fd, struct net_backend **ret_backend, struct err *err)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) ? net_stream_open(fd, ret_backend, err)
                                                       : net_tap_open(fd, ret_backend, err);
}
