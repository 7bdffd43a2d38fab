/* SPDX-License-Identifier: Apache-2.0 */
/* Owns /v1/functions/NAME/invoke: the function's answer as it is, and poold's own errors. */
#include <strings.h>

#include "api/function_head.h"
#include "api/invoke.h"
#include "base/util.h"

#define INVOCATION_HEADER "X-Volt-Invocation"

static void front_name(const struct http_request *request, char ret_name[POOL_NAME_BYTES])
{
    snprintf(ret_name, POOL_NAME_BYTES, "%s", request->param);
}

static void reply_answer(struct http_request *request, struct invocation *invocation)
{
    struct http_message *answer = &invocation->answer;
    struct http_header headers[HTTP_MESSAGE_HEADERS_MAX + 2];
    size_t count = 0;

    /* A runtime that tells an error has not failed: that is its answer. */
    if (invocation->function_error)
        answer->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    if (invocation->function->runtime == FUNCTION_LAMBDA)
        headers[count++] = (struct http_header){ "Content-Type", "application/json" };
    for (unsigned i = 0; i < answer->header_count; i++) {
        const char *name = http_message_name(answer, i);

        /* The call's id is poold's word. */
        if (!http_header_is_hop(name) && strcasecmp(name, INVOCATION_HEADER) != 0)
            headers[count++] = (struct http_header){ name, http_message_value(answer, i) };
    }
    headers[count++] = (struct http_header){ INVOCATION_HEADER, invocation->id };
    if (!http_reply_fits(request, headers, count)) {
        http_reply_error(
            request, API_FUNCTION_FAILED,
            "function '%s', invocation %s: the heads of its answer and of your request "
            "are over 16 KiB together",
            invocation->function->name, invocation->id);
        return;
    }
    http_reply_with(request, answer->status, headers, count, take_pointer(&answer->body),
                    answer->body_bytes);
}

enum api_error invocation_error(enum invocation_result result)
{
    static const enum api_error errors[INVOCATION_RESULT_COUNT] = {
        [INVOCATION_FAILED] = API_FUNCTION_FAILED,    [INVOCATION_TIMED_OUT] = API_FUNCTION_TIMEOUT,
        [INVOCATION_NO_VM] = API_NO_VM_FREE,          [INVOCATION_NOT_READY] = API_POOL_NOT_READY,
        [INVOCATION_CANCELLED] = API_FUNCTION_FAILED, [INVOCATION_SHUTDOWN] = API_SHUTTING_DOWN,
        [INVOCATION_REFUSED] = API_TOO_MANY,
    };

    return errors[result];
}

static void front_end(struct http_request *request, struct invocation *invocation, void *reply)
{
    (void)reply;
    if (invocation->result == INVOCATION_ANSWERED)
        reply_answer(request, invocation);
    else
        http_reply_error(request, invocation_error(invocation->result),
                         "function '%s', invocation %s: %s", invocation->function->name,
                         invocation->id, invocation->sentence);
}

static void front_refuse(struct http_request *request, enum api_error code, const char *sentence)
{
    http_reply_error(request, code, "%s", sentence);
}

static const struct invoke_front front = { front_name, front_end, NULL, front_refuse };

static bool begin(struct http_request *request)
{
    return invoke_begin(request, &front);
}

const struct http_body_ops api_invoke_body = { begin, invoke_take, invoke_gone };

void api_function_invoke(struct http_request *request)
{
    if (invoke_ready(request))
        invoke_start(request);
}
