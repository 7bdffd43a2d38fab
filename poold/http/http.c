/* SPDX-License-Identifier: Apache-2.0 */
/* Owns requests: how MHD's calls become one, which route it is for, and its body; see http.h. */
#include "http/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "http/http_internal.h"

/* ---- Their life ---- */

static struct http_request *request_create(struct http *http, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_request *request = malloc(sizeof *request);

    if (!request)
        return NULL;
    memset(request, 0, offsetof(struct http_request, body_inline));
    memset((char *)request + offsetof(struct http_request, charged_bytes), 0,
           sizeof *request - offsetof(struct http_request, charged_bytes));
    list_init(&request->held_node);
    request->http = http;
    request->context = http->config.context;
    request->mhd = mhd;
    request->connection = info->socket_context;
    request->body = request->body_inline;
    request->body_room = sizeof request->body_inline;
    return request;
}

void http_on_completed(void *data, struct MHD_Connection *mhd, void **context,
                       enum MHD_RequestTerminationCode code)
{
    struct http_request *request = *context;

    (void)data;
    (void)mhd;
    (void)code;
    if (!request)
        return;
    *context = NULL;
    http_watch_stop(request);
    http_upgrade_end(request);
    /* The client hung up in the middle of its request. */
    if (!request->answered && request->streams)
        request->route->body->gone(request);
    http_request_count(request, false);
    if (request->connection->phase != HTTP_CLOSING) {
        http_phase_enter(request->connection, HTTP_IDLE);
        request->connection->replied = request->http->config.access->of_callers;
    }
    http_request_uncharge(request);
    http_guard_free(request);
    if (request->body != request->body_inline)
        free(request->body);
    free(request);
}

/* ---- Routes ---- */

static void request_route(struct http_request *request, const char *method, const char *path)
{
    const struct http_config *config = &request->http->config;

    request->refusal = API_NOT_FOUND;
    for (size_t i = 0; i < config->route_count; i++) {
        const struct route *route = &config->routes[i];

        if (!http_route_matches(route, path, request->param))
            continue;
        request->refusal = API_METHOD_NOT_ALLOWED;
        if (!http_method_matches(route, method))
            continue;
        request->route = route;
        request->refusal = API_ERROR_COUNT;
        break;
    }
    if (request->refusal == API_METHOD_NOT_ALLOWED)
        http_allowed_methods(request->http, path, request->param);
    access_peer_renew(config->access, request->connection->fd, &request->connection->peer);
    if (request->route && !access_has_right(&request->connection->peer, request->route->rights))
        request->refusal = API_FORBIDDEN;
}

static void request_refuse(struct http_request *request)
{
    static const char *const sentences[API_ERROR_COUNT] = {
        [API_NOT_FOUND] = "there is no such path; docs/api.md lists them",
        [API_FORBIDDEN] = "you (by your user id) may not do this; poold's policy says who may",
        [API_TOO_LARGE] = "a request's body is at most 65536 bytes",
        [API_TOO_MANY] = "your requests and unread replies take too much memory; read them first",
    };

    if (request->refusal == API_METHOD_NOT_ALLOWED)
        http_reply_not_allowed(request);
    else
        http_reply_error(request, request->refusal, "%s", sentences[request->refusal]);
}

void http_request_dispatch(struct http_request *request)
{
    if (request->refusal != API_ERROR_COUNT)
        request_refuse(request);
    else if (http_query_check(request))
        request->route->handle(request);
    if (!request->answered && !request->suspended) {
        request->suspended = true;
        MHD_suspend_connection(request->mhd);
    }
}

/* ---- Bodies ---- */

/* Makes room for `bytes` more; what can't be had is the request's refusal. */
static bool body_grow(struct http_request *request, size_t bytes)
{
    size_t room = request->body_room;
    char *body;

    if (request->body_bytes + bytes > HTTP_BODY_MAX) {
        request->refusal = API_TOO_LARGE;
        return false;
    }
    while (room < request->body_bytes + bytes)
        room *= 2;
    if (room == request->body_room)
        return true;
    body = NULL;
    if (http_request_charge(request, room - request->body_room))
        body = request->body == request->body_inline ? malloc(room) : realloc(request->body, room);
    if (!body) {
        request->refusal = API_TOO_MANY;
        return false;
    }
    if (request->body == request->body_inline)
        memcpy(body, request->body_inline, request->body_bytes);
    request->body = body;
    request->body_room = room;
    return true;
}

/* False: the connection is to be closed. */
static bool body_add(struct http_request *request, const char *data, size_t bytes)
{
    /* A chunked body without end: nobody who means well sends that. */
    if (request->refusal == API_TOO_LARGE)
        return false;
    if (request->refusal == API_ERROR_COUNT && body_grow(request, bytes)) {
        memcpy(request->body + request->body_bytes, data, bytes);
        request->body_bytes += bytes;
    }
    return true;
}

