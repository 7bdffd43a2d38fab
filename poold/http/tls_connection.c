/* SPDX-License-Identifier: Apache-2.0 */
/* Owns one connection of the TLS door: its handshake and its bytes; see tls_door.h. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "http/tls_internal.h"

static void step(struct tls_connection *connection);

/* None is later than the door's end. */
static void deadline_set(struct tls_connection *connection, uint64_t deadline_ns)
{
    connection->deadline_ns = MIN_OF(deadline_ns, connection->door->end_ns);
}

/* ---- The end ---- */

static void on_closed(uv_handle_t *handle)
{
    struct tls_connection *connection = handle->data;

    if (--connection->handles > 0)
        return;
    close_fd(&connection->tcp_fd);
    close_fd(&connection->plain_fd);
    access_peer_close(&connection->door->access, &connection->peer);
    tls_identity_leave(connection->identity);
    free(connection);
}

void tls_connection_end(struct tls_connection *connection)
{
    if (connection->gone)
        return;
    connection->gone = true;
    list_remove(&connection->node);
    if (connection->session)
        gnutls_deinit(take_pointer(&connection->session));
    uv_close((uv_handle_t *)&connection->tcp, on_closed);
    if (connection->plain_fd >= 0)
        uv_close((uv_handle_t *)&connection->plain, on_closed);
}

/* ---- Waiting ---- */

/* The server has closed its end, or writes no more: the client has so long to read the rest. */
static void server_left(struct tls_connection *connection)
{
    if (connection->server_over)
        return;
    connection->server_over = true;
    deadline_set(connection, now_ns() + connection->door->config.close_ms * NS_PER_MS);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct tls_connection *connection = poll->data;

    /* What else is wrong with it is found by whoever reads and writes. */
    if (poll == &connection->plain && (status < 0 || events & UV_DISCONNECT))
        server_left(connection);
    step(connection);
}

static void wait_for(uv_poll_t *poll, int events)
{
    if (events)
        uv_poll_start(poll, events, on_ready);
    else
        uv_poll_stop(poll);
}

static void wait_on(struct tls_connection *connection)
{
    const bool in = connection->in_used > connection->in_at;
    const bool out = connection->out_used > connection->out_at;
    const bool open = connection->state == TLS_OPEN;

    if (connection->state == TLS_HANDSHAKE) {
        wait_for(&connection->tcp,
                 gnutls_record_get_direction(connection->session) ? UV_WRITABLE : UV_READABLE);
        return;
    }
    wait_for(&connection->tcp, (connection->tcp_full ? UV_WRITABLE : 0) |
                                   (open && !in && !connection->in_over ? UV_READABLE : 0));
    /* While the client does not read, nothing is read of the server, whose end must be seen. */
    wait_for(&connection->plain, (open && in ? UV_WRITABLE : 0) | (open && !out ? UV_READABLE : 0) |
                                     (open && out && !connection->server_over ? UV_DISCONNECT : 0));
}

/* ---- Bytes ---- */

static bool again(ssize_t n)
{
    return n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED;
}

