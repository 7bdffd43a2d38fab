/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the vsock device: its queues, the packets on them, its life and saved state.
 *
 * Interrupts are what costs most in a guest whose kernel is emulated, so:
 *   - one flush, with one interrupt at most, ends each callback of the device thread;
 *   - tx chains are given back with the next rx packets, as a rule, and only by themselves when
 *     there are many: the driver does nothing with them but free memory. Saving does not give them
 *     back either, or every clone would begin with an interrupt;
 *   - the driver is asked to tell of new rx buffers only while something waits for them.
 */
#include "virtio/vsock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/util.h"
#include "virtio/vsock_internal.h"

#define VSOCK_DEVICE_ID 19u
#define TX_HELD_BYTES_MAX 32768u
#define EVENT_TRANSPORT_RESET 0u

static struct virtq *queue_of(struct vsock *vsock, enum vsock_queue queue)
{
    return &vsock->dev.queue[queue];
}

/* ---- Device to driver. ---- */

int vsock_rx_take(struct vsock *vsock)
{
    struct virtq *rx = queue_of(vsock, VSOCK_QUEUE_RX);
    int rc = virtq_pop(rx, &vsock->chain);

    /* None there: ask to be told, and look again. */
    if (rc == 0 && virtq_want_notify(rx, true))
        rc = virtq_pop(rx, &vsock->chain);
    if (rc > 0 && vsock->chain.in_bytes <= sizeof(struct vsock_packet)) {
        rx->broken = true;
        rc = -EPROTO;
    }
    if (rc < 0)
        virtio_dev_broken(&vsock->dev);
    return rc;
}

void vsock_rx_put(struct vsock *vsock, struct vsock_conn *conn, struct vsock_packet *packet)
{
    const struct virtq_chain *chain = &vsock->chain;

    packet->src_cid = VSOCK_HOST_CID;
    packet->dst_cid = vsock->guest_cid;
    packet->type = VSOCK_TYPE_STREAM;
    if (conn) {
        packet->src_port = conn->host_port;
        packet->dst_port = conn->guest_port;
        packet->buf_alloc = conn->buf_alloc;
        packet->fwd_cnt = conn->fwd_told = conn->fwd_cnt;
        conn->ops &= ~(1u << VSOCK_OP_CREDIT_UPDATE);
    }
    virtq_iov_write(chain->iov + chain->out_count, chain->in_count, 0, packet, sizeof(*packet));
    virtq_push(queue_of(vsock, VSOCK_QUEUE_RX), chain->head,
               (uint32_t)sizeof(*packet) + packet->bytes);
}

/* 1: sent; 0: no buffer; -EPROTO. */
static int send_rst_now(struct vsock *vsock, const struct vsock_rst *rst)
{
    struct vsock_packet packet = { .op = VSOCK_OP_RST,
                                   .src_port = rst->host_port,
                                   .dst_port = rst->guest_port };
    int rc = vsock_rx_take(vsock);

    if (rc > 0)
        vsock_rx_put(vsock, NULL, &packet);
    return rc;
}

void vsock_send_rst(struct vsock *vsock, uint32_t host_port, uint32_t guest_port)
{
    struct vsock_rst rst = { .host_port = host_port, .guest_port = guest_port };

    if (!virtio_dev_running(&vsock->dev))
        return;
    if (vsock->rst_count == 0 && send_rst_now(vsock, &rst) != 0)
        return;
    /* A guest that lets this many wait gets by without the rest. */
    if (vsock->rst_count < VSOCK_RST_MAX)
        vsock->rst[vsock->rst_count++] = rst;
    else
        atomic_fetch_add(&vsock->refused, 1);
}

static void send_waiting_rsts(struct vsock *vsock)
{
    uint32_t sent = 0;

    while (sent < vsock->rst_count && send_rst_now(vsock, &vsock->rst[sent]) > 0)
        sent++;
    vsock->rst_count -= sent;
    memmove(vsock->rst, vsock->rst + sent, vsock->rst_count * sizeof(vsock->rst[0]));
}

