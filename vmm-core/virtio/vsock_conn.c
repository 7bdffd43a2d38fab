/* SPDX-License-Identifier: Apache-2.0 */
/* Owns vsock connections: their table, their data in both directions, their end. See the life of a
 * connection in vsock_internal.h.
 *
 * How data flows
 *   Host to guest: straight from the client's socket into the guest's rx buffers, within the credit
 *   the guest has given. A connection that lacks credit is not polled for input; one that lacks rx
 *   buffers waits in vsock.waiting.
 *   Guest to host: straight from the guest's tx buffer into the client's socket; what that does not
 *   take is kept in conn->buffer, which the guest's credit bounds.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/util.h"
#include "virtio/vsock_internal.h"

#define PACKETS_A_TURN 64u /* then other connections get theirs */
#define HOST_PORT_FIRST                                                                            \
    (1u                                                                                            \
     << 30) /* of host-initiated connections, as Firecracker numbers them                       \
                */

/* ---- Table. ---- */

static struct vsock_bucket *bucket_of(struct vsock *vsock, uint32_t host_port, uint32_t guest_port)
{
    uint32_t hash = (host_port * 0x9e3779b1u) ^ (guest_port * 0x85ebca6bu);

    return &vsock->bucket[(hash >> 16) % VSOCK_BUCKETS];
}

struct vsock_conn *vsock_conn_find(struct vsock *vsock, uint32_t host_port, uint32_t guest_port)
{
    struct vsock_conn *conn = SLIST_FIRST(bucket_of(vsock, host_port, guest_port));

    for (; conn; conn = SLIST_NEXT(conn, bucket)) {
        if (conn->host_port == host_port && conn->guest_port == guest_port)
            return conn;
    }
    return NULL;
}

static bool has_name(const struct vsock_conn *conn)
{
    return conn->state == VSOCK_CONNECTING || conn->state == VSOCK_OPEN;
}

void vsock_conn_name(struct vsock_conn *conn, uint32_t host_port, uint32_t guest_port)
{
    struct vsock_bucket *bucket = bucket_of(conn->vsock, host_port, guest_port);

    conn->host_port = host_port;
    conn->guest_port = guest_port;
    SLIST_INSERT_HEAD(bucket, conn, bucket);
}

static void unname(struct vsock_conn *conn)
{
    struct vsock_bucket *bucket = bucket_of(conn->vsock, conn->host_port, conn->guest_port);

    SLIST_REMOVE(bucket, conn, vsock_conn, bucket);
}

static void wait_for_buffer(struct vsock_conn *conn, bool wait)
{
    if (wait && !conn->waiting)
        TAILQ_INSERT_TAIL(&conn->vsock->waiting, conn, wait);
    if (!wait && conn->waiting)
        TAILQ_REMOVE(&conn->vsock->waiting, conn, wait);
    conn->waiting = wait;
}

/* ---- Polling. ---- */

static uint32_t guest_credit(const struct vsock_conn *conn)
{
    uint32_t under_way = conn->sent - conn->peer_fwd_cnt;

    return under_way < conn->peer_buf_alloc ? conn->peer_buf_alloc - under_way : 0;
}

static bool wants_input(const struct vsock_conn *conn)
{
    if (conn->state == VSOCK_GREETING)
        return true;
    return conn->state == VSOCK_OPEN && !conn->host_eof && !conn->waiting &&
           !(conn->guest_shutdown & VSOCK_SHUTDOWN_RECEIVE) && guest_credit(conn) > 0;
}

static void conn_ready(struct vm_poll *poll, uint32_t events);

void vsock_conn_poll(struct vsock_conn *conn)
{
    struct vm *vm = conn->vsock->dev.device.vm;
    uint32_t events = 0;
    int rc = 0;

    if (wants_input(conn))
        events |= EPOLLIN;
    if (conn->buffer_bytes > 0)
        events |= EPOLLOUT;
    /* A hang-up is told whether one asks or not, again and again; where input that is still to be
     * read comes before it, the client must not be watched at all. */
    bool poll = events || conn->state != VSOCK_OPEN || conn->host_eof ||
                (conn->guest_shutdown & VSOCK_SHUTDOWN_RECEIVE);
    if (poll && !conn->polled)
        rc = vm_poll_add(vm, &conn->poll, events);
    else if (poll && events != conn->events)
        rc = vm_poll_mod(vm, &conn->poll, events);
    else if (!poll && conn->polled)
        vm_poll_del(vm, &conn->poll);
    conn->polled = poll && rc == 0;
    conn->events = events;
    if (rc < 0)
        vsock_conn_reset(conn);
}

