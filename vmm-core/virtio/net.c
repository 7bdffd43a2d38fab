/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the network device; see net.h.
 *
 * How receiving works
 *   A frame's size is known only after it was read, and it may fill many mergeable buffers. So rx
 *   chains are taken from the ring ahead (struct net_rx), until they hold the largest frame that
 *   may come; then one read fills as many as it needs. What was taken and is not used yet goes back
 *   to the ring when the device is saved. While there is not enough room, the back end is not
 *   polled, and the guest is asked to tell when it adds buffers.
 *
 * A back end that serves the rings itself (struct net_ring_ops)
 *   has them from DRIVER_OK, or the restore of a driver that is up, until a reset or a save. The
 *   driver's notifications go to it alone. Its interrupts come by its fd and the device thread, as
 *   InterruptStatus is there to be set. When it has stopped, the queues stand where it got to: what
 *   is saved can be restored with any back end.
 */
#include "virtio/net.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "base/util.h"
#include "virtio/virtio_mmio.h"

#define NET_DEVICE_ID 1u
#define FRAMES_A_TURN 64u /* then others on the device thread get theirs */
#define FRAME_BYTES_MAX (65535u + 18u + NET_HEADER_BYTES)
#define FRAME_BYTES_PLAIN (1500u + 18u + NET_HEADER_BYTES)
#define LINK_UP 1u

static_assert(sizeof(struct virtio_net_hdr_v1) == NET_HEADER_BYTES, "header layout");

enum net_queue { NET_QUEUE_RX, NET_QUEUE_TX, NET_QUEUE_COUNT };

/* Section 5.1.4. */
struct net_space {
    uint8_t mac[6];
    uint16_t status;
    uint16_t max_virtqueue_pairs;
    uint16_t mtu;
};

static_assert(sizeof(struct net_space) == 12, "config space layout");

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

static const struct net_ring_ops *rings_of(const struct net *net)
{
    return net->backend ? net->backend->ops->rings : NULL;
}

/* ---- Offloads. ---- */

/* What each offload is called when the guest receives (GUEST_) and when it sends (HOST_). */
static const struct {
    uint32_t offload;
    unsigned guest_feature, host_feature;
} offload_features[] = {
    { NET_OFFLOAD_CSUM, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_CSUM },
    { NET_OFFLOAD_TSO4, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_HOST_TSO4 },
    { NET_OFFLOAD_TSO6, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_HOST_TSO6 },
    { NET_OFFLOAD_ECN, VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_HOST_ECN },
    { NET_OFFLOAD_UFO, VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_HOST_UFO },
};

static uint64_t features_of(uint32_t offloads)
{
    uint64_t features = 0;

    for (unsigned i = 0; i < ARRAY_LEN(offload_features); i++) {
        if (offloads & offload_features[i].offload)
            features |= 1ull << offload_features[i].guest_feature |
                        1ull << offload_features[i].host_feature;
    }
    return features;
}

/* Tells the back end what the guest can receive. */
static int set_offloads(struct net *net)
{
    uint32_t offloads = 0;

    for (unsigned i = 0; i < ARRAY_LEN(offload_features); i++) {
        if (net->dev.driver_features & (1ull << offload_features[i].guest_feature))
            offloads |= offload_features[i].offload;
    }
    /* Section 5.1.3.1: each needs the one before. Taps refuse what does not. */
    if (!(offloads & NET_OFFLOAD_CSUM))
        offloads = 0;
    if (!(offloads & (NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6)))
        offloads &= ~NET_OFFLOAD_ECN;
    net->frame_bytes_max = offloads & ~NET_OFFLOAD_CSUM ? FRAME_BYTES_MAX : FRAME_BYTES_PLAIN;
    return net->backend->ops->set_offloads(net->backend, offloads);
}

/* ---- Polling, limits, and the end of the back end. ---- */

/* Polls for what the device can make use of. */
static void update_poll(struct net *net)
{
    bool running = virtio_dev_running(&net->dev) && net->backend;
    uint32_t events = 0;

    if (running && !net->rx_starved && !net->rx_waits &&
        (net->dev.queue[NET_QUEUE_RX].ready || rings_of(net)))
        events |= EPOLLIN;
    if (running && (net->tx_full || net->backend->unsent))
        events |= EPOLLOUT;
    if (!net->polled || events == net->events)
        return;
    vm_poll_mod(net->dev.device.vm, &net->poll, events);
    net->events = events;
}

static void close_backend(struct net *net)
{
    if (net->polled)
        vm_poll_del(net->dev.device.vm, &net->poll);
    net->polled = false;
    if (net->backend)
        net->backend->ops->destroy(net->backend);
    net->backend = NULL;
}

/* The network is gone for good: to the guest, an unplugged cable. */
static void lose_backend(struct net *net)
{
    const uint16_t down = 0;

    if (!net->backend)
        return;
    close_backend(net);
    memcpy(net->dev.config + offsetof(struct net_space, status), &down, sizeof(down));
    virtio_dev_interrupt_config(&net->dev);
}

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

/* Receives frames while there are any. 0, or -errno: the back end is gone; -EPROTO: the ring is
 * broken. */