/* There are rx buffers (again): serves each that waits for one, once. */
static void rx_notify(struct vsock *vsock)
{
    struct vsock_conn_list round = TAILQ_HEAD_INITIALIZER(round);
    struct vsock_conn *conn;

    send_waiting_rsts(vsock);
    if (vsock->rst_count > 0)
        return;
    TAILQ_CONCAT(&round, &vsock->waiting, wait);
    while ((conn = TAILQ_FIRST(&round)) && virtio_dev_running(&vsock->dev)) {
        TAILQ_REMOVE(&round, conn, wait);
        conn->waiting = false;
        vsock_conn_pump(conn);
        if (!TAILQ_EMPTY(&vsock->waiting))
            break; /* out of buffers again */
    }
    /* The rest keeps its place at the front. */
    TAILQ_CONCAT(&round, &vsock->waiting, wait);
    TAILQ_CONCAT(&vsock->waiting, &round, wait);
}

static void send_event(struct vsock *vsock)
{
    struct virtq *vq = queue_of(vsock, VSOCK_QUEUE_EVENT);
    struct virtq_chain *chain = &vsock->chain;
    uint32_t id = EVENT_TRANSPORT_RESET;

    if (!vsock->event_due)
        return;
    int rc = virtq_pop(vq, chain);
    if (rc == 0 && virtq_want_notify(vq, true))
        rc = virtq_pop(vq, chain);
    if (rc < 0)
        virtio_dev_broken(&vsock->dev);
    if (rc <= 0)
        return;
    uint32_t n =
        virtq_iov_write(chain->iov + chain->out_count, chain->in_count, 0, &id, sizeof(id));
    virtq_push(vq, chain->head, n);
    vsock->event_due = false;
    virtio_dev_flush(&vsock->dev, VSOCK_QUEUE_EVENT);
}

void vsock_flush(struct vsock *vsock)
{
    struct virtq *rx = queue_of(vsock, VSOCK_QUEUE_RX), *tx = queue_of(vsock, VSOCK_QUEUE_TX);
    bool rx_used = rx->next_used != rx->published;
    bool interrupt = virtq_flush(rx);

    /* A driver may wait for what is held here. Linux does for descriptors, of which a packet may have
     * as many as its payload has pages; and its sockets are writable again only once less than half of
     * SO_SNDBUF, 104 KiB, is on its way by their count, which is up to twice the payload. */
    if (rx_used || vsock->tx_held >= MAX_OF(tx->num / 4, 1) ||
        vsock->tx_held_bytes >= TX_HELD_BYTES_MAX) {
        interrupt |= virtq_flush(tx);
        vsock->tx_held = vsock->tx_held_bytes = 0;
    }
    if (interrupt)
        virtio_dev_interrupt_used(&vsock->dev);
}

/* ---- Driver to device. ---- */

static void refuse(struct vsock *vsock, const struct vsock_packet *packet)
{
    atomic_fetch_add(&vsock->refused, 1);
    if (packet->op != VSOCK_OP_RST)
        vsock_send_rst(vsock, packet->dst_port, packet->src_port);
}

/* The guest connects to a port of the host. */
static void accept_request(struct vsock *vsock, const struct vsock_packet *packet)
{
    int fd = vsock_host_dial(vsock, packet->dst_port);
    struct vsock_conn *conn = fd >= 0 ? vsock_conn_new(vsock, fd, VSOCK_OPEN) : NULL;

    if (!conn) {
        refuse(vsock, packet);
        return;
    }
    vsock_conn_name(conn, packet->dst_port, packet->src_port);
    conn->peer_buf_alloc = packet->buf_alloc;
    conn->peer_fwd_cnt = packet->fwd_cnt;
    conn->ops |= 1u << VSOCK_OP_RESPONSE;
    vsock_conn_pump(conn);
}

static void conn_packet(struct vsock_conn *conn, const struct vsock_packet *packet)
{
    conn->peer_buf_alloc = packet->buf_alloc;
    conn->peer_fwd_cnt = packet->fwd_cnt;
    switch (packet->op) {
    case VSOCK_OP_RESPONSE:
        vsock_conn_response(conn);
        break;
    case VSOCK_OP_RST:
        if (conn->state == VSOCK_CONNECTING)
            atomic_fetch_add(&conn->vsock->refused, 1);
        vsock_conn_drain(conn);
        break;
    case VSOCK_OP_SHUTDOWN:
        vsock_conn_shutdown(conn, packet->flags);
        break;
    case VSOCK_OP_RW:
        vsock_conn_data(conn, sizeof(*packet), packet->bytes);
        break;
    case VSOCK_OP_CREDIT_REQUEST:
        conn->ops |= 1u << VSOCK_OP_CREDIT_UPDATE;
        vsock_conn_pump(conn);
        break;
    case VSOCK_OP_CREDIT_UPDATE:
        vsock_conn_update(conn);
        break;
    default: /* a REQUEST for what is connected, or no operation at all */
        atomic_fetch_add(&conn->vsock->refused, 1);
        vsock_conn_reset(conn);
        break;
    }
}

