/* SPDX-License-Identifier: Apache-2.0 */
/* Owns vsock connections: their table, what they are polled for, their beginning and their end. See
 * the life of a connection in vsock_internal.h.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/util.h"
#include "virtio/vsock_internal.h"

/* Of host-initiated connections, as Firecracker numbers them. */
#define HOST_PORT_FIRST (1u << 30)

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

void vsock_conn_wait(struct vsock_conn *conn, bool wait)
{
    if (wait && !conn->waiting)
        TAILQ_INSERT_TAIL(&conn->vsock->waiting, conn, wait);
    if (!wait && conn->waiting)
        TAILQ_REMOVE(&conn->vsock->waiting, conn, wait);
    conn->waiting = wait;
}

/* ---- Polling. ---- */

uint32_t vsock_conn_credit(const struct vsock_conn *conn)
{
    uint32_t under_way = conn->sent - conn->peer_fwd_cnt;

    return under_way < conn->peer_buf_alloc ? conn->peer_buf_alloc - under_way : 0;
}

bool vsock_conn_wants_input(const struct vsock_conn *conn)
{
    if (conn->state == VSOCK_GREETING)
        return true;
    return conn->state == VSOCK_OPEN && !conn->host_eof && !conn->waiting &&
           !(conn->guest_shutdown & VSOCK_SHUTDOWN_RECEIVE) && vsock_conn_credit(conn) > 0;
}

void vsock_conn_poll(struct vsock_conn *conn)
{
    struct vm *vm = conn->vsock->dev.device.vm;
    uint32_t events = 0;
    int rc = 0;

    if (vsock_conn_wants_input(conn))
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
    conn->poll = (struct vm_poll){ .ready = vsock_conn_ready, .fd = fd };
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
    vsock_conn_wait(conn, false);
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
    vsock_conn_wait(conn, false);
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
