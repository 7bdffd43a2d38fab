/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the API socket of a VM without a daemon: HTTP/1.1 and JSON over a Unix socket that only its
 * owner can open. A connection carries one request. Nothing here blocks: a client that is slow or
 * silent keeps its connection, until newer ones need the place. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json_text.h"
#include "base/util.h"
#include "base/version.h"
#include "volt-vmm/direct_internal.h"

/* ---- Answers ---- */

static void call_close(struct direct_api *api, struct direct_call *call)
{
    close_fd(&call->fd);
    call->bytes = 0;
    call->waits = false;
    if (api->metrics == call)
        api->metrics = NULL;
    if (api->snapshot == call)
        api->snapshot = NULL;
}

/* Answers are short and the socket's buffer is empty: they fit, or the client is not heard. body is
 * the callee's. */
static void answer(struct direct_api *api, struct direct_call *call, const char *status,
                   json_t *body)
{
    char head[160];
    char *text = body ? json_dumps(body, JSON_INDENT(2)) : NULL;
    size_t bytes = text ? strlen(text) + 1 : 0;
    int used = snprintf(head, sizeof head,
                        "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                        "Connection: close\r\n\r\n",
                        status, bytes);

    if (text)
        text[bytes - 1] = '\n'; /* instead of the NUL */
    if (send(call->fd, head, (size_t)used, MSG_NOSIGNAL | MSG_DONTWAIT) == used && text)
        (void)!send(call->fd, text, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    free(text);
    json_decref(body);
    call_close(api, call);
}

static void answer_error(struct direct_api *api, struct direct_call *call, const char *status,
                         const char *message)
{
    answer(api, call, status, json_pack("{s:o}", "error", json_text(message)));
}

static const char bad_request[] = "400 Bad Request", conflict[] = "409 Conflict";

/* ---- Requests. Each answers, or leaves the call waiting. ---- */

static void get_vm(struct direct *d, struct direct_call *call, const char *body)
{
    const char *state = d->paused           ? "paused"
                        : d->snapshot_to[0] ? "snapshotting"
                        : d->ready          ? "running"
                                            : "starting";

    (void)body;
    answer(&d->api, call, "200 OK",
           json_pack("{s:s, s:s, s:i, s:I, s:i, s:I}", "version", VOLT_VERSION, "state", state,
                     "pid", (int)d->child, "memory_bytes", (json_int_t)d->manifest.memory_bytes,
                     "vcpus", (int)d->manifest.vcpus, "uptime_ms",
                     (json_int_t)((now_ns() - d->start_ns) / NS_PER_MS)));
}

static void get_metrics(struct direct *d, struct direct_call *call, const char *body)
{
    struct control_msg msg = { .type = CONTROL_QUERY_STATS };
    struct err err;

    (void)body;
    if (d->paused || d->api.metrics)
        answer_error(&d->api, call, conflict,
                     d->paused ? "the VM is paused" : "another request waits for them");
    else if (direct_send(d->control, &msg, -1, "asking for the figures", &err) < 0)
        answer_error(&d->api, call, conflict, err.msg);
    else
        d->api.metrics = call;
}

static void put_snapshot(struct direct *d, struct direct_call *call, const char *body)
{
    json_t *json = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
    const char *path = NULL;
    struct err err;

    if (json_unpack(json, "{s:s!}", "path", &path) < 0)
        answer_error(&d->api, call, bad_request, "the body must be {\"path\": \"DIR\"}");
    else if (!d->ready || d->paused || d->snapshot_to[0])
        answer_error(&d->api, call, conflict, "the VM must be running");
    else if (d->options->disk_delta_fd >= 0 || d->options->disk_in_place)
        answer_error(&d->api, call, conflict,
                     "the VM goes on to write to its disk: only --snapshot-to keeps the two "
                     "together");
    else if (direct_snapshot_begin(d, path, &err) < 0)
        answer_error(&d->api, call, bad_request, err.msg);
    else if (direct_snapshot_park(d, &err) < 0) {
        direct_snapshot_abort(d);
        answer_error(&d->api, call, conflict, err.msg);
    } else
        d->api.snapshot = call;
    json_decref(json);
}

static void pause_or_resume(struct direct *d, struct direct_call *call, bool pause)
{
    if (d->snapshot_to[0]) {
        answer_error(&d->api, call, conflict, "a snapshot is being taken");
        return;
    }
    direct_pause(d, pause);
    answer(&d->api, call, "204 No Content", NULL);
}

static void put_pause(struct direct *d, struct direct_call *call, const char *body)
{
    (void)body;
    pause_or_resume(d, call, true);
}

static void put_resume(struct direct *d, struct direct_call *call, const char *body)
{
    (void)body;
    pause_or_resume(d, call, false);
}

static void put_shutdown(struct direct *d, struct direct_call *call, const char *body)
{
    (void)body;
    direct_pause(d, false); /* or it would not hear of it */
    direct_stop(d);
    answer(&d->api, call, "204 No Content", NULL);
}

static const struct {
    const char *method, *path;
    void (*serve)(struct direct *d, struct direct_call *call, const char *body);
} methods[] = {
    { "GET", "/", get_vm },           { "GET", "/metrics", get_metrics },
    { "PUT", "/pause", put_pause },   { "PUT", "/snapshot", put_snapshot },
    { "PUT", "/resume", put_resume }, { "PUT", "/shutdown", put_shutdown },
};

static void dispatch(struct direct *d, struct direct_call *call, const char *body)
{
    char method[8], path[64];
    bool known = false;
    int used = 0;

    call->waits = true;
    if (sscanf(call->request, "%7s %63s HTTP/1.%n", method, path, &used) != 2 || !used) {
        answer_error(&d->api, call, bad_request, "this is no HTTP request");
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (strcmp(path, methods[i].path) != 0)
            continue;
        known = true;
        if (strcmp(method, methods[i].method) == 0) {
            methods[i].serve(d, call, body);
            return;
        }
    }
    answer_error(&d->api, call, known ? "405 Method Not Allowed" : "404 Not Found",
                 "there are GET / and /metrics, PUT /pause, /resume, /snapshot and /shutdown");
}

/* ---- Connections ---- */

/* Bytes of the body that the head announces; 0 where it does not say. */
static unsigned long body_bytes(const char *head, const char *end)
{
    static const char name[] = "\r\nContent-Length:";

    for (const char *at = head; at < end; at++) {
        if (strncasecmp(at, name, sizeof name - 1) == 0)
            return strtoul(at + sizeof name - 1, NULL, 10);
    }
    return 0;
}

static void call_read(struct direct *d, struct direct_call *call)
{
    size_t room = sizeof call->request - 1 - call->bytes;
    ssize_t n = recv(call->fd, call->request + call->bytes, room, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || call->waits) { /* or it sends more than a request: it is not heard */
        call_close(&d->api, call);
        return;
    }
    call->bytes += (uint32_t)n;
    call->request[call->bytes] = '\0';
    char *body = strstr(call->request, "\r\n\r\n");
    unsigned long length = body ? body_bytes(call->request, body) : 0;
    size_t head = body ? (size_t)(body + 4 - call->request) : 0;
    if (body && call->bytes - head >= length)
        dispatch(d, call, body + 4);
    else if (length >= sizeof call->request || (size_t)n == room)
        answer_error(&d->api, call, "413 Content Too Large", "a request has at most 4 KiB");
}

static void call_accept(struct direct_api *api)
{
    int fd = accept4(api->listener.fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    struct direct_call *call = &api->call[api->oldest++ % DIRECT_API_CONNECTIONS];
    for (unsigned i = 0; i < DIRECT_API_CONNECTIONS && call->fd >= 0; i++) {
        if (api->call[i].fd < 0)
            call = &api->call[i];
    }
    call_close(api, call);
    call->fd = fd;
}

unsigned direct_api_poll(const struct direct_api *api, struct pollfd *ret_polled)
{
    if (api->listener.fd < 0)
        return 0;
    for (unsigned i = 0; i < DIRECT_API_CONNECTIONS; i++)
        ret_polled[i] = (struct pollfd){ .fd = api->call[i].fd, .events = POLLIN };
    ret_polled[DIRECT_API_CONNECTIONS] =
        (struct pollfd){ .fd = api->listener.fd, .events = POLLIN };
    return DIRECT_API_CONNECTIONS + 1;
}

void direct_api_serve(struct direct *d, const struct pollfd *polled, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!polled[i].revents)
            continue;
        if (i == DIRECT_API_CONNECTIONS)
            call_accept(&d->api);
        else if (d->api.call[i].fd == polled[i].fd)
            call_read(d, &d->api.call[i]);
    }
}

