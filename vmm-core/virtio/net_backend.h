/* SPDX-License-Identifier: Apache-2.0 */
/* What carries the frames of a virtio-net device outside the machine. Every frame has a struct
 * virtio_net_hdr_v1 (12 bytes) before it, in both directions. */
#ifndef VOLT_VIRTIO_NET_BACKEND_H
#define VOLT_VIRTIO_NET_BACKEND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

#define NET_HEADER_BYTES 12u

/* What the receiver of a frame may find in its header, either way. */
#define NET_OFFLOAD_CSUM 0x1u /* partial checksums */
#define NET_OFFLOAD_TSO4 0x2u
#define NET_OFFLOAD_TSO6 0x4u
#define NET_OFFLOAD_ECN 0x8u
#define NET_OFFLOAD_UFO 0x10u
#define NET_OFFLOAD_ALL 0x1fu

struct guest_mem;
struct net_backend;
struct virtq;

/* Of a back end that serves the device's rings itself, on a thread of its own. Its fd is an eventfd
 * that it signals when the driver is to be interrupted. Two queues: rx, tx. */
struct net_ring_ops {
    /* Guest memory, and the eventfds that the driver's notifications go to; both outlive the back
     * end. Once, before the VM starts. 0 or -errno with a sentence. */
    int (*attach)(struct net_backend *backend, const struct guest_mem *mem, const int kick_fds[2],
                  struct err *err);
    /* Serves the queues that are ready, each from its next_avail on. 0 or -errno. */
    int (*start)(struct net_backend *backend, const struct virtq *queues, uint64_t driver_features);
    /* Ends that: nothing touches guest memory afterwards. Any thread. */
    void (*stop)(struct net_backend *backend);
    /* Stopped: where it got to in the driver's ring. 0 or -errno. */
    int (*next_avail)(struct net_backend *backend, unsigned queue, uint16_t *ret_next_avail);
};

/* Device thread, except open's and destroy's. */
struct net_backend_ops {
    const char *name;
    const struct net_ring_ops *rings; /* then send, receive and flush are NULL; else NULL */
    uint32_t offloads; /* NET_OFFLOAD_*: those it can send, and receive when told to */
    /* One frame. Bytes sent or received; -EAGAIN: not now, fd tells when; -EINVAL: this frame is
     * not one; other -errno: the network is gone. */
    ssize_t (*send)(struct net_backend *backend, const struct iovec *iov, unsigned iov_count);
    ssize_t (*receive)(struct net_backend *backend, const struct iovec *iov, unsigned iov_count);
    /* Which offloads the frames that are received may use from now on. 0 or -errno. */
    int (*set_offloads)(struct net_backend *backend, uint32_t offloads);
    /* Sends what is left of a frame that a send took (net_backend.unsent). 0; -EAGAIN; other -errno
     * as above. NULL: a send takes all or nothing. */
    int (*flush)(struct net_backend *backend);
    /* Closes fd and frees. */
    void (*destroy)(struct net_backend *backend);
};

struct net_backend {
    const struct net_backend_ops *ops;
    int fd;      /* non-blocking, for polling */
    bool unsent; /* flush has work */
};

/* Over a tap device: tap_fd (transferred, also on failure) is an open /dev/net/tun attached by
 * TUNSETIFF with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, or an open macvtap node. 0 or -errno with a
 * sentence. */
int net_tap_open(int tap_fd, struct net_backend **ret_backend, struct err *err);

/* The same with the host kernel's vhost-net between the tap and the guest's rings. vhost_fd
 * (transferred, also on failure) is an open /dev/vhost-net that nobody has used yet. */
int net_vhost_open(int tap_fd, int vhost_fd, struct net_backend **ret_backend, struct err *err);

/* Over a connected stream socket (transferred, also on failure) that carries each frame behind its
 * length, 4 bytes, big-endian: passt's protocol. 0 or -errno with a sentence. */
int net_stream_open(int stream_fd, struct net_backend **ret_backend, struct err *err);

/* One that leads nowhere. offloads: which it offers, a tap's (all) or a stream's (none). 0 or
 * -errno with a sentence. */
int net_none_open(bool offloads, struct net_backend **ret_backend, struct err *err);

/* Whichever an fd (transferred, also on failure) is for: a socket is a stream, all else a tap. 0 or
 * -errno with a sentence. */
int net_backend_open(int fd, struct net_backend **ret_backend, struct err *err);

#endif