static bool content_length_too_large(struct MHD_Connection *mhd)
{
    const char *length =
        MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

    return length && strtoull(length, NULL, 10) > HTTP_BODY_MAX;
}

void http_body_pause(struct http_request *request)
{
    http_phase_enter(request->connection, HTTP_BUSY);
    MHD_suspend_connection(request->mhd);
}

void http_body_resume(struct http_request *request)
{
    struct http *http = request->http;

    http_phase_enter(request->connection, HTTP_STREAM);
    MHD_resume_connection(request->mhd);
    request->connection->lane->dirty = true;
    http->config.schedule(http->config.context);
}

json_t *http_read_json(struct http_request *request)
{
    json_error_t error;
    json_t *root;

    if (request->body_bytes == 0)
        root = json_object();
    else
        root = json_loadb(request->body, request->body_bytes, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        http_reply_error(request, API_BAD_JSON, "the body is not JSON: line %d: %s", error.line,
                         error.text);
    return root;
}

void http_reply_bad_keys(struct http_request *request, const struct err *err)
{
    http_reply_error(request, err->code == EBADMSG ? API_BAD_NAME : API_BAD_REQUEST, "%s",
                     err->msg);
}

bool http_read_body(struct http_request *request, void *ret)
{
    const struct json_table *json = request->route->json;
    json_t *root = http_read_json(request);
    struct err err = { 0 };
    int rc;

    if (!root)
        return false;
    rc = json_keys_read(root, json->keys, json->key_count, ret, &err);
    json_decref(root);
    if (rc < 0)
        http_reply_bad_keys(request, &err);
    return rc == 0;
}

/* ---- MHD's calls ---- */

/* It is known who asks. */
static void request_enter(struct http_request *request, const char *path, const char *method)
{
    request_route(request, method, path);
    if (request->refusal == API_ERROR_COUNT && request->route->body) {
        if (!http_query_check(request))
            return;
        http_phase_enter(request->connection, HTTP_STREAM);
        http_request_count(request, true);
        request->streams = true;
        request->streams = request->route->body->begin(request);
    } else if (content_length_too_large(request->mhd)) {
        /* Said before the body is read; the connection ends with it. */
        if (request->refusal == API_ERROR_COUNT)
            request->refusal = API_TOO_LARGE;
        request_refuse(request);
    }
}

/* The headers of a request are there. */
static void request_begin(struct http_request *request, const char *path, const char *method)
{
    request->begun = true;
    http_phase_enter(request->connection, HTTP_BODY);
    request->guarded = request->proof && !http_guard_begin(request, method);
    if (!request->guarded)
        request_enter(request, path, method);
}

/* False: the connection is to be closed. */
static bool request_take(struct http_request *request, const char *data, size_t *bytes)
{
    if (request->streams) {
        *bytes -= request->route->body->take(request, data, *bytes);
        return true;
    }
    if (request->guarded)
        http_guard_take(request, data, *bytes);
    else if (!request->answered && !body_add(request, data, *bytes))
        return false;
    *bytes = 0;
    return true;
}

/* One that was guarded is whole: what was kept of it goes where it would have gone as it came. */
static bool request_unguard(struct http_request *request, const char *path, const char *method)
{
    _cleanup_free_ char *body = NULL;
    size_t bytes = 0;

    request->guarded = false;
    if (!http_guard_end(request, method, &body, &bytes))
        return false;
    request_enter(request, path, method);
    if (bytes && request->streams)
        request->route->body->take(request, body, bytes);
    else if (bytes && !request->answered)
        body_add(request, body, bytes);
    return true;
}

/* Nothing more of it comes. */
static void request_whole(struct http_request *request, const char *path, const char *method)
{
    if (request->answered || (request->guarded && !request_unguard(request, path, method)) ||
        request->answered)
        return;
    request->began_ns = now_ns();
    http_phase_enter(request->connection, HTTP_BUSY);
    http_request_count(request, true);
    http_turn_dispatch(request);
}

void *http_on_target(void *data, const char *target, struct MHD_Connection *mhd)
{
    struct http_lane *lane = data;
    struct http_request *request = request_create(lane->http, mhd);

    if (!request)
        return NULL;
    request->proof = http_guard_make(target);
    if (request->proof)
        return request;
    free(request);
    return NULL;
}

enum MHD_Result http_on_request(void *data, struct MHD_Connection *mhd, const char *path,
                                const char *method, const char *version, const char *upload,
                                size_t *upload_bytes, void **context)
{
    struct http_request *request = *context;
    struct http_lane *lane = data;

    (void)version;
    if (!request && lane->http->config.access->of_callers) /* there was no memory for its proof */
        return MHD_NO;
    if (!request)
        *context = request = request_create(lane->http, mhd);
    if (!request)
        return MHD_NO;
    if (!request->begun) {
        request_begin(request, path, method);
        return MHD_YES;
    }
    if (*upload_bytes)
        return request_take(request, upload, upload_bytes) ? MHD_YES : MHD_NO;
    request_whole(request, path, method);
    return MHD_YES;
}
