/* SPDX-License-Identifier: Apache-2.0 */
/* Owns POST /2021-11-15/functions/NAME/response-streaming-invocations, which AWS' clients call
 * InvokeWithResponseStream: the answer as it is made, in an event stream.
 *
 * How it works
 *   The reply begins with the answer's first byte, or its end. What has come and was not read yet is in
 *   a buffer of STREAM_ROOM, its client's memory; from STREAM_FULL on no more is taken of the function,
 *   which then waits, until it has been read down to half of that. So a client that reads slowly costs
 *   that much, and its VM until the function's time is over. A client that hangs up takes the call with
 *   it, and the VM. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "api/event_frame.h"
#include "api/invoke.h"
#include "base/json_text.h"
#include "base/util.h"

#define STREAM_FULL 65536u
#define STREAM_ROOM (STREAM_FULL + 2 * RUNTIME_READ_MAX)
#define CHUNK_BYTES 4096u
#define DETAILS_BYTES 2048

struct stream_reply {
    struct http_request *request;
    struct invoke_call *call; /* NULL: it is over */
    struct http_hold hold;    /* of the buffer */
    bool begun;               /* its head is on its way; it ends with on_closed */
    bool full;                /* the function waits */
    bool complete;            /* the last message has been made */
    char *error, *details;    /* what that tells; NULL: nothing went wrong */
    char *whole;              /* an answer that came whole, in place of the buffer */
    size_t begin, end;        /* of bytes, or of whole */
    size_t frame_at, frame_bytes;
    char frame[EVENT_FRAME_OWN + CHUNK_BYTES];
    char bytes[STREAM_ROOM];
};

/* ---- Messages ---- */

static void chunk_make(struct stream_reply *reply)
{
    const size_t count = MIN_OF(reply->end - reply->begin, (size_t)CHUNK_BYTES);
    const char *bytes = (reply->whole ? reply->whole : reply->bytes) + reply->begin;

    reply->frame_at = 0;
    reply->frame_bytes =
        event_frame_make(reply->frame, "PayloadChunk", "application/octet-stream", bytes, count);
    reply->begin += count;
    if (reply->begin == reply->end && !reply->whole)
        reply->begin = reply->end = 0;
}

static void complete_make(struct stream_reply *reply)
{
    json_t *body = json_object();
    char *text;

    if (reply->error)
        json_object_set_new(body, "ErrorCode", json_text(reply->error));
    if (reply->details)
        json_object_set_new(body, "ErrorDetails", json_text(reply->details));
    text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    reply->complete = true;
    reply->frame_at = 0;
    reply->frame_bytes =
        event_frame_make(reply->frame, "InvokeComplete", "application/json", text ? text : "{}",
                         text ? MIN_OF(strlen(text), (size_t)CHUNK_BYTES) : 2);
    free(text);
}

/* ---- The reply ---- */

static size_t on_read(void *data, char *buffer, size_t room)
{
    struct stream_reply *reply = data;
    size_t count;

    if (reply->frame_at == reply->frame_bytes && reply->begin < reply->end)
        chunk_make(reply);
    else if (reply->frame_at == reply->frame_bytes && !reply->call && !reply->complete)
        complete_make(reply);
    count = MIN_OF(room, reply->frame_bytes - reply->frame_at);
    memcpy(buffer, reply->frame + reply->frame_at, count);
    reply->frame_at += count;
    if (reply->full && reply->call && reply->end - reply->begin <= STREAM_FULL / 2) {
        reply->full = false;
        invocation_resume(reply->call->invocation);
    }
    return count;
}

static void on_closed(void *data)
{
    struct stream_reply *reply = data;

    if (reply->call) {
        reply->call->reply = NULL;
        invoke_abandon(reply->call);
    }
    http_hold_end(&reply->hold);
    free(reply->error);
    free(reply->details);
    free(reply->whole);
    free(reply);
}

static void reply_begin(struct stream_reply *reply)
{
    if (reply->begun)
        return;
    reply->begun = true;
    http_reply_stream(reply->request, "application/vnd.amazon.eventstream", on_read, on_closed,
                      reply);
}