static int receive_frames(struct net *net)
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

/* Puts back what was taken ahead: the ring is again as the driver sees it. */
static void return_buffers(struct net *net)
{
    for (; net->rx.chain_count > 0; net->rx.chain_count--)
        virtq_unpop(&net->dev.queue[NET_QUEUE_RX]);
    net->rx.iov_count = 0;
    net->rx.bytes = 0;
}

/* ---- Sending. ---- */

static int send_frames(struct net *net)
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

/* ---- Rings that the back end serves. ---- */

/* The driver has come up, or goes on. */
static int start(struct net *net)
{
    const struct net_ring_ops *rings = rings_of(net);
    const uint64_t one = 1;
    int rc = set_offloads(net);

    net->started = true;
    if (rc < 0 || !rings)
        return rc;
    rc = rings->start(net->backend, net->dev.queue, net->dev.driver_features);
    /* Chains may be there already, which nobody will notify of. */
    for (unsigned i = 0; i < NET_QUEUE_COUNT && rc == 0; i++)
        rc = write(net->kicks[i], &one, sizeof(one)) < 0 ? -errno : 0;
    return rc;
}

static void pass_interrupt(struct net *net)
{
    uint64_t count;

    if (read(net->backend->fd, &count, sizeof(count)) > 0 && virtio_dev_running(&net->dev))
        virtio_dev_interrupt_used(&net->dev);
}

/* Has the queues back, as far as the back end got. */
static int stop_rings(struct net *net, struct err *err)
{
    const struct net_ring_ops *rings = rings_of(net);
    uint16_t next_avail;

    rings->stop(net->backend);
    net->started = false;
    for (unsigned i = 0; i < NET_QUEUE_COUNT; i++) {
        struct virtq *vq = &net->dev.queue[i];
        int rc = vq->ready ? rings->next_avail(net->backend, i, &next_avail) : 0;

        if (rc < 0)
            return err_set_errno(err, -rc, "asking %s where queue %u is", net->backend->ops->name,
                                 i);
        if (vq->ready)
            virtq_take_over(vq, next_avail);
    }
    pass_interrupt(net);
    return 0;
}

/* ---- Events. ---- */

/* Does what can be done in the queues named (bits), then flushes with one interrupt. */
static void serve(struct net *net, unsigned queues)
{
    struct virtio_dev *dev = &net->dev;
    int rc = 0;

    bool running = virtio_dev_running(dev) && net->backend;

    if (running && !net->started)
        rc = start(net);
    if (rings_of(net))
        queues = 0;
    if (rc == 0 && running && (queues & (1u << NET_QUEUE_RX)))
        rc = receive_frames(net);
    if (rc == 0 && running && (queues & (1u << NET_QUEUE_TX)))
        rc = send_frames(net);
    if (rc == -EPROTO)
        virtio_dev_broken(dev);
    else if (rc < 0)
        lose_backend(net);
    bool interrupt = virtq_flush(&dev->queue[NET_QUEUE_RX]);
    interrupt |= virtq_flush(&dev->queue[NET_QUEUE_TX]);
    if (interrupt)
        virtio_dev_interrupt_used(dev);
    update_poll(net);
}

static void net_notify(struct virtio_dev *dev, unsigned queue)
{
    serve((struct net *)dev, 1u << queue);
}

static void backend_ready(struct vm_poll *poll, uint32_t events)
{
    struct net *net = (struct net *)(void *)((char *)poll - offsetof(struct net, poll));
    unsigned queues = 0;

    if (events & EPOLLIN)
        queues |= 1u << NET_QUEUE_RX;
    if (events & EPOLLOUT)
        queues |= 1u << NET_QUEUE_TX;
    pthread_mutex_lock(&net->dev.lock);
    virtio_dev_settle(&net->dev);
    if (events & (EPOLLERR | EPOLLHUP))
        lose_backend(net); /* it would be told for ever */
    else if (rings_of(net))
        pass_interrupt(net);
    serve(net, queues);
    pthread_mutex_unlock(&net->dev.lock);
}

static void timer_ready(struct vm_poll *poll, uint32_t events)
{
    struct net *net = (struct net *)(void *)((char *)poll - offsetof(struct net, timer));
    uint64_t count;
    ssize_t n = read(poll->fd, &count, sizeof(count));

    (void)n;
    (void)events;
    pthread_mutex_lock(&net->dev.lock);
    virtio_dev_settle(&net->dev);
    serve(net, (net->rx_waits ? 1u << NET_QUEUE_RX : 0) | (net->tx_waits ? 1u << NET_QUEUE_TX : 0));
    pthread_mutex_unlock(&net->dev.lock);
}

/* ---- Saved state and life. ---- */

/* What stopped at a reset does not matter: the rings are the driver's to make anew. */
static void net_reset(struct virtio_dev *dev)
{
    const struct net *net = (struct net *)dev;

    if (rings_of(net) && net->started)
        rings_of(net)->stop(net->backend);
}

static void net_settle(struct virtio_dev *dev)
{
    struct net *net = (struct net *)dev;

    net->rx.chain_count = net->rx.iov_count = 0;
    net->rx.bytes = 0;
    net->started = net->tx_full = net->rx_starved = net->rx_waits = net->tx_waits = false;
    update_poll(net);
}

