/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the listening socket and the way of a connection from there to its lane, or out.
 *
 * The peer is looked at first. Who has as many connections as it may gets a reply that was made
 * beforehand, and is closed: nothing of it is read, and MHD never hears of it. Where descriptors have
 * run out, one is left that was kept for this: so clients come in one after another, and can release
 * what they have. Without it, or memory, accepting is paused, as the loop would find the same socket
 * readable again at once: until a connection closes, or for ACCEPT_PAUSE_MS. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "http/http_internal.h"

#define ACCEPTS_MAX 64 /* in a turn of the loop */
#define ACCEPT_PAUSE_MS 100
#define REFUSAL_BYTES 512

/* ---- Connections ---- */

static void connection_free(struct http_connection *connection)
{
    struct http *http = connection->lane->http;

    http_phase_leave(connection);
    access_peer_close(http->config.access, &connection->peer);
    free(connection);
}

void http_on_connection(void *data, struct MHD_Connection *mhd, void **context,
                        enum MHD_ConnectionNotificationCode code)
{
    struct http_lane *lane = data;
    struct http *http = lane->http;
    struct http_connection *connection = *context;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = http->accepting;
        http->accepting->mhd = mhd;
        return;
    }
    *context = NULL;
    if (connection == http->accepting) /* MHD could not take it: connection_hand_over's */
        return;
    if (connection->owns)
        http->config.closed(http->config.context, connection);
    connection_free(connection);
    http_accept_resume(http);
}