/* Client to server. False: it is over. */
static bool pass_in(struct tls_connection *connection)
{
    ssize_t n;

    if (connection->in_used == connection->in_at && !connection->in_over) {
        n = gnutls_record_recv(connection->session, connection->in, sizeof connection->in);
        connection->in_at = 0;
        connection->in_used = n > 0 ? (size_t)n : 0;
        /* A renegotiation, an alert, a record that is none: all of it is the end. */
        if (n < 0 && !again(n))
            return false;
        if (n == 0) {
            connection->in_over = true;
            shutdown(connection->plain_fd, SHUT_WR);
        }
    }
    while (connection->in_at < connection->in_used) {
        n = send(connection->plain_fd, connection->in + connection->in_at,
                 connection->in_used - connection->in_at, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        /* The server takes no more of it, but may have answered: the rest is dropped. */
        connection->in_at = n < 0 ? connection->in_used : connection->in_at + (size_t)n;
    }
    return true;
}

/* What the server has written; 0: that was all. */
static ssize_t server_read(struct tls_connection *connection)
{
    ssize_t n = recv(connection->plain_fd, connection->out, sizeof connection->out, 0);

    /* It has closed it before it had read all, which is told once, before the rest. */
    if (n < 0 && errno == ECONNRESET)
        n = recv(connection->plain_fd, connection->out, sizeof connection->out, 0);
    return n;
}

/* Server to client. False: it is over. */
static bool pass_out(struct tls_connection *connection)
{
    ssize_t n;

    if (connection->out_used == connection->out_at && connection->state == TLS_OPEN) {
        n = server_read(connection);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        connection->out_at = 0;
        connection->out_used = (size_t)n;
        if (n == 0) {
            connection->state = TLS_CLOSING;
            server_left(connection);
        }
    }
    connection->tcp_full = false;
    while (connection->out_at < connection->out_used) {
        n = gnutls_record_send(connection->session, connection->out + connection->out_at,
                               connection->out_used - connection->out_at);
        if (n < 0) {
            connection->tcp_full = again(n);
            return again(n);
        }
        connection->out_at += (size_t)n;
    }
    if (connection->state != TLS_CLOSING)
        return true;
    n = gnutls_bye(connection->session, GNUTLS_SHUT_WR);
    connection->tcp_full = again(n);
    if (again(n))
        return true;
    /* What the client still sends must not reset the connection before it has read the rest. */
    shutdown(connection->tcp_fd, SHUT_WR);
    recv(connection->tcp_fd, connection->in, sizeof connection->in, MSG_DONTWAIT);
    return false;
}

/* Done: the server gets its end. False: there is none. */
static bool open_up(struct tls_connection *connection)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return false;
    if (uv_poll_init(&connection->door->loop, &connection->plain, pair[0]) < 0) {
        close(pair[0]);
        close(pair[1]);
        return false;
    }
    connection->handles++;
    connection->plain.data = connection;
    connection->plain_fd = pair[0];
    connection->state = TLS_OPEN;
    deadline_set(connection, UINT64_MAX);
    return tls_door_pass(connection->door, pair[1], &connection->address) == 0;
}

/* False: it is over. */
static bool shake(struct tls_connection *connection)
{
    const int rc = gnutls_handshake(connection->session);

    if (rc == 0)
        return open_up(connection);
    return !gnutls_error_is_fatal(rc);
}

/* Does what can be done; a block each way, then it is another's turn. */
static void step(struct tls_connection *connection)
{
    bool goes_on = true;

    if (connection->gone)
        return;
    if (connection->state == TLS_HANDSHAKE)
        goes_on = shake(connection);
    /* What GnuTLS has decrypted already, no readiness of the socket tells of. */
    if (goes_on && connection->state == TLS_OPEN) {
        do {
            goes_on = pass_in(connection);
        } while (goes_on && connection->in_at == connection->in_used && !connection->in_over &&
                 gnutls_record_check_pending(connection->session) > 0);
    }
    if (goes_on && connection->state != TLS_HANDSHAKE)
        goes_on = pass_out(connection);
    if (goes_on)
        wait_on(connection);
    else
        tls_connection_end(connection);
}

/* ---- The beginning ---- */

static int session_make(struct tls_connection *connection)
{
    struct tls_door *door = connection->door;
    int rc = gnutls_init(&connection->session,
                         GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS);

    if (rc < 0)
        return rc;
    rc = gnutls_priority_set(connection->session, door->priorities);
    if (rc == 0)
        rc = gnutls_credentials_set(connection->session, GNUTLS_CRD_CERTIFICATE,
                                    connection->identity->credentials);
    /* How long it may take is said by deadline_ns. */
    gnutls_handshake_set_timeout(connection->session, GNUTLS_INDEFINITE_TIMEOUT);
    gnutls_transport_set_int(connection->session, connection->tcp_fd);
    return rc;
}

void tls_connection_begin(struct tls_door *door, int fd, const struct sockaddr_storage *address,
                          const struct peer *peer)
{
    struct tls_connection *connection = malloc(sizeof *connection);
    struct peer counted = *peer;
    const int on = 1;

    if (!connection || uv_poll_init(&door->loop, &connection->tcp, fd) < 0) {
        access_peer_close(&door->access, &counted);
        free(connection);
        close(fd);
        return;
    }
    memset(&connection->node, 0, offsetof(struct tls_connection, tcp));
    memset(&connection->handles, 0,
           offsetof(struct tls_connection, in) - offsetof(struct tls_connection, handles));
    connection->door = door;
    connection->identity = door->identity;
    connection->identity->users++;
    connection->peer = counted;
    connection->address = *address;
    deadline_set(connection, now_ns() + door->config.handshake_ms * NS_PER_MS);
    connection->tcp_fd = fd;
    connection->plain_fd = -1;
    connection->tcp.data = connection;
    connection->handles = 1;
    list_append(&door->connections, &connection->node);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (session_make(connection) < 0)
        tls_connection_end(connection);
    else
        wait_for(&connection->tcp, UV_READABLE);
}
