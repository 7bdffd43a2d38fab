/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the time limits of connections. A phase's limit is the same for all connections, so its list
 * is in the order of their deadlines, and a change of phase costs no more than two list moves. The
 * time is that of the phase: it does not begin anew with each byte, as that of MHD would. */
#include <sys/socket.h>

#include "base/log.h"
#include "base/util.h"
#include "http/http_internal.h"

static uint64_t limit_ms(const struct http_limits *limits, enum http_phase phase)
{
    switch (phase) {
    case HTTP_HEAD:
    case HTTP_BODY:
        return limits->request_ms;
    case HTTP_STREAM:
    case HTTP_REPLY:
        return limits->transfer_ms;
    case HTTP_IDLE:
        return limits->idle_ms;
    case HTTP_BUSY:
    case HTTP_CLOSING:
    case HTTP_PHASE_COUNT:
        break;
    }
    return 0;
}

static void on_phase_timer(uv_timer_t *timer);

static void timer_arm(struct http *http, uint64_t deadline_ns)
{
    uint64_t now = now_ns();

    if (deadline_ns >= http->phase_due_ns)
        return;
    http->phase_due_ns = deadline_ns;
    uv_timer_start(&http->phase_timer, on_phase_timer,
                   deadline_ns > now ? (deadline_ns - now) / NS_PER_MS + 1 : 0, 0);
}

void http_phase_enter(struct http_connection *connection, enum http_phase phase)
{
    struct http *http = connection->lane->http;
    uint64_t ms = limit_ms(&http->config.limits, phase);

    connection->phase = phase;
    connection->deadline_ns = ms ? now_ns() + ms * NS_PER_MS : UINT64_MAX;
    list_remove(&connection->phase_node);
    list_append(&http->phases[phase], &connection->phase_node);
    timer_arm(http, connection->deadline_ns);
}

void http_phase_leave(struct http_connection *connection)
{
    list_remove(&connection->phase_node);
}

void http_connection_shut(struct http_connection *connection)
{
    http_phase_enter(connection, HTTP_CLOSING);
    shutdown(connection->fd, SHUT_RDWR);
    /* MHD would not hear of it: its epoll is edge-triggered, and nothing came from outside. What is
     * resumed is looked at. */
    MHD_suspend_connection(connection->mhd);
    MHD_resume_connection(connection->mhd);
    connection->lane->dirty = true;
}

static void expire(struct http *http, struct http_connection *connection)
{
    static const char *const names[HTTP_PHASE_COUNT] = {
        [HTTP_HEAD] = "its request's head",
        [HTTP_BODY] = "its request's body",
        [HTTP_STREAM] = "a part of its request's body",
        [HTTP_REPLY] = "reading its reply",
        [HTTP_IDLE] = "its next request",
    };

    if (connection->phase == HTTP_IDLE && connection->owns &&
        http->config.keeps(http->config.context, connection)) {
        http_phase_enter(connection, HTTP_IDLE);
        return;
    }
    if (*connection->from)
        log_debug("http: a client at %s is too slow with %s, and is closed", connection->from,
                  names[connection->phase]);
    else
        log_debug("http: a client (uid %u, pid %d) is too slow with %s, and is closed",
                  (unsigned)connection->peer.uid, (int)connection->peer.pid,
                  names[connection->phase]);
    http_connection_shut(connection);
}

static void on_phase_timer(uv_timer_t *timer)
{
    struct http *http = timer->data;
    uint64_t now = now_ns();

    http->phase_due_ns = UINT64_MAX;
    for (unsigned i = 0; i < HTTP_PHASE_COUNT; i++) {
        LIST_FOR_EACH(at, &http->phases[i])
        {
            struct http_connection *connection = list_entry(at, struct http_connection, phase_node);

            if (connection->deadline_ns > now) {
                timer_arm(http, connection->deadline_ns);
                break;
            }
            expire(http, connection);
        }
    }
    http->config.schedule(http->config.context);
}

void http_phase_init(struct http *http)
{
    for (unsigned i = 0; i < HTTP_PHASE_COUNT; i++)
        list_init(&http->phases[i]);
    uv_timer_init(http->config.loop, &http->phase_timer);
    http->phase_timer.data = http;
    http->phase_due_ns = UINT64_MAX;
}
