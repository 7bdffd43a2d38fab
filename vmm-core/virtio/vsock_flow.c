/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the data of vsock connections, in both directions; see vsock_internal.h.
 *
 * How data flows
 *   Host to guest: straight from the client's socket into the guest's rx buffers, within the credit
 *   the guest has given. A connection that lacks credit is not polled for input; one that lacks rx
 *   buffers waits in vsock.waiting.
 *   Guest to host: straight from the guest's tx buffer into the client's socket; what that does not
 *   take is kept in conn->buffer, which the guest's credit bounds.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/util.h"
#include "virtio/vsock_internal.h"

#define PACKETS_A_TURN 64u /* then other connections get theirs */

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
    uint32_t room = MIN_OF(chain->in_bytes - (uint32_t)sizeof(packet), vsock_conn_credit(conn));
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
        vsock_conn_wait(conn, false);
        if (conn->state != VSOCK_OPEN || !vsock_conn_wants_input(conn))
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
    vsock_conn_wait(conn, rc == 0);
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
    if (conn->hung_up && !vsock_conn_wants_input(conn)) {
        vsock_conn_reset(conn);
        return;
    }
    vsock_conn_pump(conn);
}

void vsock_conn_ready(struct vm_poll *poll, uint32_t events)
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
