/* SPDX-License-Identifier: Apache-2.0 */
/* A call of a function by HTTP, from its first byte to the reply: what all fronts have in common. A
 * front says how a call is asked for and how its end is told. Loop thread only. */
#ifndef VOLT_POOLD_INVOKE_H
#define VOLT_POOLD_INVOKE_H

#include "api/api.h"

struct invoke_call;

struct invoke_front {
    /* The function that is meant, in ret_name. */
    void (*name)(const struct http_request *request, char ret_name[POOL_NAME_BYTES]);
    /* The function has answered, or whatever the call's end was. Replies, or ends its reply: `reply` is
     * the call's, and the front's again. */
    void (*end)(struct http_request *request, struct invocation *invocation, void *reply);
    /* Of a front that has one: the call ends without `end`. */
    void (*drop)(void *reply);
    /* It came to no call. Replies. */
    void (*refuse)(struct http_request *request, enum api_error code, const char *sentence);
};

struct invoke_call {
    struct api *api;
    struct http_request *request; /* NULL: it has been replied to already */
    const struct invoke_front *front;
    struct invocation *invocation;
    char name[POOL_NAME_BYTES];
    struct http_hold hold; /* request and answer are its client's, also when that is gone */
    uint64_t answer_bytes; /* of it */
    char *body;
    size_t body_bytes, body_room;
    enum api_error refusal; /* API_ERROR_COUNT: none; else what still comes is read and dropped */
    uint32_t retries;       /* of one without a request: left */
    /* Of a front that takes answers as they come: the call's function_request.piece; NULL: none. */
    bool (*piece)(void *call, const char *bytes, size_t count);
    void *reply; /* that front's own, until `end` or `drop`; NULL: none */
    struct function_request asked;
    char head[FUNCTION_HEAD_MAX];
};

/* For http_body_ops: begin with the front, take and gone as they are. */
bool invoke_begin(struct http_request *request, const struct invoke_front *front);
size_t invoke_take(struct http_request *request, const char *data, size_t bytes);
void invoke_gone(struct http_request *request);

/* The body is there. True: request->call is a call that can be started; else it has replied. */
bool invoke_ready(struct http_request *request);
/* Starts it; its end is told by the front. With `retries` it is replied to by the caller now, by
 * status and nothing else, and is tried so often again when it fails. */
void invoke_start(struct http_request *request);
void invoke_start_event(struct http_request *request, uint32_t retries, unsigned status);
/* Its reply has begun, and its client is gone: ends it. */
void invoke_abandon(struct invoke_call *call);
/* Ends a call that is not started: the caller replies. */
void invoke_drop(struct http_request *request);

#endif
