/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the connections of a runtime and what is answered on them; see runtime_api.h. */
#include "functions/runtime_api.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/util.h"
#include "functions/agent_feed.h"
#include "functions/function.h"

#define HEAD_BYTES 1024u

struct connection {
    struct runtime *runtime;
    struct agent_stream *stream; /* NULL: it is free */
    struct http_message request;
    struct agent_feed feed;
    bool paused; /* its response comes faster than it is taken */
    bool used;   /* something has come on it */
    bool waits;  /* it has asked for the next event */
    char head[HEAD_BYTES];
};

struct runtime {
    uv_loop_t *loop;
    const struct runtime_ops *ops;
    void *owner;
    struct runtime_event event;
    bool has_event, sent; /* there is one; and it is with the runtime */
    bool failed;
    uint32_t opened; /* sessions, since the last offer */
    struct connection connections[RUNTIME_CONNECTIONS];
};

/* ---- Paths ---- */

static const struct {
    const char *method, *path; /* "*": an id */
    enum runtime_call call;
} calls[] = {
    { "GET", "invocation/next", RUNTIME_NEXT },
    { "POST", "invocation/*/response", RUNTIME_RESPONSE },
    { "POST", "invocation/*/error", RUNTIME_ERROR },
    { "POST", "init/error", RUNTIME_INIT_ERROR },
    { "GET", "restore/next", RUNTIME_RESTORE_NEXT },
    { "POST", "restore/error", RUNTIME_RESTORE_ERROR },
};

static bool path_matches(const char *pattern, const char *path, char ret_id[RUNTIME_ID_BYTES])
{
    const char *star = strchr(pattern, '*');
    size_t id_bytes;

    ret_id[0] = '\0';
    if (!star)
        return strcmp(pattern, path) == 0;
    if (strncmp(pattern, path, (size_t)(star - pattern)) != 0)
        return false;
    path += star - pattern;
    id_bytes = strcspn(path, "/");
    snprintf(ret_id, RUNTIME_ID_BYTES, "%.*s", (int)MIN_OF(id_bytes, (size_t)RUNTIME_ID_BYTES),
             path);
    return strcmp(star + 1, path + id_bytes) == 0;
}

enum runtime_call runtime_call_of(const char *method, const char *target,
                                  char ret_id[RUNTIME_ID_BYTES])
{
    static const char version[] = "2018-06-01/runtime/";

    ret_id[0] = '\0';
    target += strspn(target, "/"); /* some clients write two */
    if (strncmp(target, version, sizeof version - 1) != 0)
        return RUNTIME_UNKNOWN;
    target += sizeof version - 1;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        if (strcmp(calls[i].method, method) == 0 && path_matches(calls[i].path, target, ret_id))
            return calls[i].call;
    }
    return RUNTIME_UNKNOWN;
}

/* ---- Connections ---- */

static void connection_close(struct connection *connection)
{
    agent_stream_close(take_pointer(&connection->stream));
    http_message_fini(&connection->request);
}

static void runtime_fail(struct runtime *runtime, const char *why)
{
    if (runtime->failed)
        return;
    runtime->failed = true;
    runtime->ops->failed(runtime->owner, why);
}

static void connection_send(struct connection *connection, size_t head_bytes, const char *body,
                            size_t body_bytes)
{
    struct agent_feed *feed = &connection->feed;

    *feed = (struct agent_feed){ .head = connection->head,
                                 .head_bytes = head_bytes,
                                 .body = body,
                                 .body_bytes = body_bytes,
                                 .credit = feed->credit };
    if (agent_feed_send(feed, connection->stream) < 0)
        runtime_fail(connection->runtime, "its VM ended");
}

/* A short answer of the API itself. */
static void answer(struct connection *connection, const char *status, const char *text)
{
    const int n = snprintf(connection->head, HEAD_BYTES,
                           "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: "
                           "%zu\r\n\r\n%s",
                           status, strlen(text), text);

    connection_send(connection, (size_t)n, NULL, 0);
}