/* ---- What the VM answers ---- */

void direct_api_stats(struct direct *d, const struct control_msg *msg)
{
    if (!d->api.metrics)
        return;
    answer(&d->api, d->api.metrics, "200 OK",
           json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "exits", (json_int_t)msg->u.stats.exits,
                     "unknown_pio", (json_int_t)msg->u.stats.unknown_pio, "unknown_mmio",
                     (json_int_t)msg->u.stats.unknown_mmio, "doorbell_ignored",
                     (json_int_t)msg->u.stats.doorbell_ignored, "console_dropped_bytes",
                     (json_int_t)msg->u.stats.console_dropped_bytes, "vsock_connections",
                     (json_int_t)msg->u.stats.vsock_connections, "vsock_refused",
                     (json_int_t)msg->u.stats.vsock_refused));
}

void direct_api_snapshot(struct direct *d, const struct control_msg *msg, const struct err *err)
{
    struct direct_call *call = d->api.snapshot;

    if (!call)
        return;
    if (err)
        answer_error(&d->api, call, "500 Internal Server Error", err->msg);
    else
        answer(&d->api, call, "200 OK",
               json_pack("{s:I, s:I}", "memory_data_bytes",
                         (json_int_t)msg->u.snapshot_done.memory_data_bytes, "stopped_us",
                         (json_int_t)(msg->u.snapshot_done.stopped_ns / NS_PER_US)));
}

/* ---- Life ---- */

int direct_api_open(struct direct *d, const char *path, struct err *err)
{
    int rc =
        unix_listen(&d->api.listener, path, 0600, UNIX_KEEP_GROUP, DIRECT_API_CONNECTIONS, err);

    return rc < 0 ? err_wrap(err, "--api-socket") : 0;
}

void direct_api_close(struct direct *d)
{
    if (d->api.listener.fd < 0)
        return;
    unix_listener_close(&d->api.listener);
    for (unsigned i = 0; i < DIRECT_API_CONNECTIONS; i++)
        call_close(&d->api, &d->api.call[i]);
}