/* Of the function's answer, from within its session. */
static bool on_piece(void *data, const char *bytes, size_t count)
{
    struct invoke_call *call = data;
    struct stream_reply *reply = call->reply;

    if (reply->begin) {
        memmove(reply->bytes, reply->bytes + reply->begin, reply->end - reply->begin);
        reply->end -= reply->begin;
        reply->begin = 0;
    }
    /* runtime_api.h says what may still come. */
    count = MIN_OF(count, STREAM_ROOM - reply->end);
    memcpy(reply->bytes + reply->end, bytes, count);
    reply->end += count;
    reply->full = reply->end >= STREAM_FULL;
    reply_begin(reply);
    http_stream_wake(reply->request);
    return !reply->full;
}

/* ---- The front ---- */

static void failure_note(struct stream_reply *reply, const struct invocation *invocation)
{
    const bool late = invocation->result == INVOCATION_TIMED_OUT;
    const struct http_message *answer = &invocation->answer;

    if (invocation->result != INVOCATION_ANSWERED) {
        reply->error = strdup(late ? "Sandbox.Timedout" : "Runtime.ExitError");
        reply->details = strdup(invocation->sentence);
    } else if (invocation->function_error || answer->status >= 400) {
        reply->error = strdup(*invocation->error_type ? invocation->error_type : "Unhandled");
        reply->details =
            answer->body ? strndup(answer->body, MIN_OF(answer->body_bytes, (size_t)DETAILS_BYTES))
                         : NULL;
    }
}

/* An answer that has come whole. */
static void whole_take(struct stream_reply *reply, struct http_message *answer)
{
    if (!answer->body || !answer->body_bytes)
        return;
    if (!http_hold_take(&reply->hold, answer->body_bytes)) {
        reply->error = strdup("TooManyRequestsException");
        return;
    }
    reply->whole = take_pointer(&answer->body);
    reply->end = answer->body_bytes;
}

/* Whether the end is one of the call's, and not poold's refusal. */
static bool is_answer(enum invocation_result result)
{
    return result == INVOCATION_ANSWERED || result == INVOCATION_FAILED ||
           result == INVOCATION_TIMED_OUT;
}

/* It ends without a call that is there. */
static void reply_drop(void *data)
{
    struct stream_reply *reply = data;

    reply->call = NULL;
    on_closed(reply);
}

static void front_end(struct http_request *request, struct invocation *invocation, void *data)
{
    struct stream_reply *reply = data;

    reply->call = NULL;
    if (!reply->begun && !is_answer(invocation->result)) {
        reply_drop(reply);
        api_lambda_refuse(request, invocation_error(invocation->result), invocation->sentence);
        return;
    }
    failure_note(reply, invocation);
    if (!reply->begun && !reply->error)
        whole_take(reply, &invocation->answer);
    reply_begin(reply);
    http_stream_end(request);
}

static const struct invoke_front front = { api_lambda_name, front_end, reply_drop,
                                           api_lambda_refuse };

static bool begin(struct http_request *request)
{
    return invoke_begin(request, &front);
}

const struct http_body_ops api_lambda_stream_body = { begin, invoke_take, invoke_gone };

void api_lambda_stream(struct http_request *request)
{
    struct invoke_call *call = request->call;
    struct stream_reply *reply;

    if (!invoke_ready(request))
        return;
    reply = malloc(sizeof *reply);
    if (!reply) {
        invoke_drop(request);
        api_lambda_refuse(request, API_INTERNAL, "out of memory");
        return;
    }
    memset(reply, 0, offsetof(struct stream_reply, frame));
    reply->request = request;
    reply->call = call;
    http_hold_begin(&reply->hold, request);
    call->reply = reply;
    call->piece = on_piece;
    if (http_hold_take(&reply->hold, sizeof *reply)) {
        invoke_start(request);
        return;
    }
    invoke_drop(request);
    api_lambda_refuse(request, API_TOO_MANY,
                      "your requests and unread replies take too much memory; read them first");
}
