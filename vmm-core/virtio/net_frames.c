/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the way of frames between the rings and a back end that does not serve them itself; see
 * net_internal.h.
 *
 * How receiving works
 *   A frame's size is known only after it was read, and it may fill many mergeable buffers. So rx
 *   chains are taken from the ring ahead (struct net_rx), until they hold the largest frame that
 *   may come; then one read fills as many as it needs. What was taken and is not used yet goes back
 *   to the ring when the device is saved. While there is not enough room, the back end is not
 *   polled, and the guest is asked to tell when it adds buffers.
 */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/timerfd.h>

#include "base/util.h"
#include "virtio/net_internal.h"

#define FRAMES_A_TURN 64u /* then others on the device thread get theirs */

static_assert(sizeof(struct virtio_net_hdr_v1) == NET_HEADER_BYTES, "header layout");

static void wait_for_limit(struct net *net, uint64_t wait_ns)
{
    struct itimerspec at = { .it_value = { .tv_sec = (time_t)(wait_ns / NS_PER_S),
                                           .tv_nsec = (long)(wait_ns % NS_PER_S) } };

    timerfd_settime(net->timer.fd, 0, &at, NULL);
}

/* ---- Receiving. ---- */

/* Takes chains from the ring until they hold the largest frame. 1: they do, or are all that the
 * ring can hold; 0: the ring is empty; -EPROTO. */
static int take_buffers(struct net *net)
{
    struct net_rx *rx = &net->rx;
    struct virtq *vq = &net->dev.queue[NET_QUEUE_RX];
    bool merge = net->dev.driver_features & (1ull << VIRTIO_NET_F_MRG_RXBUF);

    while (rx->bytes < net->frame_bytes_max && (merge || rx->chain_count == 0)) {
        struct virtq_chain *chain = &net->chain;
        int rc = virtq_pop(vq, chain);

        if (rc == 0 && virtq_want_notify(vq, true))
            continue;
        if (rc == 0)
            return rx->chain_count == vq->num; /* more there will never be */
        if (rc < 0)
            return rc;
        if (chain->in_bytes < NET_HEADER_BYTES) {
            vq->broken = true;
            return -EPROTO;
        }
        if (rx->iov_count + chain->in_count > VIRTQ_NUM_MAX) {
            virtq_unpop(vq);
            break; /* descriptors in tiny pieces: frames that need more are cut */
        }
        memcpy(rx->iov + rx->iov_count, chain->iov + chain->out_count,
               chain->in_count * sizeof(rx->iov[0]));
        rx->chain[rx->chain_count].head = chain->head;
        rx->chain[rx->chain_count].iov_count = chain->in_count;
        rx->chain[rx->chain_count].bytes = chain->in_bytes;
        rx->chain_count++;
        rx->iov_count += chain->in_count;
        rx->bytes += chain->in_bytes;
    }
    return rx->chain_count > 0;
}

/* Gives the first chains, which hold a frame of `bytes` bytes, to the driver. */
static void give_frame(struct net *net, uint32_t bytes)
{
    struct net_rx *rx = &net->rx;
    struct virtq *vq = &net->dev.queue[NET_QUEUE_RX];
    uint16_t used = 0;
    unsigned iov_used = 0;

    for (uint32_t left = bytes; used < rx->chain_count && (used == 0 || left > 0); used++) {
        uint32_t n = MIN_OF(left, rx->chain[used].bytes);

        virtq_push(vq, rx->chain[used].head, n);
        rx->bytes -= rx->chain[used].bytes;
        iov_used += rx->chain[used].iov_count;
        left -= n;
    }
    virtq_iov_write(rx->iov, rx->chain[0].iov_count,
                    offsetof(struct virtio_net_hdr_v1, num_buffers), &used, sizeof(used));
    rx->chain_count -= used;
    rx->iov_count -= iov_used;
    memmove(rx->chain, rx->chain + used, rx->chain_count * sizeof(rx->chain[0]));
    memmove(rx->iov, rx->iov + iov_used, rx->iov_count * sizeof(rx->iov[0]));
}

int net_receive(struct net *net)
{
    for (unsigned i = 0; i < FRAMES_A_TURN; i++) {
        uint64_t wait_ns =
            net->rx_owed ? rate_limit_take(&net->rx_limit, net->rx_owed, now_ns()) : 0;

        net->rx_waits = wait_ns > 0;
        if (wait_ns) {
            wait_for_limit(net, wait_ns);
            return 0;
        }
        net->rx_owed = 0;
        int rc = take_buffers(net);
        net->rx_starved = rc == 0;
        if (rc <= 0)
            return rc;
        ssize_t n = net->backend->ops->receive(net->backend, net->rx.iov, net->rx.iov_count);
        if (n == -EAGAIN)
            return 0;
        if (n < (ssize_t)NET_HEADER_BYTES)
            return n < 0 ? (int)n : -EIO;
        give_frame(net, (uint32_t)n);
        net->rx_owed = net->timer.fd >= 0 ? (uint32_t)n : 0;
    }
    return 0; /* more to come is told again */
}

void net_return_buffers(struct net *net)
{
    for (; net->rx.chain_count > 0; net->rx.chain_count--)
        virtq_unpop(&net->dev.queue[NET_QUEUE_RX]);
    net->rx.iov_count = 0;
    net->rx.bytes = 0;
}

/* ---- Sending. ---- */

int net_send(struct net *net)
{
    struct virtq *vq = &net->dev.queue[NET_QUEUE_TX];
    const struct virtq_chain *chain = &net->chain;

    net->tx_full = net->tx_waits = false;
    if (net->backend->unsent) {
        int rc = net->backend->ops->flush(net->backend);
        net->tx_full = rc == -EAGAIN;
        if (rc < 0)
            return rc == -EAGAIN ? 0 : rc;
    }
    for (unsigned i = 0; i < FRAMES_A_TURN; i++) {
        int rc = virtq_pop(vq, &net->chain);

        if (rc == 0 && virtq_want_notify(vq, true))
            continue;
        if (rc <= 0)
            return rc;
        uint64_t wait_ns =
            net->timer.fd >= 0 ? rate_limit_take(&net->tx_limit, chain->out_bytes, now_ns()) : 0;
        ssize_t n =
            wait_ns ? 0 : net->backend->ops->send(net->backend, chain->iov, chain->out_count);
        if (wait_ns || n == -EAGAIN) {
            virtq_unpop(vq);
            net->tx_waits = wait_ns > 0;
            net->tx_full = wait_ns == 0;
            if (wait_ns)
                wait_for_limit(net, wait_ns);
            return 0;
        }
        if (n < 0 && n != -EINVAL)
            return (int)n;
        virtq_push(vq, chain->head, 0); /* a frame that is none is dropped */
    }
    virtio_dev_renotify(&net->dev, NET_QUEUE_TX);
    return 0;
}
