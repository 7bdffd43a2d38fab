/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the calls under /v1/functions. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/function_head.h"
#include "api/functions_json.h"
#include "base/util.h"
#include "functions/function_keep.h"

static bool is_admin(const struct http_request *request)
{
    return request->connection->peer.rights & RIGHT_ADMIN;
}

struct function *api_function_find(struct http_request *request, const char *name)
{
    struct function *function = function_find(api_of(request)->functions, name);

    /* As for pools: whether there is one is not to be told. */
    if (!access_pool_seen(&request->connection->peer, name))
        http_reply_error(request, API_FORBIDDEN,
                         "poold's policy does not give you the function '%s'", name);
    else if (!function)
        http_reply_error(request, API_NO_SUCH_FUNCTION, "there is no function '%s'", name);
    else
        return function;
    return NULL;
}

/* ---- What there is ---- */

void api_functions_list(struct http_request *request)
{
    json_t *array = json_array();

    LIST_FOR_EACH(at, &api_of(request)->functions->all)
    {
        const struct function *function = list_entry(at, struct function, node);

        if (access_pool_seen(&request->connection->peer, function->name))
            json_array_append_new(array, function_json(function, is_admin(request)));
    }
    http_reply_json(request, MHD_HTTP_OK, json_pack("{s:o}", "functions", array));
}

void api_function_show(struct http_request *request)
{
    const struct function *function = api_function_find(request, request->param);

    if (function)
        http_reply_json(request, MHD_HTTP_OK, function_json(function, is_admin(request)));
}

/* Of one's own calls; an administrator sees all. The youngest come last. */
void api_function_logs(struct http_request *request)
{
    const struct function *function = api_function_find(request, request->param);
    const char *wanted = http_query(request, "invocation");
    json_t *array;

    if (!function)
        return;
    array = json_array();
    LIST_FOR_EACH(at, &function->records.list)
    {
        const struct function_record *record = list_entry(at, struct function_record, node);

        if ((wanted && strcmp(wanted, record->id) != 0) ||
            (!is_admin(request) && record->uid != request->connection->peer.uid))
            continue;
        json_array_append_new(array, function_record_json(record));
    }
    http_reply_json(request, MHD_HTTP_OK, json_pack("{s:o}", "invocations", array));
}

/* ---- Creation and deletion ---- */

static void on_made(void *data, struct function *function, const struct err *err)
{
    struct http_request *request = data;

    if (function)
        http_reply_json(request, MHD_HTTP_CREATED, function_json(function, true));
    else
        http_reply_error(request, api_failure_code(err->code, API_BAD_REQUEST), "%s", err->msg);
}

void api_functions_create(struct http_request *request)
{
    struct client_ids *maker = NULL;
    struct function_body body = { 0 };
    struct err err = { 0 };
    json_t *object = http_read_json(request);
    int rc;

    if (!object)
        return;
    rc = function_body_read(object, &body, &err);
    json_decref(object);
    if (rc < 0) {
        http_reply_bad_keys(request, &err);
        return;
    }
    if (!api_links_allowed(request, &body.pool.spec.net))
        return;
    rc =
        request->connection->peer.trusted ? 0 : client_ids_of_peer(request->connection->fd, &maker);
    if (rc < 0)
        http_reply_error(request, API_INTERNAL, "can't tell who you are: %s", strerror(-rc));
    else
        function_make(api_of(request)->functions, &body, maker, on_made, request);
}

static void on_deleted(void *data, const struct err *err)
{
    if (err)
        http_reply_error(data, API_INTERNAL,
                         "the function is stopped, but not all of it was removed; delete it again: "
                         "%s",
                         err->msg);
    else
        http_reply_empty(data, MHD_HTTP_NO_CONTENT);
}

void api_function_delete(struct http_request *request)
{
    struct function *function = api_function_find(request, request->param);
    uint32_t calls;
    bool force;

    if (!function || !http_query_bool(request, "force", &force))
        return;
    calls = function->queued_count + function->on_count;
    if (function->deleting)
        http_reply_error(request, API_FUNCTION_BUSY, "function '%s' is being made or deleted",
                         function->name);
    else if (calls && !force)
        http_reply_error(request, API_FUNCTION_BUSY,
                         "%u calls of function '%s' are under way; wait, or delete with ?force=1",
                         calls, function->name);
    else
        function_delete(function, on_deleted, request);
}

/* ---- Calls ---- */

struct invoke_call {
    struct http_request *request;
    struct invocation *invocation;
    char *body;
    size_t body_bytes, body_room;
    enum api_error refusal; /* API_ERROR_COUNT: none; else what still comes is read and dropped */
    char head[FUNCTION_HEAD_MAX];
};

static void call_free(struct invoke_call *call)
{
    free(call->body);
    free(call);
}

static void too_large(struct http_request *request)
{
    http_reply_error(request, API_TOO_LARGE, "the body of a call is at most %u bytes",
                     FUNCTION_BODY_MAX);
}