/* One packet, in vsock->chain. */
static void tx_packet(struct vsock *vsock)
{
    const struct virtq_chain *chain = &vsock->chain;
    struct vsock_packet packet;

    if (virtq_iov_read(chain->iov, chain->out_count, 0, &packet, sizeof(packet)) !=
        sizeof(packet)) {
        atomic_fetch_add(&vsock->refused, 1);
        return; /* not even ports to answer to */
    }
    if (packet.src_cid != vsock->guest_cid) {
        atomic_fetch_add(&vsock->refused, 1);
        return;
    }
    if (packet.dst_cid != VSOCK_HOST_CID || packet.type != VSOCK_TYPE_STREAM ||
        packet.bytes > chain->out_bytes - sizeof(packet)) {
        refuse(vsock, &packet);
        return;
    }
    struct vsock_conn *conn = vsock_conn_find(vsock, packet.dst_port, packet.src_port);
    if (conn)
        conn_packet(conn, &packet);
    else if (packet.op == VSOCK_OP_REQUEST)
        accept_request(vsock, &packet);
    else if (packet.op != VSOCK_OP_RST) /* an RST crossing ours is no offence */
        refuse(vsock, &packet);
}

static void tx_notify(struct vsock *vsock)
{
    struct virtq *tx = queue_of(vsock, VSOCK_QUEUE_TX);
    int rc = 1;

    for (unsigned i = 0; i < tx->num && (rc = virtq_pop(tx, &vsock->chain)) > 0; i++) {
        /* The chain's place is reused for rx buffers while the packet is dealt with. */
        uint16_t head = vsock->chain.head;

        vsock->tx_held += vsock->chain.out_count + vsock->chain.in_count;
        vsock->tx_held_bytes += vsock->chain.out_bytes;
        tx_packet(vsock);
        virtq_push(tx, head, 0);
    }
    if (rc < 0)
        virtio_dev_broken(&vsock->dev);
    else if (virtq_want_notify(tx, true))
        virtio_dev_renotify(&vsock->dev, VSOCK_QUEUE_TX);
}

/* ---- The device. ---- */

static void vsock_notify(struct virtio_dev *dev, unsigned queue)
{
    struct vsock *vsock = (struct vsock *)dev;

    if (queue == VSOCK_QUEUE_RX)
        rx_notify(vsock);
    else if (queue == VSOCK_QUEUE_TX)
        tx_notify(vsock);
    else
        send_event(vsock);
    vsock_flush(vsock);
}

static void drop_connections(struct vsock *vsock)
{
    struct vsock_conn *conn;

    while ((conn = TAILQ_FIRST(&vsock->all)))
        vsock_conn_free(conn);
}

/* A reset: connections of the old driver end, without a word to the new one. */
static void vsock_settle(struct virtio_dev *dev)
{
    struct vsock *vsock = (struct vsock *)dev;

    drop_connections(vsock);
    vsock->rst_count = 0;
    vsock->event_due = false;
    vsock->tx_held = vsock->tx_held_bytes = 0;
}

/* Whether the guest believes in connections that a restored VM will not have; and where port
 * numbers go on: the guest may hold on to a connection for seconds after its end, and still have
 * packets of it under way, all of which would hit a new one of the same ports. */
static void vsock_save(struct virtio_dev *dev, uint64_t *ret_words)
{
    struct vsock *vsock = (struct vsock *)dev;
    const struct vsock_conn *conn;

    ret_words[0] = vsock->guest_cid;
    ret_words[1] = vsock->event_due;
    ret_words[2] = vsock->next_host_port;
    for (conn = TAILQ_FIRST(&vsock->all); conn; conn = TAILQ_NEXT(conn, all)) {
        if (conn->state == VSOCK_CONNECTING || conn->state == VSOCK_OPEN)
            ret_words[1] = 1;
    }
}

