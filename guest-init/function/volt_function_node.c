/* SPDX-License-Identifier: Apache-2.0 */
/* libvolt_function for Node, as an addon (volt_function.h says what one must know):
 *
 *     cc -O2 -shared -fPIC -I/usr/include/node volt_function_node.c volt_function.c -o volt_function.node
 *
 *     require("./volt_function.node").serve((request) => request.toString().toUpperCase());
 *
 * serve(handler) answers calls with what handler(Buffer) returns, a Buffer or a string, without end; what
 * it throws is the call's error. The handler is synchronous: between two calls nothing of Node's loop
 * runs, as the VM stands still then. */
#include <errno.h>
#include <node_api.h>
#include <string.h>

#include "volt_function.h"

/* The handler's answer, or what it threw, as bytes. */
static void answer(napi_env env, napi_value value, bool failed)
{
    int (*const set)(const void *, size_t) =
        failed ? (int (*)(const void *, size_t))volt_function_fail : volt_function_answer;
    static char text[VOLT_FUNCTION_BYTES_MAX + 1];
    bool is_buffer = false;
    napi_value string;
    size_t bytes = 0;
    void *data;

    if (napi_is_buffer(env, value, &is_buffer) == napi_ok && is_buffer &&
        napi_get_buffer_info(env, value, &data, &bytes) == napi_ok) {
        if (set(data, bytes) == 0)
            return;
    } else if (napi_coerce_to_string(env, value, &string) == napi_ok &&
               napi_get_value_string_utf8(env, string, NULL, 0, &bytes) == napi_ok &&
               bytes < sizeof text &&
               napi_get_value_string_utf8(env, string, text, sizeof text, &bytes) == napi_ok) {
        (void)set(text, bytes);
        return;
    }
    (void)volt_function_fail("the answer is too long, or is none", 34);
}

static void call(napi_env env, napi_value handler, void *request, size_t bytes)
{
    napi_handle_scope scope;
    napi_value argument, result, global, error;
    bool failed;

    if (napi_open_handle_scope(env, &scope) != napi_ok)
        return;
    failed = napi_get_global(env, &global) != napi_ok ||
             napi_create_buffer_copy(env, bytes, request, NULL, &argument) != napi_ok ||
             napi_call_function(env, global, handler, 1, &argument, &result) != napi_ok;
    if (!failed)
        answer(env, result, false);
    else if (napi_get_and_clear_last_exception(env, &error) == napi_ok)
        answer(env, error, true);
    napi_close_handle_scope(env, scope);
}

static napi_value serve(napi_env env, napi_callback_info info)
{
    napi_value handler = NULL;
    size_t count = 1;
    void *request;
    long bytes = -EINVAL;

    if (napi_get_cb_info(env, info, &count, &handler, NULL, NULL) == napi_ok && count == 1)
        while ((bytes = volt_function_next(&request)) >= 0)
            call(env, handler, request, (size_t)bytes);
    napi_throw_error(env, NULL, strerror((int)-bytes));
    return NULL;
}

static napi_value init(napi_env env, napi_value exports)
{
    napi_value function;

    if (napi_create_function(env, "serve", NAPI_AUTO_LENGTH, serve, NULL, &function) == napi_ok)
        napi_set_named_property(env, exports, "serve", function);
    return exports;
}

NAPI_MODULE(volt_function, init)
