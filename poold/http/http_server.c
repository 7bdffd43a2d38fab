/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the HTTP server's lanes, their turns of the loop, its start and its end; see http.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/util.h"
#include "http/http_internal.h"

#define RUNS_MAX 16
/* What bodies and replies of all users, and of one, may take; two lists of all leases of a user who
 * has as many as it may, and some more. */
#define BYTES_ALL MIB(256)
#define BYTES_EACH MIB(16)

/* ---- The loop ---- */

/* True: it is not through. */
static bool lane_run(struct http_lane *lane)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;

    for (unsigned runs = 0; lane->dirty; runs++) {
        if (runs == RUNS_MAX)
            return true;
        lane->dirty = false;
        MHD_run(lane->mhd);
        /* It knows no time limits (http_phase.c does): this is work that it has put off. */
        lane->dirty |= MHD_get_timeout(lane->mhd, &timeout_ms) != MHD_NO;
    }
    return false;
}

static void on_again(uv_timer_t *timer)
{
    http_run(timer->data);
}

/* At the end, whoever waits for a client waits no more. */
static void clients_close(struct http *http)
{
    static const enum http_phase phases[] = { HTTP_HEAD, HTTP_BODY, HTTP_STREAM, HTTP_IDLE };

    for (unsigned i = 0; i < ARRAY_LEN(phases); i++) {
        LIST_FOR_EACH(at, &http->phases[phases[i]])
        http_connection_shut(list_entry(at, struct http_connection, phase_node));
    }
}

/* A client by TCP that has sent its last request and its end at once: MHD has read the former, and
 * hears nothing of the latter, as its epoll is edge-triggered. True: there was one. */
static bool ended_close(struct http *http)
{
    const struct list *idle = &http->phases[HTTP_IDLE];
    bool any = false;
    char byte;

    /* The youngest are last; those that were looked at have been so since they came. */
    for (struct list *at = idle->prev, *before; at != idle; at = before) {
        struct http_connection *connection = list_entry(at, struct http_connection, phase_node);

        before = at->prev;
        if (!connection->replied)
            break;
        connection->replied = false;
        if (recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0)
            continue;
        http_connection_shut(connection);
        any = true;
    }
    return any;
}

void http_run(struct http *http)
{
    bool more = false;

    if (http->running)
        return;
    http->running = true;
    for (unsigned i = 0; i < HTTP_LANE_COUNT; i++)
        more |= lane_run(&http->lanes[i]);
    if (http->stopping)
        clients_close(http);
    /* With more to do, requests may have been read that are not begun yet. */
    if (http->stopping || (!more && ended_close(http))) {
        for (unsigned i = 0; i < HTTP_LANE_COUNT; i++)
            more |= lane_run(&http->lanes[i]);
    }
    http->running = false;
    http_spare_take(http);
    /* A long body: the rest of the loop has its turn, but nothing will wake us for what MHD has
     * read already. */
    if (more)
        uv_timer_start(&http->again, on_again, 0, 0);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct http_lane *lane = poll->data;

    (void)status;
    (void)events;
    lane->dirty = true;
    http_run(lane->http);
}

void http_flush(struct http *http)
{
    for (unsigned i = 0; i < HTTP_LANE_COUNT; i++) {
        if (http->lanes[i].dirty) {
            http_run(http);
            return;
        }
    }
}

/* ---- Start ---- */

static void on_mhd_log(void *data, const char *fmt, va_list args)
{
    char line[256];

    (void)data;
    vsnprintf(line, sizeof line, fmt, args);
    line[strcspn(line, "\n")] = '\0';
    log_debug("http: %s", line);
}