/* Gives the event to one that waits, if both are there. */
static void event_send(struct runtime *runtime)
{
    const struct runtime_event *event = &runtime->event;

    for (unsigned i = 0; runtime->has_event && !runtime->sent && i < RUNTIME_CONNECTIONS; i++) {
        struct connection *connection = &runtime->connections[i];
        int n;

        if (!connection->stream || !connection->waits)
            continue;
        connection->waits = false;
        runtime->sent = true;
        n = snprintf(connection->head, HEAD_BYTES,
                     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                     "Lambda-Runtime-Aws-Request-Id: %s\r\n"
                     "Lambda-Runtime-Deadline-Ms: %" PRIu64 "\r\n"
                     "Lambda-Runtime-Invoked-Function-Arn: "
                     "arn:aws:lambda:volt:000000000000:function:%s\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     event->id, event->deadline_ms, event->function, event->body_bytes);
        connection_send(connection, (size_t)n, event->body, event->body_bytes);
    }
}

void runtime_resume(struct runtime *runtime)
{
    for (unsigned i = 0; i < RUNTIME_CONNECTIONS; i++) {
        struct connection *connection = &runtime->connections[i];

        if (connection->stream && connection->paused)
            agent_stream_pause(connection->stream, false);
        connection->paused = false;
    }
}

/* The event's body is the caller's again. A connection on which not all of it was sent is of no use. */
static void event_forget(struct runtime *runtime)
{
    runtime->has_event = runtime->sent = false;
    runtime_resume(runtime); /* what it asks next is read */
    for (unsigned i = 0; i < RUNTIME_CONNECTIONS; i++) {
        struct connection *connection = &runtime->connections[i];
        struct agent_feed *feed = &connection->feed;

        if (!feed->body)
            continue;
        if (feed->sent < feed->head_bytes + feed->body_bytes)
            connection_close(connection);
        *feed = (struct agent_feed){ .credit = feed->credit };
    }
}

static void on_result(struct connection *connection, bool error, const char *id)
{
    struct runtime *runtime = connection->runtime;

    if (!runtime->has_event || !runtime->sent || strcmp(id, runtime->event.id) != 0) {
        answer(connection, "400 Bad Request",
               "{\"errorType\":\"InvalidRequestID\",\"errorMessage\":\"there is no such "
               "invocation\"}");
        return;
    }
    answer(connection, "202 Accepted", "{\"status\":\"OK\"}\n");
    event_forget(runtime);
    if (!runtime->failed)
        runtime->ops->over(runtime->owner, &connection->request, error);
}

static void on_request(struct connection *connection)
{
    struct runtime *runtime = connection->runtime;
    char id[RUNTIME_ID_BYTES];

    switch (runtime_call_of(connection->request.method, connection->request.target, id)) {
    case RUNTIME_NEXT:
        connection->waits = true;
        event_send(runtime);
        break;
    case RUNTIME_RESPONSE:
        on_result(connection, false, id);
        break;
    case RUNTIME_ERROR:
        on_result(connection, true, id);
        break;
    case RUNTIME_RESTORE_NEXT:
        answer(connection, "200 OK", "");
        break;
    case RUNTIME_INIT_ERROR:
    case RUNTIME_RESTORE_ERROR:
        answer(connection, "202 Accepted", "{\"status\":\"OK\"}\n");
        runtime_fail(runtime, "its runtime could not be made ready for a call");
        break;
    case RUNTIME_UNKNOWN:
        answer(connection, "404 Not Found", "{\"errorMessage\":\"there is no such path\"}\n");
        break;
    }
}

/* ---- Sessions ---- */

static bool on_charge(void *owner, size_t bytes)
{
    const struct connection *connection = owner;
    struct runtime *runtime = connection->runtime;
    size_t held = bytes;

    for (unsigned i = 0; i < RUNTIME_CONNECTIONS; i++)
        held += runtime->connections[i].stream ? runtime->connections[i].request.body_room : 0;
    return held <= RUNTIME_POSTED_MAX && runtime->ops->charge(runtime->owner, bytes);
}

/* A response in pieces, to whoever wants them. */
static void on_piece(void *owner, const char *bytes, size_t count)
{
    struct connection *connection = owner;
    struct runtime *runtime = connection->runtime;

    if (runtime->failed || !runtime->sent || runtime->ops->piece(runtime->owner, bytes, count) ||
        connection->paused)
        return;
    connection->paused = true;
    agent_stream_pause(connection->stream, true);
}

static void on_head(void *owner, struct http_message *message)
{
    const struct connection *connection = owner;
    struct runtime *runtime = connection->runtime;
    const char *mode = http_message_find(message, "Lambda-Runtime-Function-Response-Mode");
    char id[RUNTIME_ID_BYTES];

    if (mode && strcasecmp(mode, "streaming") == 0 &&
        runtime_call_of(message->method, message->target, id) == RUNTIME_RESPONSE &&
        runtime->has_event && runtime->sent && strcmp(id, runtime->event.id) == 0 &&
        runtime->ops->streams(runtime->owner))
        message->piece = on_piece;
}

static void request_begin(struct connection *connection)
{
    http_message_init(&connection->request, FUNCTION_HEAD_MAX, FUNCTION_BODY_MAX,
                      HTTP_MESSAGE_REQUEST);
    connection->request.charge = on_charge;
    connection->request.head = on_head;
    connection->request.owner = connection;
}

static void spare_open(struct runtime *runtime);

static void on_bytes(struct connection *connection, const uint8_t *bytes, uint32_t count)
{
    struct runtime *runtime = connection->runtime;
    struct err err;

    if (!connection->used) {
        connection->used = true;
        spare_open(runtime);
    }
    if (http_message_feed(&connection->request, bytes, count, &err) < 0) {
        runtime_fail(runtime, err.msg);
        return;
    }
    if (!connection->request.whole)
        return;
    on_request(connection);
    http_message_fini(&connection->request);
    request_begin(connection);
}

/* The runtime has closed one; without any it can't tell anything. */
static void on_connection_end(struct connection *connection)
{
    connection_close(connection);
    spare_open(connection->runtime);
}

static void on_frame(void *owner, const struct agent_frame *frame, const uint8_t *payload)
{
    struct connection *connection = owner;
    struct runtime *runtime = connection->runtime;
    char sentence[AGENT_SENTENCE_BYTES];

    switch (frame->type) {
    case AGENT_STDOUT:
        on_bytes(connection, payload, frame->payload_bytes);
        break;
    case AGENT_STDERR:
        runtime->ops->log(runtime->owner, payload, frame->payload_bytes);
        break;
    case AGENT_CREDIT:
        if (agent_feed_credit(&connection->feed, connection->stream, payload,
                              frame->payload_bytes) < 0)
            runtime_fail(runtime, "its VM ended");
        break;
    case AGENT_DONE:
        on_connection_end(connection);
        break;
    case AGENT_ERROR:
        runtime_fail(runtime, agent_error_sentence(frame, payload, sentence));
        break;
    default:
        runtime_fail(runtime, "its VM's agent sent a frame out of place");
        break;
    }
}

static void on_broken(void *owner, const char *why)
{
    const struct connection *connection = owner;

    (void)why;
    runtime_fail(connection->runtime, "its VM ended");
}

static int on_connect(void *owner, int fd)
{
    const struct connection *connection = owner;

    return connection->runtime->ops->connect(connection->runtime->owner, fd);
}

static const struct agent_stream_ops stream_ops = {
    .connect = on_connect,
    .frame = on_frame,
    .broken = on_broken,
};

static int connection_open(struct connection *connection, struct runtime *runtime)
{
    const struct agent_call call = { .flags = AGENT_CALL_ACCEPT };

    memset(connection, 0, offsetof(struct connection, head));
    connection->runtime = runtime;
    connection->feed.credit = AGENT_STDIN_CREDIT;
    request_begin(connection);
    if (agent_stream_open(&connection->stream, runtime->loop, &stream_ops, connection) < 0 ||
        agent_stream_send(connection->stream, AGENT_CALL, &call, sizeof call) < 0)
        return -1;
    return 0;
}

/* One session more than the runtime has used, if there is a place: it may connect once more. */
static void spare_open(struct runtime *runtime)
{
    struct connection *place = NULL;

    for (unsigned i = 0; i < RUNTIME_CONNECTIONS; i++) {
        struct connection *connection = &runtime->connections[i];

        if (!connection->stream)
            place = place ? place : connection;
        else if (!connection->used)
            return;
    }
    if (!place || runtime->failed)
        return;
    if (++runtime->opened > RUNTIME_SESSIONS_MAX)
        runtime_fail(runtime, "its runtime connects without end");
    else if (connection_open(place, runtime) < 0)
        runtime_fail(runtime, "its VM takes no stream");
}

/* ---- Its life ---- */

struct runtime *runtime_create(uv_loop_t *loop, const struct runtime_ops *ops, void *owner)
{
    struct runtime *runtime = calloc(1, sizeof *runtime);

    if (!runtime)
        return NULL;
    runtime->loop = loop;
    runtime->ops = ops;
    runtime->owner = owner;
    if (connection_open(&runtime->connections[0], runtime) == 0)
        return runtime;
    runtime_destroy(runtime);
    return NULL;
}

void runtime_destroy(struct runtime *runtime)
{
    if (!runtime)
        return;
    for (unsigned i = 0; i < RUNTIME_CONNECTIONS; i++)
        connection_close(&runtime->connections[i]);
    free(runtime);
}

void runtime_offer(struct runtime *runtime, const struct runtime_event *event)
{
    runtime->event = *event;
    runtime->opened = 0;
    runtime->has_event = true;
    runtime->sent = false;
    event_send(runtime);
}