/* ---- Life. ---- */

struct vsock_conn *vsock_conn_new(struct vsock *vsock, int fd, enum vsock_conn_state state)
{
    struct vsock_conn *conn = NULL;

    if (atomic_load(&vsock->conn_count) < VSOCK_CONNECTIONS_MAX)
        conn = calloc(1, sizeof(*conn));
    if (!conn) {
        atomic_fetch_add(&vsock->refused, 1);
        close_fd(&fd);
        return NULL;
    }
    conn->vsock = vsock;
    conn->state = state;
    conn->poll = (struct vm_poll){ .ready = conn_ready, .fd = fd };
    conn->large_buffer = vsock->large_buffers < VSOCK_LARGE_BUFFERS;
    conn->buf_alloc = conn->large_buffer ? VSOCK_BUFFER_BYTES : VSOCK_BUFFER_BYTES_SMALL;
    vsock->large_buffers += conn->large_buffer;
    TAILQ_INSERT_TAIL(&vsock->all, conn, all);
    atomic_fetch_add(&vsock->conn_count, 1);
    return conn;
}

void vsock_conn_free(struct vsock_conn *conn)
{
    struct vsock *vsock = conn->vsock;

    if (has_name(conn))
        unname(conn);
    wait_for_buffer(conn, false);
    if (conn->polled)
        vm_poll_del(vsock->dev.device.vm, &conn->poll);
    close_fd(&conn->poll.fd);
    free(conn->buffer);
    vsock->large_buffers -= conn->large_buffer;
    TAILQ_REMOVE(&vsock->all, conn, all);
    atomic_fetch_sub(&vsock->conn_count, 1);
    free(conn);
    vsock_host_unpause(vsock);
}

void vsock_conn_reset(struct vsock_conn *conn)
{
    struct vsock *vsock = conn->vsock;
    bool told = has_name(conn) && !(conn->ops & (1u << VSOCK_OP_REQUEST));
    uint32_t host_port = conn->host_port, guest_port = conn->guest_port;

    vsock_conn_free(conn);
    if (told)
        vsock_send_rst(vsock, host_port, guest_port);
}

void vsock_conn_drain(struct vsock_conn *conn)
{
    if (conn->buffer_bytes == 0) {
        vsock_conn_free(conn);
        return;
    }
    unname(conn);
    wait_for_buffer(conn, false);
    conn->state = VSOCK_DRAINING;
    vsock_conn_poll(conn);
}

void vsock_conn_request(struct vsock_conn *conn, uint32_t guest_port)
{
    struct vsock *vsock = conn->vsock;
    uint32_t host_port;

    /* There are far more ports than connections. */
    do {
        host_port = HOST_PORT_FIRST | (vsock->next_host_port++ & (HOST_PORT_FIRST - 1));
    } while (vsock_conn_find(vsock, host_port, guest_port));
    conn->state = VSOCK_CONNECTING;
    vsock_conn_name(conn, host_port, guest_port);
    conn->ops |= 1u << VSOCK_OP_REQUEST;
    vsock_conn_pump(conn);
}

void vsock_conn_response(struct vsock_conn *conn)
{
    char line[32];
    int bytes = snprintf(line, sizeof(line), "OK %u\n", conn->host_port);

    if (conn->state != VSOCK_CONNECTING ||
        send(conn->poll.fd, line, (size_t)bytes, MSG_NOSIGNAL | MSG_DONTWAIT) != bytes) {
        vsock_conn_reset(conn);
        return;
    }
    conn->state = VSOCK_OPEN;
    vsock_conn_pump(conn);
}

/* ---- Guest to host. ---- */

/* Counts what the client has taken, and tells the guest when it is worth an interrupt. */
static void passed_on(struct vsock_conn *conn, uint32_t bytes)
{
    conn->fwd_cnt += bytes;
    if (conn->state == VSOCK_OPEN && conn->fwd_cnt - conn->fwd_told >= conn->buf_alloc / 2)
        conn->ops |= 1u << VSOCK_OP_CREDIT_UPDATE;
}

/* Sends iovecs to the client: bytes taken, perhaps 0; negative: it is gone. */
static ssize_t send_client(const struct vsock_conn *conn, struct iovec *iov, unsigned iov_count)
{
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = iov_count };
    ssize_t n = sendmsg(conn->poll.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

    return n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS) ? 0 : n;
}

