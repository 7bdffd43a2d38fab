/* SPDX-License-Identifier: Apache-2.0 */
/* Owns calls of functions between their clients and their functions; see invoke.h. */
#include "api/invoke.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/function_head.h"
#include "base/log.h"
#include "base/util.h"

static void call_free(struct invoke_call *call)
{
    if (call->reply)
        call->front->drop(call->reply);
    http_hold_end(&call->hold);
    free(call->body);
    free(call);
}

void invoke_abandon(struct invoke_call *call)
{
    if (call->invocation)
        invocation_cancel(call->invocation);
    call_free(call);
}

void invoke_drop(struct http_request *request)
{
    call_free(request->call);
    request->call = NULL;
}

/* ---- The body ---- */

static void too_large(struct http_request *request, const struct invoke_front *front)
{
    char sentence[64];

    snprintf(sentence, sizeof sentence, "the body of a call is at most %u bytes",
             FUNCTION_BODY_MAX);
    front->refuse(request, API_TOO_LARGE, sentence);
}

/* NULL: it has replied. */
static struct function *function_of(struct http_request *request, const struct invoke_front *front,
                                    const char *name)
{
    char sentence[ERR_MSG_BYTES];
    enum api_error code;
    struct function *function = api_function_look(request, name, &code, sentence);

    if (!function)
        front->refuse(request, code, sentence);
    return function;
}

bool invoke_begin(struct http_request *request, const struct invoke_front *front)
{
    const char *length =
        MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    char name[POOL_NAME_BYTES];
    struct invoke_call *call;

    front->name(request, name);
    if (!function_of(request, front, name))
        return false;
    if (length && strtoull(length, NULL, 10) > FUNCTION_BODY_MAX) {
        too_large(request, front);
        return false;
    }
    call = malloc(sizeof *call);
    if (!call) {
        front->refuse(request, API_INTERNAL, "out of memory");
        return false;
    }
    memset(call, 0, offsetof(struct invoke_call, head));
    call->api = api_of(request);
    call->request = request;
    call->front = front;
    memcpy(call->name, name, sizeof call->name);
    call->refusal = API_ERROR_COUNT;
    http_hold_begin(&call->hold, request);
    request->call = call;
    return true;
}

/* False: it is noted why. */
static bool body_grow(struct invoke_call *call, size_t bytes)
{
    size_t room = MAX_OF(call->body_room, (size_t)4096);
    char *body = NULL;

    if (bytes > FUNCTION_BODY_MAX) {
        call->refusal = API_TOO_LARGE;
        return false;
    }
    while (room < bytes)
        room *= 2;
    if (room == call->body_room)
        return true;
    if (http_hold_take(&call->hold, room - call->body_room))
        body = realloc(call->body, room);
    if (!body) {
        call->refusal = API_TOO_MANY;
        return false;
    }
    call->body = body;
    call->body_room = room;
    return true;
}

size_t invoke_take(struct http_request *request, const char *data, size_t bytes)
{
    struct invoke_call *call = request->call;

    if (call->refusal == API_ERROR_COUNT && body_grow(call, call->body_bytes + bytes)) {
        memcpy(call->body + call->body_bytes, data, bytes);
        call->body_bytes += bytes;
    }
    return bytes;
}

void invoke_gone(struct http_request *request)
{
    struct invoke_call *call = request->call;

    if (call && call->invocation)
        invocation_cancel(call->invocation);
    if (call)
        invoke_drop(request);
}

bool invoke_ready(struct http_request *request)
{
    struct invoke_call *call = request->call;
    const struct invoke_front *front = call->front;
    const enum api_error refusal = call->refusal;

    if (refusal == API_ERROR_COUNT)
        return true;
    invoke_drop(request);
    if (refusal == API_TOO_LARGE)
        too_large(request, front);
    else
        front->refuse(request, refusal,
                      "your requests and unread replies take too much memory; read them first");
    return false;
}

/* ---- The call ---- */

static void on_client_gone(struct http_request *request)
{
    invoke_gone(request);
    http_reply_error(request, API_FUNCTION_FAILED, "the client is gone");
}

static bool on_charge(void *data, size_t bytes)
{
    struct invoke_call *call = data;

    if (!http_hold_take(&call->hold, bytes))
        return false;
    call->answer_bytes += bytes;
    return true;
}

static void on_done(void *data, struct invocation *invocation);