static int lane_start(struct http *http, enum http_lane_kind kind, struct err *err)
{
    struct http_lane *lane = &http->lanes[kind];
    unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME |
                     MHD_ALLOW_UPGRADE | MHD_USE_SUPPRESS_DATE_NO_CLOCK | MHD_USE_ERROR_LOG;
    const bool of_callers = http->config.access->of_callers;
    const union MHD_DaemonInfo *info;

    lane->http = http;
    lane->mhd = MHD_start_daemon(
        flags, 0, NULL, NULL, http_on_request, lane, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, http_on_completed, lane, MHD_OPTION_NOTIFY_CONNECTION,
        http_on_connection, lane, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)http->config.limits.connections_all, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HTTP_HEAD_MAX,
        /* By MHD's own, 128 bytes, a long head would take a turn of the loop for each of them. */
        MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)HTTP_HEAD_MAX / 4,
        of_callers ? MHD_OPTION_URI_LOG_CALLBACK : MHD_OPTION_END, http_on_target, lane,
        MHD_OPTION_END);
    if (!lane->mhd)
        return err_set(err, EIO, "can't start the HTTP server");
    info = MHD_get_daemon_info(lane->mhd, MHD_DAEMON_INFO_EPOLL_FD);
    int rc = uv_poll_init(http->config.loop, &lane->poll, info->epoll_fd);
    if (rc == 0) {
        lane->poll.data = lane;
        rc = uv_poll_start(&lane->poll, UV_READABLE, on_readable);
    }
    return rc < 0 ? err_set_errno(err, -rc, "can't watch the HTTP server") : 0;
}

void http_set_limits(struct http *http, const struct http_limits *limits)
{
    struct access_share *connections = &http->config.access->connections;

    http->config.limits = *limits;
    connections->each = limits->connections;
    connections->all = limits->connections_all;
    connections->kept = limits->connections_kept;
}

static int http_start(struct http *http, struct err *err)
{
    int rc = 0;

    uv_timer_init(http->config.loop, &http->again);
    http->again.data = http;
    http_phase_init(http);
    http_turn_init(http, http_request_dispatch);
    http->config.access->bytes = (struct access_share){ .each = BYTES_EACH, .all = BYTES_ALL };
    http_set_limits(http, &http->config.limits);
    for (unsigned i = 0; i < HTTP_LANE_COUNT && rc == 0; i++) {
        if (i == HTTP_LANE_TRUSTED && http->config.access->of_callers) /* nobody is */
            continue;
        rc = lane_start(http, (enum http_lane_kind)i, err);
    }
    return rc == 0 ? http_accept_start(http, err) : rc;
}

int http_create(struct http **ret_http, const struct http_config *config, struct err *err)
{
    struct unix_listener listener = config->listener;
    struct http *http = calloc(1, sizeof *http);
    int rc;

    if (!http) {
        unix_listener_close(&listener);
        return err_set(err, ENOMEM, "out of memory");
    }
    http->config = *config;
    http->listener = listener;
    http->spare_fd = -1;
    rc = http_start(http, err);
    if (rc < 0)
        http_destroy(http);
    else
        *ret_http = http;
    return rc;
}

/* ---- The end ---- */

unsigned http_open_requests(const struct http *http)
{
    return http->open_count;
}

void http_stop(struct http *http)
{
    http_accept_stop(http);
    http_turn_stop(http);
    http->stopping = true;
    for (unsigned i = 0; i < HTTP_LANE_COUNT; i++)
        http->lanes[i].dirty = http->lanes[i].mhd;
    http->config.schedule(http->config.context);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct http *http = handle->data;

    http->open_handles--;
}

static void handle_close(struct http *http, uv_handle_t *handle)
{
    if (handle->type == UV_UNKNOWN_HANDLE) /* never opened */
        return;
    handle->data = http;
    http->open_handles++;
    uv_close(handle, on_handle_closed);
}

static void handles_close(struct http *http)
{
    uv_handle_t *handles[] = {
        (uv_handle_t *)&http->again,        (uv_handle_t *)&http->listen,
        (uv_handle_t *)&http->accept_again, (uv_handle_t *)&http->phase_timer,
        (uv_handle_t *)&http->turn_begin,   (uv_handle_t *)&http->turn_go_on,
    };

    for (unsigned i = 0; i < ARRAY_LEN(handles); i++)
        handle_close(http, handles[i]);
    for (unsigned i = 0; i < HTTP_LANE_COUNT; i++)
        handle_close(http, (uv_handle_t *)&http->lanes[i].poll);
    while (http->open_handles)
        uv_run(http->config.loop, UV_RUN_NOWAIT);
}

void http_destroy(struct http *http)
{
    if (!http)
        return;
    http_accept_stop(http);
    http->stopping = true;
    http->running = true; /* MHD is not run any more, whatever closing leads to */
    handles_close(http);
    for (unsigned i = 0; i < HTTP_LANE_COUNT; i++) {
        if (http->lanes[i].mhd)
            MHD_stop_daemon(http->lanes[i].mhd);
    }
    free(http);
}