static bool invoke_begin(struct http_request *request)
{
    const char *length =
        MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    struct invoke_call *call;

    if (!api_function_find(request, request->param))
        return false;
    if (length && strtoull(length, NULL, 10) > FUNCTION_BODY_MAX) {
        too_large(request);
        return false;
    }
    call = malloc(sizeof *call);
    if (!call) {
        http_reply_error(request, API_INTERNAL, "out of memory");
        return false;
    }
    memset(call, 0, offsetof(struct invoke_call, head));
    call->request = request;
    call->refusal = API_ERROR_COUNT;
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
    if (http_request_charge(call->request, room - call->body_room))
        body = realloc(call->body, room);
    if (!body) {
        call->refusal = API_TOO_MANY;
        return false;
    }
    call->body = body;
    call->body_room = room;
    return true;
}

static size_t invoke_take(struct http_request *request, const char *data, size_t bytes)
{
    struct invoke_call *call = request->call;

    if (call->refusal == API_ERROR_COUNT && body_grow(call, call->body_bytes + bytes)) {
        memcpy(call->body + call->body_bytes, data, bytes);
        call->body_bytes += bytes;
    }
    return bytes;
}

static void invoke_gone(struct http_request *request)
{
    struct invoke_call *call = request->call;

    if (call && call->invocation)
        invocation_cancel(call->invocation);
    if (call)
        call_free(call);
}

const struct http_body_ops api_invoke_body = { invoke_begin, invoke_take, invoke_gone };

static void on_client_gone(struct http_request *request)
{
    invoke_gone(request);
    http_reply_error(request, API_FUNCTION_FAILED, "the client is gone");
}

static void reply_answer(struct http_request *request, struct invocation *invocation)
{
    struct http_answer *answer = &invocation->answer;
    struct http_header headers[HTTP_ANSWER_HEADERS_MAX + 1];
    size_t count = 0;

    for (unsigned i = 0; i < answer->header_count; i++) {
        const char *name = http_answer_name(answer, i);

        if (!http_header_is_hop(name))
            headers[count++] = (struct http_header){ name, http_answer_value(answer, i) };
    }
    headers[count++] = (struct http_header){ "X-Volt-Invocation", invocation->id };
    http_reply_with(request, answer->status, headers, count, take_pointer(&answer->body),
                    answer->body_bytes);
}

static void on_done(void *data, struct invocation *invocation)
{
    static const enum api_error errors[INVOCATION_RESULT_COUNT] = {
        [INVOCATION_FAILED] = API_FUNCTION_FAILED,    [INVOCATION_TIMED_OUT] = API_FUNCTION_TIMEOUT,
        [INVOCATION_NO_VM] = API_NO_VM_FREE,          [INVOCATION_NOT_READY] = API_POOL_NOT_READY,
        [INVOCATION_CANCELLED] = API_FUNCTION_FAILED, [INVOCATION_SHUTDOWN] = API_SHUTTING_DOWN,
        [INVOCATION_REFUSED] = API_TOO_MANY,
    };
    struct invoke_call *call = data;
    struct http_request *request = call->request;

    request->call = NULL;
    if (invocation->result == INVOCATION_ANSWERED)
        reply_answer(request, invocation);
    else
        http_reply_error(request, errors[invocation->result], "function '%s', invocation %s: %s",
                         invocation->function->name, invocation->id, invocation->sentence);
    call_free(call);
}

/* 0, or -errno with what is wrong. */
static int invoke_start(struct invoke_call *call, struct function *function, struct err *err)
{
    struct http_request *http = call->request;
    const char *method = http_query(http, "method");
    struct function_request request = { .head = call->head,
                                        .body = call->body,
                                        .body_bytes = call->body_bytes,
                                        .no_body = method && strcmp(method, "HEAD") == 0,
                                        .uid = http->connection->peer.uid };
    int rc = function_head_make(http, function->name, call->body_bytes, call->head,
                                &request.head_bytes, err);

    if (rc < 0)
        return rc;
    rc = function_invoke(function, &request, on_done, call, &call->invocation);
    if (rc == -EBUSY)
        err_set(err, EBUSY, "%u calls of function '%s' wait already", function->queued_count,
                function->name);
    else if (rc < 0)
        err_set_errno(err, -rc, "function '%s'", function->name);
    return rc;
}

void api_function_invoke(struct http_request *request)
{
    struct invoke_call *call = request->call;
    struct function *function = NULL;
    struct err err = { 0 };
    int rc = 0;

    if (call->refusal == API_TOO_LARGE)
        too_large(request);
    else if (call->refusal != API_ERROR_COUNT)
        http_reply_error(request, call->refusal,
                         "your requests and unread replies take too much memory; read them first");
    else
        function = api_function_find(request, request->param); /* it may have ended meanwhile */
    if (function)
        rc = invoke_start(call, function, &err);
    if (!function || rc < 0) {
        request->call = NULL;
        call_free(call);
    }
    if (rc < 0)
        http_reply_error(request,
                         rc == -EBUSY       ? API_TOO_MANY
                         : rc == -ESHUTDOWN ? API_SHUTTING_DOWN
                         : rc == -ENOMEM    ? API_INTERNAL
                                            : API_BAD_REQUEST,
                         "%s", err.msg);
    else if (function)
        http_watch(request, on_client_gone);
}