static int call_start(struct invoke_call *call, struct function *function)
{
    return function_invoke(function, &call->asked, on_done, call, &call->invocation);
}

/* One that nobody waits for any more is tried again, unless it was answered well. */
static bool retry(struct invoke_call *call, struct invocation *invocation)
{
    const bool good = invocation->result == INVOCATION_ANSWERED && !invocation->function_error;

    if (good || call->retries == 0 || invocation->result == INVOCATION_SHUTDOWN)
        return false;
    call->retries--;
    http_hold_give(&call->hold, call->answer_bytes);
    call->answer_bytes = 0;
    return call_start(call, invocation->function) == 0;
}

/* Nobody else hears of it. */
static void event_over(struct api *api, const struct invocation *invocation)
{
    const bool answered = invocation->result == INVOCATION_ANSWERED;

    if ((!answered || invocation->function_error) && log_share_allows(&api->client_lines))
        log_warn("function '%s': an event is given up after invocation %s: %s",
                 invocation->function->name, invocation->id,
                 answered ? "the function told an error" : invocation->sentence);
}

static void on_done(void *data, struct invocation *invocation)
{
    struct invoke_call *call = data;
    struct http_request *request = call->request;

    if (!request && retry(call, invocation))
        return;
    if (!request) {
        event_over(call->api, invocation);
        call_free(call);
        return;
    }
    const struct invoke_front *front = call->front;
    void *reply = take_pointer(&call->reply);
    invoke_drop(request); /* the answer is charged anew, as a reply */
    front->end(request, invocation, reply);
}

/* 0; or it has ended it and replied. */
static int call_begin(struct http_request *request)
{
    struct invoke_call *call = request->call;
    const struct invoke_front *front = call->front;
    struct function *function = function_of(request, front, call->name);
    const char *method = http_query(request, "method");
    struct err err = { 0 };
    int rc;

    if (!function) { /* it has ended meanwhile */
        invoke_drop(request);
        return -ENOENT;
    }
    call->asked = (struct function_request){ .head = call->head,
                                             .body = call->body,
                                             .body_bytes = call->body_bytes,
                                             .no_body = method && strcmp(method, "HEAD") == 0,
                                             .uid = request->connection->peer.uid,
                                             .charge = on_charge,
                                             .piece = call->piece };
    rc = function_head_make(request, function->name, call->body_bytes, call->head,
                            &call->asked.head_bytes, &err);
    if (rc == 0)
        rc = call_start(call, function);
    if (rc == 0)
        return 0;
    if (rc == -EMSGSIZE)
        err_set(&err, EMSGSIZE, "a call of function '%s' has at most %zu bytes: this one has %zu",
                function->name, function_request_max(function), call->body_bytes);
    else if (rc == -EBUSY)
        err_set(&err, EBUSY, "%u calls of function '%s' wait already", function->queued_count,
                function->name);
    else if (!err.code)
        err_set_errno(&err, -rc, "function '%s'", function->name);
    invoke_drop(request);
    front->refuse(request,
                  rc == -EBUSY       ? API_TOO_MANY
                  : rc == -EMSGSIZE  ? API_TOO_LARGE
                  : rc == -ESHUTDOWN ? API_SHUTTING_DOWN
                  : rc == -ENOMEM    ? API_INTERNAL
                                     : API_BAD_REQUEST,
                  err.msg);
    return rc;
}

void invoke_start(struct http_request *request)
{
    if (call_begin(request) == 0)
        http_watch(request, on_client_gone);
}

/* It may have to wait long. */
static void body_shrink(struct invoke_call *call)
{
    char *body = call->body_bytes ? realloc(call->body, call->body_bytes) : NULL;

    if (!body)
        return;
    http_hold_give(&call->hold, call->body_room - call->body_bytes);
    call->body = body;
    call->body_room = call->body_bytes;
}

void invoke_start_event(struct http_request *request, uint32_t retries, unsigned status)
{
    struct invoke_call *call = request->call;

    call->retries = retries;
    body_shrink(call);
    /* Nothing else counts those that wait. */
    if (!http_hold_take(&call->hold, sizeof *call)) {
        call->refusal = API_TOO_MANY;
        invoke_ready(request);
        return;
    }
    if (call_begin(request) < 0)
        return;
    call->request = NULL;
    request->call = NULL;
    http_reply_empty(request, status);
}
