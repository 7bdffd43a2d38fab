/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the calls under /v1/functions. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/functions_json.h"
#include "base/util.h"
#include "functions/function_keep.h"

static bool is_admin(const struct http_request *request)
{
    return request->connection->peer.rights & RIGHT_ADMIN;
}

struct function *api_function_look(struct http_request *request, const char *name,
                                   enum api_error *ret_code, char ret_sentence[ERR_MSG_BYTES])
{
    struct function *function = function_find(api_of(request)->functions, name);

    /* As for pools: whether there is one is not to be told. */
    if (!access_pool_seen(&request->connection->peer, name)) {
        *ret_code = API_FORBIDDEN;
        snprintf(ret_sentence, ERR_MSG_BYTES,
                 "poold's policy does not give you the function '%.63s'", name);
        return NULL;
    }
    *ret_code = API_NO_SUCH_FUNCTION;
    if (!function)
        snprintf(ret_sentence, ERR_MSG_BYTES, "there is no function '%.63s'", name);
    return function;
}

struct function *api_function_find(struct http_request *request, const char *name)
{
    char sentence[ERR_MSG_BYTES];
    enum api_error code;
    struct function *function = api_function_look(request, name, &code, sentence);

    if (!function)
        http_reply_error(request, code, "%s", sentence);
    return function;
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
