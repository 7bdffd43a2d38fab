/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the listening socket, libmicrohttpd's turn in the loop, connections and requests; see
 * http.h. */
#include "http.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/util.h"
#include "daemon.h"
#include "http_internal.h"
#include "json_keys.h"
#include "log.h"

#define CONNECTIONS_MAX 8192
#define HEADER_BYTES_MAX 16384
/* How long a client may take over its first request; later it may be idle. */
#define REQUEST_SECONDS_MAX 30
#define RUNS_MAX 16

/* ---- The loop ---- */

static void on_timer(uv_timer_t *timer);

static void http_run(struct http *http)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    unsigned i;

    if (http->running)
        return;
    http->running = true;
    for (i = 0; i < RUNS_MAX; i++) {
        http->dirty = false;
        MHD_run(http->mhd);
        if (MHD_get_timeout(http->mhd, &timeout_ms) == MHD_NO) {
            if (!http->dirty)
                break;
        } else if (timeout_ms > 0 && !http->dirty) {
            if (!uv_is_active((uv_handle_t *)&http->timer))
                uv_timer_start(&http->timer, on_timer, timeout_ms + 1, 0);
            break;
        }
    }
    http->running = false;
    /* A long body: the rest of the loop has its turn, but nothing will wake us for what MHD has
     * read already. */
    if (i == RUNS_MAX)
        uv_timer_start(&http->timer, on_timer, 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
    http_run(timer->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    http_run(poll->data);
}

void http_flush(struct http *http)
{
    if (http->dirty)
        http_run(http);
}

/* ---- Requests ---- */

/* Takes the next segment of a path. */
static size_t segment(const char **path)
{
    *path += **path == '/';
    return strcspn(*path, "/");
}

/* Whether path is that of the route; what stands for {} goes to ret_param. */
static bool route_matches(const struct route *route, const char *path,
                          char ret_param[HTTP_PARAM_BYTES])
{
    const char *pattern = route->path;

    ret_param[0] = '\0';
    while (*pattern && *path) {
        size_t want = segment(&pattern), have = segment(&path);

        if (want == 2 && memcmp(pattern, "{}", 2) == 0) {
            if (have == 0 || have >= HTTP_PARAM_BYTES)
                return false;
            memcpy(ret_param, path, have);
            ret_param[have] = '\0';
        } else if (want != have || memcmp(pattern, path, want) != 0) {
            return false;
        }
        pattern += want;
        path += have;
    }
    return !*pattern && !*path;
}

static void request_route(struct http_request *request, const char *method, const char *path)
{
    request->refusal = API_NOT_FOUND;
    for (size_t i = 0; i < request->http->route_count; i++) {
        const struct route *route = &request->http->routes[i];

        if (!route_matches(route, path, request->param))
            continue;
        request->refusal = API_METHOD_NOT_ALLOWED;
        if (strcmp(route->method, method) != 0)
            continue;
        request->route = route;
        request->refusal = API_ERROR_COUNT;
        break;
    }
    if (request->connection->over_limit)
        request->refusal = API_TOO_MANY;
    else if (request->route && api_forbidden(request))
        request->refusal = API_FORBIDDEN;
}

static struct http_request *request_create(struct http *http, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_request *request;

    if (!info || !info->socket_context)
        return NULL;
    request = malloc(sizeof *request);
    if (!request)
        return NULL;
    memset(request, 0, offsetof(struct http_request, body_inline));
    memset((char *)request + offsetof(struct http_request, answered), 0,
           sizeof *request - offsetof(struct http_request, answered));
    request->http = http;
    request->daemon = http->daemon;
    request->mhd = mhd;
    request->connection = info->socket_context;
    request->body = request->body_inline;
    request->body_room = sizeof request->body_inline;
    list_append(&http->requests, &request->node);
    http->open_count++;
    return request;
}

static void request_body_add(struct http_request *request, const char *data, size_t bytes)
{
    size_t room = request->body_room;
    char *body;

    if (request->body_too_large || request->body_bytes + bytes > HTTP_BODY_MAX) {
        request->body_too_large = true;
        return;
    }
    while (room < request->body_bytes + bytes)
        room *= 2;
    if (room > request->body_room) {
        body = request->body == request->body_inline ? malloc(room) : realloc(request->body, room);
        if (!body) {
            request->body_too_large = true;
            return;
        }
        if (request->body == request->body_inline)
            memcpy(body, request->body_inline, request->body_bytes);
        request->body = body;
        request->body_room = room;
    }
    memcpy(request->body + request->body_bytes, data, bytes);
    request->body_bytes += bytes;
}

static void request_refuse(struct http_request *request)
{
    static const char *const sentences[API_ERROR_COUNT] = {
        [API_NOT_FOUND] = "there is no such path; docs/api.md lists them",
        [API_METHOD_NOT_ALLOWED] = "this path does not have this method; docs/api.md lists them",
        [API_FORBIDDEN] = "you (by your user id) may not do this; poold's policy says who may",
        [API_TOO_MANY] = "you have too many connections to poold open",
        [API_TOO_LARGE] = "a request's body is at most 65536 bytes",
    };

    http_reply_error(request, request->refusal, "%s", sentences[request->refusal]);
}

static void request_dispatch(struct http_request *request)
{
    request->began_ns = now_ns();
    if (!request->connection->request_seen) {
        request->connection->request_seen = true;
        MHD_set_connection_option(request->mhd, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
    }
    if (request->refusal == API_ERROR_COUNT && request->body_too_large)
        request->refusal = API_TOO_LARGE;
    if (request->refusal != API_ERROR_COUNT)
        request_refuse(request);
    else
        request->route->handle(request);
    if (!request->answered) {
        request->suspended = true;
        MHD_suspend_connection(request->mhd);
    }
}

static bool content_length_too_large(struct MHD_Connection *mhd)
{
    const char *length =
        MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

    return length && strtoull(length, NULL, 10) > HTTP_BODY_MAX;
}

/* The headers of a request are there. */
static void request_begin(struct http_request *request, const char *path, const char *method)
{
    request_route(request, method, path);
    request->streams = request->refusal == API_ERROR_COUNT && request->route->body;
    if (request->streams) {
        request->streams = request->route->body->begin(request);
    } else if (content_length_too_large(request->mhd)) {
        /* Said before the body is read; the connection ends with it. */
        request->refusal = API_TOO_LARGE;
        request_refuse(request);
    }
}

void http_body_pause(struct http_request *request)
{
    MHD_suspend_connection(request->mhd);
}

void http_body_resume(struct http_request *request)
{
    MHD_resume_connection(request->mhd);
    request->http->dirty = true;
    daemon_schedule(request->daemon);
}

static enum MHD_Result on_request(void *data, struct MHD_Connection *mhd, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_bytes, void **context)
{
    struct http_request *request = *context;

    (void)version;
    if (!request) {
        request = request_create(data, mhd);
        if (!request)
            return MHD_NO;
        *context = request;
        request_begin(request, path, method);
        return MHD_YES;
    }
    if (*upload_bytes && request->streams) {
        *upload_bytes -= request->route->body->take(request, upload, *upload_bytes);
        return MHD_YES;
    }
    if (*upload_bytes) {
        /* A chunked body without end: nobody who means well sends that. */
        if (request->body_too_large)
            return MHD_NO;
        request_body_add(request, upload, *upload_bytes);
        *upload_bytes = 0;
        return MHD_YES;
    }
    if (!request->answered)
        request_dispatch(request);
    return MHD_YES;
}

static void on_completed(void *data, struct MHD_Connection *mhd, void **context,
                         enum MHD_RequestTerminationCode code)
{
    struct http_request *request = *context;

    (void)data;
    (void)mhd;
    (void)code;
    if (!request)
        return;
    *context = NULL;
    http_upgrade_end(request);
    if (!request->answered) {
        /* Never dispatched: the client hung up in the middle of its request. */
        if (request->streams)
            request->route->body->gone(request);
        list_remove(&request->node);
        request->http->open_count--;
    }
    if (request->body != request->body_inline)
        free(request->body);
    free(request);
}

bool http_read_body(struct http_request *request, const struct json_key *keys, size_t key_count,
                    void *ret)
{
    struct err err = { 0 };
    json_error_t error;
    json_t *root;
    int rc;

    if (request->body_bytes == 0)
        root = json_object();
    else
        root = json_loadb(request->body, request->body_bytes, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        http_reply_error(request, API_BAD_JSON, "the body is not JSON: line %d: %s", error.line,
                         error.text);
        return false;
    }
    rc = json_keys_read(root, keys, key_count, ret, &err);
    json_decref(root);
    if (rc < 0)
        http_reply_error(request, err.code == EBADMSG ? API_BAD_NAME : API_BAD_REQUEST, "%s",
                         err.msg);
    return rc == 0;
}

/* ---- Connections ---- */

static void connection_open(struct http *http, struct MHD_Connection *mhd, void **context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_connection *connection = calloc(1, sizeof *connection);
    const struct config *config = &http->daemon->config;

    *context = NULL; /* its requests are refused by closing it */
    if (!connection)
        return;
    if (access_peer_open(&http->daemon->access, info->connect_fd, &connection->peer) < 0) {
        free(connection);
        return;
    }
    connection->over_limit = connection->peer.client->connections > config->connections_per_client;
    *context = connection;
}

static void on_connection(void *data, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *http = data;
    struct http_connection *connection = *context;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        connection_open(http, mhd, context);
        return;
    }
    if (!connection)
        return;
    *context = NULL;
    api_connection_closed(http->daemon, connection);
    access_peer_close(&connection->peer);
    free(connection);
}

/* ---- The socket ---- */

static void on_mhd_log(void *data, const char *fmt, va_list args)
{
    char line[256];

    (void)data;
    vsnprintf(line, sizeof line, fmt, args);
    line[strcspn(line, "\n")] = '\0';
    log_debug("http: %s", line);
}

static int mhd_start(struct http *http, struct err *err)
{
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE |
                     MHD_USE_SUPPRESS_DATE_NO_CLOCK | MHD_USE_ERROR_LOG;
    const union MHD_DaemonInfo *info;

    http->mhd = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, http->listener.fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        http, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_BYTES_MAX,
        /* By MHD's own, 128 bytes, a long head would take a turn of the loop for each of them. */
        MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)HEADER_BYTES_MAX / 4,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)REQUEST_SECONDS_MAX, MHD_OPTION_END);
    if (!http->mhd)
        return err_set(err, EIO, "can't start the HTTP server");
    info = MHD_get_daemon_info(http->mhd, MHD_DAEMON_INFO_EPOLL_FD);
    uv_poll_init(&http->daemon->loop, &http->poll, info->epoll_fd);
    http->poll.data = http;
    uv_timer_init(&http->daemon->loop, &http->timer);
    http->timer.data = http;
    return uv_poll_start(&http->poll, UV_READABLE, on_readable);
}