/* Makes room for bytes more behind what the buffer holds. */
static bool buffer_reserve(struct vsock_conn *conn, uint32_t bytes)
{
    uint32_t need = conn->buffer_bytes + bytes;

    if (conn->buffer_at + need <= conn->buffer_room)
        return true;
    if (conn->buffer_at > 0)
        memmove(conn->buffer, conn->buffer + conn->buffer_at, conn->buffer_bytes);
    conn->buffer_at = 0;
    if (need <= conn->buffer_room)
        return true;
    uint32_t room = MIN_OF((uint32_t)align_up(need, VSOCK_BUFFER_BYTES_SMALL), conn->buf_alloc);
    uint8_t *buffer = realloc(conn->buffer, room);
    if (!buffer)
        return false;
    conn->buffer = buffer;
    conn->buffer_room = room;
    return true;
}

void vsock_conn_data(struct vsock_conn *conn, uint32_t offset, uint32_t bytes)
{
    struct vsock *vsock = conn->vsock;
    const struct virtq_chain *chain = &vsock->chain;
    ssize_t n = 0;

    /* Data out of place, or beyond its credit. */
    if (conn->state != VSOCK_OPEN || (conn->guest_shutdown & VSOCK_SHUTDOWN_SEND) ||
        bytes > conn->buf_alloc - conn->buffer_bytes) {
        atomic_fetch_add(&vsock->refused, 1);
        vsock_conn_reset(conn);
        return;
    }
    if (conn->buffer_bytes == 0 && bytes > 0) {
        unsigned count = virtq_iov_slice(chain->iov, chain->out_count, offset, bytes, vsock->iov);
        n = send_client(conn, vsock->iov, count);
    }
    if (n < 0 || !buffer_reserve(conn, bytes - (uint32_t)n)) {
        vsock_conn_reset(conn);
        return;
    }
    passed_on(conn, (uint32_t)n);
    conn->buffer_bytes +=
        virtq_iov_read(chain->iov, chain->out_count, offset + (uint32_t)n,
                       conn->buffer + conn->buffer_at + conn->buffer_bytes, bytes - (uint32_t)n);
    vsock_conn_pump(conn);
}

/* The client can take more. False: conn was freed. */
static bool drain_buffer(struct vsock_conn *conn)
{
    struct iovec iov = { .iov_base = conn->buffer + conn->buffer_at,
                         .iov_len = conn->buffer_bytes };
    ssize_t n = conn->buffer_bytes > 0 ? send_client(conn, &iov, 1) : 0;

    if (n < 0) {
        vsock_conn_reset(conn);
        return false;
    }
    passed_on(conn, (uint32_t)n);
    conn->buffer_at += (uint32_t)n;
    conn->buffer_bytes -= (uint32_t)n;
    if (conn->buffer_bytes > 0)
        return true;
    free_pointer(&conn->buffer);
    conn->buffer_room = conn->buffer_at = 0;
    if (conn->state == VSOCK_DRAINING) {
        vsock_conn_free(conn);
        return false;
    }
    if (conn->guest_shutdown & VSOCK_SHUTDOWN_SEND)
        shutdown(conn->poll.fd, SHUT_WR);
    return true;
}

void vsock_conn_shutdown(struct vsock_conn *conn, uint32_t flags)
{
    if (conn->state != VSOCK_OPEN) {
        vsock_conn_reset(conn);
        return;
    }
    conn->guest_shutdown |= flags & VSOCK_SHUTDOWN_BOTH;
    if (conn->guest_shutdown == VSOCK_SHUTDOWN_BOTH) {
        /* The guest waits for this RST before it forgets the connection. */
        struct vsock *vsock = conn->vsock;
        uint32_t host_port = conn->host_port, guest_port = conn->guest_port;

        vsock_conn_drain(conn);
        vsock_send_rst(vsock, host_port, guest_port);
        return;
    }
    if ((flags & VSOCK_SHUTDOWN_SEND) && conn->buffer_bytes == 0)
        shutdown(conn->poll.fd, SHUT_WR);
    vsock_conn_pump(conn);
}

/* ---- Host to guest. ---- */

