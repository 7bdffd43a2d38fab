/* SPDX-License-Identifier: Apache-2.0 */
/* Owns POST /2015-03-31/functions/NAME/invocations: calls as clients of AWS Lambda make them, and its
 * kind of answers and errors. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/invoke.h"
#include "base/json_text.h"
#include "base/util.h"

#define LOG_BYTES_MAX 4096u /* of X-Amz-Log-Result */
#define EVENT_RETRIES 2u

/* A name, or an ARN that ends in function:NAME or function:NAME:VERSION. */
void api_lambda_name(const struct http_request *request, char ret_name[POOL_NAME_BYTES])
{
    const char *mark = strstr(request->param, ":function:");
    const char *name = mark ? mark + strlen(":function:") : request->param;

    snprintf(ret_name, POOL_NAME_BYTES, "%.*s", (int)strcspn(name, ":"), name);
}

static const char *header(const struct http_request *request, const char *name)
{
    const char *value = MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, name);

    return value ? value : "";
}

/* ---- Errors ---- */

static const struct aws_error {
    enum api_error code;
    unsigned status;
    const char *type;
} aws_errors[] = {
    { API_NO_SUCH_FUNCTION, 404, "ResourceNotFoundException" },
    { API_FORBIDDEN, 403, "AccessDeniedException" },
    { API_TOO_LARGE, 413, "RequestTooLargeException" },
    { API_TOO_MANY, 429, "TooManyRequestsException" },
    { API_NO_VM_FREE, 429, "TooManyRequestsException" },
    { API_POOL_NOT_READY, 502, "ResourceNotReadyException" },
    { API_BAD_REQUEST, 400, "InvalidParameterValueException" },
};

void api_lambda_refuse(struct http_request *request, enum api_error code, const char *sentence)
{
    struct aws_error error = { code, 500, "ServiceException" };
    json_t *body;
    char *text;

    for (size_t i = 0; i < ARRAY_LEN(aws_errors); i++) {
        if (aws_errors[i].code == code)
            error = aws_errors[i];
    }
    body = json_pack("{s:o, s:o}", "Type", json_text(error.status < 500 ? "User" : "Service"),
                     "Message", json_text(sentence));
    text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    const struct http_header headers[] = { { "Content-Type", "application/json" },
                                           { "X-Amzn-ErrorType", error.type } };
    http_reply_with(request, error.status, headers, ARRAY_LEN(headers), text,
                    text ? strlen(text) : 0);
}

/* ---- Answers ---- */

/* Of the last that a function wrote. ret_text has room for it. */
static void base64(const uint8_t *bytes, size_t count, char *ret_text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < count; i += 3) {
        const uint32_t left = (uint32_t)(count - i);
        const uint32_t group = (uint32_t)bytes[i] << 16 | (left > 1 ? bytes[i + 1] << 8 : 0) |
                               (left > 2 ? bytes[i + 2] : 0);

        *ret_text++ = digits[group >> 18];
        *ret_text++ = digits[group >> 12 & 63];
        *ret_text++ = left > 1 ? digits[group >> 6 & 63] : '=';
        *ret_text++ = left > 2 ? digits[group & 63] : '=';
    }
    *ret_text = '\0';
}

/* What AWS answers where a function gave nothing. The caller's. */
static char *failure_text(const struct invocation *invocation)
{
    const bool late = invocation->result == INVOCATION_TIMED_OUT;
    const uint64_t limit_ms = invocation->function->spec.timeout_ms;
    char message[ERR_MSG_BYTES + 96];
    json_t *body;
    char *text;

    if (late)
        snprintf(message, sizeof message,
                 "RequestId: %s Error: Task timed out after %" PRIu64 ".%02u seconds",
                 invocation->id, limit_ms / 1000, (unsigned)(limit_ms % 1000 / 10));
    else
        snprintf(message, sizeof message, "RequestId: %s Error: %s", invocation->id,
                 invocation->sentence);
    body = json_pack("{s:o, s:o}", "errorType",
                     json_text(late ? "Sandbox.Timedout" : "Runtime.ExitError"), "errorMessage",
                     json_text(message));
    text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    return text;
}

static void reply_result(struct http_request *request, struct invocation *invocation)
{
    const bool answered = invocation->result == INVOCATION_ANSWERED;
    const bool error = !answered || invocation->function_error || invocation->answer.status >= 400;
    const struct function_log *log = &invocation->log;
    const size_t log_bytes = MIN_OF(log->count, (size_t)LOG_BYTES_MAX);
    char tail[LOG_BYTES_MAX / 3 * 4 + 8];
    struct http_header headers[5] = { { "Content-Type", "application/json" },
                                      { "X-Amz-Executed-Version", "$LATEST" },
                                      { "x-amzn-RequestId", invocation->id } };
    size_t count = 3;

    if (error)
        headers[count++] = (struct http_header){ "X-Amz-Function-Error", "Unhandled" };
    if (strcmp(header(request, "X-Amz-Log-Type"), "Tail") == 0) {
        base64((const uint8_t *)log->bytes + (log->count - log_bytes), log_bytes, tail);
        headers[count++] = (struct http_header){ "X-Amz-Log-Result", tail };
    }
    if (!http_reply_fits(request, headers, count)) {
        api_lambda_refuse(request, API_TOO_LARGE,
                          "the heads of your request and of its answer are over 16 KiB together");
        return;
    }
    char *text = answered ? take_pointer(&invocation->answer.body) : failure_text(invocation);
    const size_t bytes = answered ? invocation->answer.body_bytes : text ? strlen(text) : 0;
    http_reply_with(request, MHD_HTTP_OK, headers, count, text, bytes);
}

static void front_end(struct http_request *request, struct invocation *invocation, void *reply)
{
    (void)reply;
    switch (invocation->result) {
    case INVOCATION_ANSWERED:
    case INVOCATION_FAILED:
    case INVOCATION_TIMED_OUT:
        reply_result(request, invocation);
        break;
    default:
        api_lambda_refuse(request, invocation_error(invocation->result), invocation->sentence);
        break;
    }
}

static const struct invoke_front front = { api_lambda_name, front_end, NULL, api_lambda_refuse };

static bool begin(struct http_request *request)
{
    return invoke_begin(request, &front);
}

const struct http_body_ops api_lambda_body = { begin, invoke_take, invoke_gone };

void api_lambda_invoke(struct http_request *request)
{
    const char *type = header(request, "X-Amz-Invocation-Type");

    if (!invoke_ready(request))
        return;
    if (!*type || strcmp(type, "RequestResponse") == 0) {
        invoke_start(request);
    } else if (strcmp(type, "Event") == 0) {
        invoke_start_event(request, EVENT_RETRIES, MHD_HTTP_ACCEPTED);
    } else if (strcmp(type, "DryRun") == 0) {
        invoke_drop(request);
        http_reply_empty(request, MHD_HTTP_NO_CONTENT);
    } else {
        invoke_drop(request);
        api_lambda_refuse(request, API_BAD_REQUEST,
                          "X-Amz-Invocation-Type is RequestResponse, Event or DryRun");
    }
}