static int net_quiesce(struct virtio_dev *dev, struct err *err)
{
    struct net *net = (struct net *)dev;

    return_buffers(net);
    return rings_of(net) && net->started ? stop_rings(net, err) : 0;
}

/* Has the device thread look: at frames that had to wait, to poll the back end, to start it. */
static void net_resume(struct virtio_dev *dev)
{
    virtio_dev_renotify(dev, NET_QUEUE_RX);
    virtio_dev_renotify(dev, NET_QUEUE_TX);
}

static int net_load(struct virtio_dev *dev, const uint64_t *words, struct err *err)
{
    (void)words;
    (void)err;
    net_resume(dev);
    return 0;
}

static void net_destroy(struct virtio_dev *dev)
{
    struct net *net = (struct net *)dev;

    close_backend(net);
    if (net->timer.fd >= 0)
        vm_poll_del(dev->device.vm, &net->timer);
    close_fd(&net->timer.fd);
    for (unsigned i = 0; i < NET_QUEUE_COUNT; i++)
        close_fd(&net->kicks[i]);
    virtio_dev_fini(dev);
    free(net);
}

static const struct virtio_dev_ops net_ops = {
    .device_id = NET_DEVICE_ID,
    .queue_count = NET_QUEUE_COUNT,
    .notify = net_notify,
    .reset = net_reset,
    .settle = net_settle,
    .quiesce = net_quiesce,
    .resume = net_resume,
    .load = net_load,
    .destroy = net_destroy,
};

static void describe(struct net *net, const struct net_config *config)
{
    struct net_space space = { .status = LINK_UP, .max_virtqueue_pairs = 1, .mtu = config->mtu };

    memcpy(space.mac, config->mac, sizeof(space.mac));
    memcpy(net->dev.config, &space, sizeof(space));
    net->dev.config_bytes = sizeof(space);
    net->dev.features = features_of(net->backend->ops->offloads) | 1ull << VIRTIO_NET_F_MAC |
                        1ull << VIRTIO_NET_F_STATUS | 1ull << VIRTIO_NET_F_MRG_RXBUF;
    if (config->mtu)
        net->dev.features |= 1ull << VIRTIO_NET_F_MTU;
}

static int add_poll(struct net *net, struct vm_poll *poll, uint32_t events, struct err *err)
{
    int rc = vm_poll_add(net->dev.device.vm, poll, events);

    return rc < 0 ? err_set_errno(err, -rc, "device %s: watching it", net->dev.device.name) : 0;
}

static int make_timer(struct net *net, struct err *err)
{
    net->timer =
        (struct vm_poll){ .ready = timer_ready,
                          .fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK) };
    if (net->timer.fd < 0)
        return err_set_errno(err, errno, "device %s: making a timer", net->dev.device.name);
    int rc = add_poll(net, &net->timer, EPOLLIN, err);
    if (rc < 0)
        close_fd(&net->timer.fd);
    return rc;
}

static int attach_rings(struct net *net, struct err *err)
{
    for (unsigned i = 0; i < NET_QUEUE_COUNT; i++) {
        net->kicks[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (net->kicks[i] < 0)
            return err_set_errno(err, errno, "making an eventfd for device %s",
                                 net->dev.device.name);
    }
    net->dev.queue_kicks = net->kicks;
    return rings_of(net)->attach(net->backend, vm_memory(net->dev.device.vm), net->kicks, err);
}

static bool has_limit(const struct rate_limit_config *config)
{
    return config->bytes.per_s || config->ops.per_s;
}

int net_create(struct vm *vm, unsigned slot, const char *name, const struct net_config *config,
               struct device **ret_device, struct err *err)
{
    struct net *net = calloc(1, sizeof(*net));

    if (!net) {
        config->backend->ops->destroy(config->backend);
        return err_set(err, ENOMEM, "no memory for device %s", name);
    }
    net->dev.ops = &net_ops;
    net->backend = config->backend;
    net->poll = (struct vm_poll){ .ready = backend_ready, .fd = net->backend->fd };
    net->timer.fd = net->kicks[0] = net->kicks[1] = -1;
    rate_limit_init(&net->rx_limit, &config->rx_limit, now_ns());
    rate_limit_init(&net->tx_limit, &config->tx_limit, now_ns());
    describe(net, config);
    int rc = virtio_dev_init(&net->dev, vm, slot, name, err);
    if (rc == 0) {
        rc = add_poll(net, &net->poll, 0, err);
        net->polled = rc == 0;
    }
    if (rc == 0 && (has_limit(&config->rx_limit) || has_limit(&config->tx_limit)))
        rc = rings_of(net) ? err_set(err, EINVAL, "network %s: %s knows no limits", name,
                                     net->backend->ops->name)
                           : make_timer(net, err);
    if (rc == 0 && rings_of(net))
        rc = attach_rings(net, err);
    if (rc < 0) {
        net_destroy(&net->dev);
        return rc;
    }
    *ret_device = &net->dev.device;
    return 0;
}