int http_create(struct http **ret_http, struct daemon *daemon, const struct route *routes,
                size_t route_count, struct err *err)
{
    struct http *http = calloc(1, sizeof *http);
    int rc;

    if (!http)
        return err_set(err, ENOMEM, "out of memory");
    list_init(&http->requests);
    http->daemon = daemon;
    http->routes = routes;
    http->route_count = route_count;
    rc = listen_open(&http->listener, daemon->config.socket, daemon->config.group, err);
    if (rc < 0) {
        free(http);
        return rc;
    }
    rc = mhd_start(http, err);
    if (rc < 0) {
        unix_listener_close(&http->listener);
        free(http);
        return rc;
    }
    *ret_http = http;
    return 0;
}

unsigned http_open_requests(const struct http *http)
{
    return http->open_count;
}

void http_stop_listening(struct http *http)
{
    unix_listener_remove(&http->listener); /* libmicrohttpd closes it */
}

static void on_http_closed(uv_handle_t *handle)
{
    struct http *http = handle->data;

    http->open_handles--;
}

void http_destroy(struct http *http)
{
    if (!http)
        return;
    http_stop_listening(http);
    uv_close((uv_handle_t *)&http->poll, on_http_closed);
    uv_close((uv_handle_t *)&http->timer, on_http_closed);
    for (http->open_handles = 2; http->open_handles;)
        uv_run(&http->daemon->loop, UV_RUN_NOWAIT);
    MHD_stop_daemon(http->mhd);
    free(http);
}