/* Says why, in what room the socket has, and closes it. */
static void refuse(int fd, const char *why)
{
    _cleanup_free_ char *body = http_error_text(API_TOO_MANY, why);
    char reply[REFUSAL_BYTES], unread[4096];
    int bytes = snprintf(reply, sizeof reply,
                         "HTTP/1.1 %u Too Many Requests\r\nContent-Type: application/json\r\n"
                         "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                         http_error_status(API_TOO_MANY), strlen(body), body);

    send(fd, reply, (size_t)bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    /* What was read is not lost: closing a socket with unread data resets it. */
    recv(fd, unread, sizeof unread, MSG_DONTWAIT);
    close(fd);
}

static bool connection_hand_over(struct http *http, struct http_connection *connection)
{
    /* What MHD makes of addresses is of no use here. */
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct http_lane *lane = connection->lane;
    bool taken = true;

    http_phase_enter(connection, HTTP_HEAD);
    http->accepting = connection;
    if (MHD_add_connection(lane->mhd, connection->fd, (struct sockaddr *)&address,
                           sizeof(sa_family_t)) == MHD_NO) {
        log_warn("a connection was closed at once: %s", strerror(errno));
        connection_free(connection);
        taken = false;
    }
    http->accepting = NULL;
    lane->dirty = true;
    return taken;
}

/* For an error of access_peer_open. */
static const char *refusal(int rc)
{
    if (rc == -EDQUOT)
        return "you have too many connections to poold open";
    if (rc == -EUSERS)
        return "all connections that poold can have are taken";
    return "poold has no memory for another connection";
}

/* One by TCP: counts it to its address, and notes that. */
static int address_open(struct http *http, struct http_connection *connection,
                        const struct sockaddr *address)
{
    const socklen_t bytes =
        address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    char host[INET6_ADDRSTRLEN], port[8];

    if (getnameinfo(address, bytes, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        snprintf(connection->from, sizeof connection->from,
                 address->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    return access_peer_open_from(http->config.access, address, &connection->peer);
}

/* address: of callers; else NULL. */
static struct http_connection *connection_open(struct http *http, int fd,
                                               const struct sockaddr *address)
{
    struct http_connection *connection = calloc(1, sizeof *connection);
    int rc = -ENOMEM;

    if (connection && address)
        rc = address_open(http, connection, address);
    else if (connection)
        rc = access_peer_open(http->config.access, fd, &connection->peer);
    if (!connection || rc < 0) {
        refuse(fd, refusal(rc));
        free(connection);
        return NULL;
    }
    connection->lane =
        &http->lanes[connection->peer.trusted ? HTTP_LANE_TRUSTED : HTTP_LANE_OTHERS];
    connection->fd = fd;
    list_init(&connection->phase_node);
    return connection_hand_over(http, connection) ? connection : NULL;
}

void http_take(struct http *http, int fd, const struct sockaddr *address)
{
    if (http->stopping) {
        close(fd);
        return;
    }
    connection_open(http, fd, address);
    http->config.schedule(http->config.context);
}

/* One that was just accepted here. */
static void connection_accepted(struct http *http, int fd)
{
    struct sockaddr_storage storage;
    struct sockaddr *address = (struct sockaddr *)&storage;
    socklen_t bytes = sizeof storage;
    const int on = 1;

    if (!http->config.access->of_callers) {
        connection_open(http, fd, NULL);
    } else if (getpeername(fd, address, &bytes) < 0) {
        close(fd);
    } else {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connection_open(http, fd, address);
    }
}

struct http_connection *http_adopt(struct http *http, int fd)
{
    struct http_connection *connection = connection_open(http, fd, NULL);

    if (connection) /* it is between requests, not new */
        http_phase_enter(connection, HTTP_IDLE);
    return connection;
}

/* ---- Accepting ---- */

static void on_listen(uv_poll_t *poll, int status, int events);

void http_accept_resume(struct http *http)
{
    if (!http->accept_paused)
        return;
    http->accept_paused = false;
    uv_timer_stop(&http->accept_again);
    if (http->listener.fd >= 0)
        uv_poll_start(&http->listen, UV_READABLE, on_listen);
}

static void on_accept_again(uv_timer_t *timer)
{
    http_accept_resume(timer->data);
}

static void accept_pause(struct http *http, int error)
{
    if (!http->accept_failed)
        log_error("no connection can be accepted for now: %s", strerror(error));
    http->accept_failed = true;
    http->accept_paused = true;
    uv_poll_stop(&http->listen);
    uv_timer_start(&http->accept_again, on_accept_again, ACCEPT_PAUSE_MS, 0);
}

bool http_spare_take(struct http *http)
{
    if (http->spare_fd < 0 && http->listener.fd >= 0)
        http->spare_fd = eventfd(0, EFD_CLOEXEC);
    return http->spare_fd >= 0 || http->listener.fd < 0;
}

static int accept_one(struct http *http)
{
    int fd = accept4(http->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0 || (errno != EMFILE && errno != ENFILE) || http->spare_fd < 0)
        return fd;
    close_fd(&http->spare_fd);
    fd = accept4(http->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    const int error = errno;
    http_spare_take(http);
    errno = error;
    return fd;
}

static void on_listen(uv_poll_t *poll, int status, int events)
{
    struct http *http = poll->data;

    (void)status;
    (void)events;
    http_spare_take(http);
    for (unsigned i = 0; i < ACCEPTS_MAX && http->listener.fd >= 0; i++) {
        int fd = accept_one(http);

        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0 && errno != EAGAIN)
            accept_pause(http, errno);
        /* Where none waits, the kernel had a descriptor for it all the same. */
        if (http->accept_failed && !http->accept_paused) {
            log_info("connections are accepted again");
            http->accept_failed = false;
        }
        if (fd < 0)
            break;
        connection_accepted(http, fd);
    }
    http->config.schedule(http->config.context);
}

/* ---- The socket ---- */

int http_accept_start(struct http *http, struct err *err)
{
    const struct http_config *config = &http->config;
    int rc;

    if (http->listener.fd < 0)
        return 0;
    uv_timer_init(config->loop, &http->accept_again);
    rc = uv_poll_init(config->loop, &http->listen, http->listener.fd);
    if (rc < 0)
        return err_set_errno(err, -rc, "can't watch the API's socket");
    http->accept_again.data = http->listen.data = http;
    http_spare_take(http);
    return uv_poll_start(&http->listen, UV_READABLE, on_listen);
}

int http_listener(const struct http *http)
{
    return http->listener.path[0] ? http->listener.fd : -1;
}

void http_hand_over(struct http *http)
{
    http->accept_paused = false; /* nor is it resumed */
    uv_timer_stop(&http->accept_again);
    uv_poll_stop(&http->listen);
}

void http_accept_stop(struct http *http)
{
    if (http->listener.fd < 0)
        return;
    if (http->listen.type != UV_UNKNOWN_HANDLE)
        uv_poll_stop(&http->listen);
    unix_listener_close(&http->listener);
    close_fd(&http->spare_fd);
}
