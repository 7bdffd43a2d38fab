/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the network device; see net.h. Frames are net_frames.c's.
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
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "base/util.h"
#include "virtio/net_internal.h"

#define NET_DEVICE_ID 1u
#define FRAME_BYTES_MAX (65535u + 18u + NET_HEADER_BYTES)
#define FRAME_BYTES_PLAIN (1500u + 18u + NET_HEADER_BYTES)
#define LINK_UP 1u

/* Section 5.1.4. */
struct net_space {
    uint8_t mac[6];
    uint16_t status;
    uint16_t max_virtqueue_pairs;
    uint16_t mtu;
};

static_assert(sizeof(struct net_space) == 12, "config space layout");

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
        rc = net_receive(net);
    if (rc == 0 && running && (queues & (1u << NET_QUEUE_TX)))
        rc = net_send(net);
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

    net_return_buffers(net);
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