static int vsock_load(struct virtio_dev *dev, const uint64_t *words, struct err *err)
{
    struct vsock *vsock = (struct vsock *)dev;

    if (words[0] != vsock->guest_cid)
        return err_set(err, EINVAL, "device %s: saved with CID %llu, but this VM's is %u",
                       dev->device.name, (unsigned long long)words[0], vsock->guest_cid);
    vsock->event_due = words[1] != 0;
    vsock->next_host_port = (uint32_t)words[2];
    const struct virtq *tx = queue_of(vsock, VSOCK_QUEUE_TX);
    vsock->tx_held = (uint16_t)(tx->next_used - tx->published);
    vsock->tx_held_bytes = vsock->tx_held > 0 ? TX_HELD_BYTES_MAX - 1 : 0;
    if (virtio_dev_running(dev))
        send_event(vsock);
    return 0;
}

static void vsock_destroy(struct virtio_dev *dev)
{
    struct vsock *vsock = (struct vsock *)dev;

    drop_connections(vsock);
    if (vsock->listen.fd >= 0)
        vm_poll_del(dev->device.vm, &vsock->listen);
    close_fd(&vsock->listen.fd);
    close_fd(&vsock->dir_fd);
    virtio_dev_fini(dev);
    free(vsock);
}

static const struct virtio_dev_ops vsock_ops = {
    .device_id = VSOCK_DEVICE_ID,
    .queue_count = VSOCK_QUEUE_COUNT,
    .queue_num_max = VSOCK_QUEUE_NUM_MAX,
    .notify = vsock_notify,
    .settle = vsock_settle,
    .save = vsock_save,
    .load = vsock_load,
    .destroy = vsock_destroy,
};

int vsock_create(struct vm *vm, unsigned slot, const struct vsock_config *config,
                 struct vsock **ret_vsock, struct err *err)
{
    struct vsock *vsock = calloc(1, sizeof(*vsock));
    _cleanup_close_ int listen_fd = config->listen_fd;
    _cleanup_close_ int dir_fd = config->dir_fd;
    uint64_t cid = config->guest_cid;

    if (!vsock)
        return err_set(err, ENOMEM, "no memory for the vsock device");
    TAILQ_INIT(&vsock->all);
    TAILQ_INIT(&vsock->waiting);
    vsock->guest_cid = config->guest_cid;
    vsock->dir_fd = take_fd(&dir_fd);
    vsock->listen.fd = -1;
    vsock->dev.ops = &vsock_ops;
    vsock->dev.config_bytes = sizeof(cid);
    memcpy(vsock->dev.config, &cid, sizeof(cid));
    int rc = virtio_dev_init(&vsock->dev, vm, slot, "vsock", err);
    if (rc == 0 && cid < VSOCK_GUEST_CID_DEFAULT)
        rc = err_set(err, EINVAL, "guest CID %u: must be at least %u", config->guest_cid,
                     VSOCK_GUEST_CID_DEFAULT);
    if (rc == 0 && listen_fd >= 0)
        rc = vsock_host_start(vsock, take_fd(&listen_fd), err);
    if (rc < 0) {
        vsock_destroy(&vsock->dev);
        return rc;
    }
    *ret_vsock = vsock;
    return 0;
}

struct device *vsock_device(struct vsock *vsock)
{
    return &vsock->dev.device;
}

static int connect_locked(struct vsock *vsock, uint32_t guest_port, int client_fd)
{
    _cleanup_close_ int fd = client_fd;

    virtio_dev_settle(&vsock->dev);
    if (!virtio_dev_running(&vsock->dev))
        return -ENOTCONN;
    struct vsock_conn *conn = vsock_conn_new(vsock, take_fd(&fd), VSOCK_GREETING);
    if (!conn)
        return -EMFILE;
    vsock_conn_request(conn, guest_port);
    vsock_flush(vsock);
    return 0;
}

int vsock_connect_fd(struct vsock *vsock, uint32_t guest_port, int client_fd)
{
    pthread_mutex_lock(&vsock->dev.lock);
    int rc = connect_locked(vsock, guest_port, client_fd);
    pthread_mutex_unlock(&vsock->dev.lock);
    return rc;
}

void vsock_query_stats(struct vsock *vsock, struct vsock_stats *ret_stats)
{
    ret_stats->connections = atomic_load(&vsock->conn_count);
    ret_stats->refused = atomic_load(&vsock->refused);
}
