/* SPDX-License-Identifier: Apache-2.0 */
/* Lambda's Runtime API, as a VM's runtime meets it: GET .../runtime/invocation/next gives it an event,
 * POST .../invocation/ID/response or /error takes what became of it. The runtime is in a guest, whose
 * gate (AGENT_CALL_ACCEPT) passes its connections on; here they are served, RUNTIME_CONNECTIONS at
 * once at most, with one more session kept ready for a connection that the runtime may make.
 *
 *   event offered --- next is asked, or was ---> sent --- response, error ---> over (ops.over)
 *                                                  |
 *                                                  +--- every connection gone, protocol broken ---> ops.failed
 *
 * One that has been asked `restore/next` (SnapStart: a runtime that wants to reseed its state before
 * its first event) answers it at once: the VM has been restored when there is somebody to answer.
 * Between two events a runtime that asks `next` is kept waiting. Loop thread only. */
#ifndef VOLT_POOLD_RUNTIME_API_H
#define VOLT_POOLD_RUNTIME_API_H

#include <uv.h>

#include "functions/http_message.h"
#include "guest_abi.h"

#define RUNTIME_CONNECTIONS 4u
#define RUNTIME_SESSIONS_MAX 64u /* for one event */
/* Memory for all that is being posted, by connections together: the largest body's. */
#define RUNTIME_POSTED_MAX (8u << 20)

/* What may come after a piece was one too many. */
#define RUNTIME_READ_MAX (AGENT_PAYLOAD_MAX + 64u)

struct runtime;

struct runtime_event {
    const char *id;       /* of the invocation */
    const char *function; /* its name */
    uint64_t deadline_ms; /* since 1970 */
    const char *body;     /* the caller's until the event is over */
    size_t body_bytes;
};

struct runtime_ops {
    /* Connects fd (borrowed) to the agent of the VM. 0 or -errno. */
    int (*connect)(void *owner, int fd);
    /* Whether so many bytes more may be held of what is posted, until the event is over. */
    bool (*charge)(void *owner, size_t bytes);
    /* What its service has written. */
    void (*log)(void *owner, const void *bytes, size_t count);
    /* A response to the event comes as it is made (Lambda-Runtime-Function-Response-Mode: streaming).
     * Whether its pieces are wanted, by `piece`; else it is gathered. */
    bool (*streams)(void *owner);
    /* False: no more for now, until runtime_resume; what was read already still comes, RUNTIME_READ_MAX
     * bytes at most. */
    bool (*piece)(void *owner, const char *bytes, size_t count);
    /* The event's end. message has what was posted, whose body may be taken; error: it was an error. */
    void (*over)(void *owner, struct http_message *message, bool error);
    /* It is of no use any more: a sentence. Between events, too. */
    void (*failed)(void *owner, const char *why);
};

/* Opens its first session. NULL: it could not be had. */
struct runtime *runtime_create(uv_loop_t *loop, const struct runtime_ops *ops, void *owner);
/* NULL is fine. Not from within an op. */
void runtime_destroy(struct runtime *runtime);

/* The next event, when there is none or the last one is over. */
void runtime_offer(struct runtime *runtime, const struct runtime_event *event);

/* The response that comes in pieces goes on. */
void runtime_resume(struct runtime *runtime);

/* What a path of the API asks for. Pure; for tests. */
enum runtime_call {
    RUNTIME_NEXT,
    RUNTIME_RESPONSE,
    RUNTIME_ERROR,
    RUNTIME_INIT_ERROR,
    RUNTIME_RESTORE_NEXT,
    RUNTIME_RESTORE_ERROR,
    RUNTIME_UNKNOWN,
};
/* With the id in a path of an invocation in ret_id, cut to its room, else "". */
#define RUNTIME_ID_BYTES 40
enum runtime_call runtime_call_of(const char *method, const char *target,
                                  char ret_id[RUNTIME_ID_BYTES]);

#endif