/* Sends the control packets that are due. 1: all of them; 0: no buffer; -EPROTO. */
static int send_ops(struct vsock_conn *conn)
{
    struct vsock *vsock = conn->vsock;

    for (unsigned op = VSOCK_OP_REQUEST; op <= VSOCK_OP_CREDIT_REQUEST; op++) {
        struct vsock_packet packet = { .op = (uint16_t)op };

        if (!(conn->ops & (1u << op)))
            continue;
        int rc = vsock_rx_take(vsock);
        if (rc <= 0)
            return rc;
        if (op == VSOCK_OP_SHUTDOWN)
            packet.flags = VSOCK_SHUTDOWN_SEND;
        vsock_rx_put(vsock, conn, &packet);
        conn->ops &= ~(1u << op);
    }
    return 1;
}

enum read_result { READ_MORE, READ_DONE, READ_GONE };

/* Reads from the client into the rx buffer that was taken. */
static enum read_result read_client(struct vsock_conn *conn)
{
    struct vsock *vsock = conn->vsock;
    struct virtq_chain *chain = &vsock->chain;
    struct vsock_packet packet = { .op = VSOCK_OP_RW };
    uint32_t room = MIN_OF(chain->in_bytes - (uint32_t)sizeof(packet), guest_credit(conn));
    unsigned count = virtq_iov_slice(chain->iov + chain->out_count, chain->in_count, sizeof(packet),
                                     room, vsock->iov);
    struct msghdr msg = { .msg_iov = vsock->iov, .msg_iovlen = count };
    ssize_t n = recvmsg(conn->poll.fd, &msg, MSG_DONTWAIT);

    if (n > 0) {
        packet.bytes = (uint32_t)n;
        conn->sent += (uint32_t)n;
        vsock_rx_put(vsock, conn, &packet);
        return (uint32_t)n == room ? READ_MORE : READ_DONE;
    }
    virtq_unpop(&vsock->dev.queue[VSOCK_QUEUE_RX]);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return READ_DONE;
    if (n < 0)
        return READ_GONE;
    if (conn->hung_up)
        return READ_GONE; /* one RST says it all */
    conn->host_eof = true;
    conn->ops |= 1u << VSOCK_OP_SHUTDOWN;
    return READ_MORE; /* once more round, to send that */
}

/* Sends control packets and data. 1: done for now; 0: no buffer; negative: reset conn. */
static int send_guest(struct vsock_conn *conn)
{
    for (unsigned i = 0; i < PACKETS_A_TURN; i++) {
        int rc = send_ops(conn);

        if (rc <= 0)
            return rc;
        wait_for_buffer(conn, false);
        if (conn->state != VSOCK_OPEN || !wants_input(conn))
            return 1;
        rc = vsock_rx_take(conn->vsock);
        if (rc <= 0)
            return rc;
        enum read_result result = read_client(conn);
        if (result != READ_MORE)
            return result == READ_GONE ? -ECONNRESET : 1;
    }
    return 1;
}

void vsock_conn_update(struct vsock_conn *conn)
{
    /* While the client is watched for input, there is no need to try and read. */
    if (conn->ops || !(conn->events & EPOLLIN))
        vsock_conn_pump(conn);
    else
        vsock_conn_poll(conn);
}

void vsock_conn_pump(struct vsock_conn *conn)
{
    int rc = send_guest(conn);

    if (rc < 0) {
        vsock_conn_reset(conn);
        return;
    }
    wait_for_buffer(conn, rc == 0);
    vsock_conn_poll(conn);
}

static void conn_serve(struct vsock_conn *conn, uint32_t events)
{
    if (conn->state == VSOCK_GREETING) {
        vsock_host_greet(conn);
        return;
    }
    if (events & (EPOLLHUP | EPOLLERR))
        conn->hung_up = true;
    if ((events & EPOLLOUT) && !drain_buffer(conn))
        return;
    /* Whoever hung up has nothing more to say once his input was read. */
    if (conn->hung_up && !wants_input(conn)) {
        vsock_conn_reset(conn);
        return;
    }
    vsock_conn_pump(conn);
}

static void conn_ready(struct vm_poll *poll, uint32_t events)
{
    struct vsock_conn *conn =
        (struct vsock_conn *)(void *)((char *)poll - offsetof(struct vsock_conn, poll));
    struct vsock *vsock = conn->vsock;

    pthread_mutex_lock(&vsock->dev.lock);
    if (vsock->dev.unsettled)
        virtio_dev_settle(&vsock->dev); /* frees conn */
    else
        conn_serve(conn, events);
    vsock_flush(vsock);
    pthread_mutex_unlock(&vsock->dev.lock);
}
