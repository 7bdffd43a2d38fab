/* SPDX-License-Identifier: Apache-2.0 */
/* The network device (net.h) in two parts: net.c the device, net_frames.c the frames that it moves
 * itself. All under the device's lock, on the device thread. */
#ifndef VOLT_VIRTIO_NET_INTERNAL_H
#define VOLT_VIRTIO_NET_INTERNAL_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/net.h"
#include "virtio/virtio_mmio.h"

enum net_queue { NET_QUEUE_RX, NET_QUEUE_TX, NET_QUEUE_COUNT };

/* rx chains taken from the ring, oldest first. Their buffers are iov[0..iov_count). */
struct net_rx {
    struct {
        uint16_t head, iov_count;
        uint32_t bytes;
    } chain[VIRTQ_NUM_MAX];
    unsigned chain_count;
    struct iovec iov[VIRTQ_NUM_MAX];
    unsigned iov_count;
    uint32_t bytes;
};

struct net {
    struct virtio_dev dev; /* first */
    struct net_backend *backend;
    struct vm_poll poll; /* the back end's fd, which it owns */
    bool polled;
    uint32_t events;
    bool started;            /* offloads and rings, since the driver came up */
    bool tx_full;            /* the back end takes nothing for now */
    bool rx_starved;         /* not enough buffers */
    bool rx_waits, tx_waits; /* for their limits */
    uint32_t rx_owed;        /* bytes received and not yet taken from rx_limit */
    uint32_t frame_bytes_max;
    struct rate_limit rx_limit, tx_limit;
    struct vm_poll timer;       /* ends waits for a limit; fd -1: there are none */
    int kicks[NET_QUEUE_COUNT]; /* eventfds, for a back end with rings; -1 */
    struct net_rx rx;
    struct virtq_chain chain;
};

/* ---- net_frames.c ---- */

/* Receives frames while there are any. 0, or -errno: the back end is gone; -EPROTO: the ring is
 * broken. */
int net_receive(struct net *net);

/* Puts back what was taken ahead: the ring is again as the driver sees it. */
void net_return_buffers(struct net *net);

/* Sends what the driver has queued. As net_receive. */
int net_send(struct net *net);

#endif
