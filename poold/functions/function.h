/* SPDX-License-Identifier: Apache-2.0 */
/* Functions: programs that are called, each call in a fresh VM whose snapshot has the program started
 * and waiting for its first request. docs/functions.md is for their users.
 *
 * Who owns what
 *   functions     all functions of a poold, and the folder with what is kept of them
 *   function      a name, limits, and what is under way; its VMs are those of the pool of the same
 *                 name (vms/hosted.h), whose service is the handler
 *   invocation    one call, from function_invoke to its `done`; owned here. Its request is the
 *                 caller's, and stays as it is until then
 *   function_vm   a leased VM, from the acquire on: an invocation's, or with `reuse` above 1 one of
 *                 function->idle between two calls. It ends with pool_release
 *
 * The life of an invocation
 *
 *     function_invoke --- over the queue's bound: -EBUSY
 *           |
 *        QUEUED ------- fewer than `concurrency` are on, and it is the first -----> ACQUIRING
 *           | queue_ms                                                                  |
 *           v                                       the pool's answer, or an idle VM    |
 *         OVER <----- the pool has none, timeout_ms, answer, garbage, VM gone --- SENT <+
 *           |
 *           +--> done(), the VM is released or idle, the record is kept (function_records.h)
 *
 *   QUEUED     waits for its turn, in order. Only functions_pump moves it, or its deadline.
 *   ACQUIRING  its acquire is the pool's, which has the time limits.
 *   SENT       a VM is its own, the agent's CALL session is open (vms/agent_stream.h), or a call of
 *              the VM's itself is on (vms/clone_call.h); the request is on its way in or the answer on
 *              its way out. deadline_ns is timeout_ms from here on. It is never sent to a second VM.
 *   OVER       result, status and sentence are final. functions_pump tells, from the loop's turn and
 *              never from within a call of the pool's or the stream's.
 *
 * Failure modes
 *   Whatever the guest does ends in one result (enum invocation_result), in at most queue_ms, the
 *   pool's own limits and timeout_ms one after the other; its VM is killed unless it has answered and
 *   may be used again. A guest can make its answer wrong, slow or long, and nothing else: its bytes
 *   are cut by agent_stream.c and http_message.c, or are an answer of doorbell.c's as they are, all
 *   bounded. A client that hangs up takes its VM
 *   with it (invocation_cancel). When poold ends, or leaves its VMs to the next one, invocations are
 *   ended with INVOCATION_SHUTDOWN and their VMs killed: they are not marked as kept (clone.h), so
 *   that the next poold knows of no lease.
 *
 * Bounds, of one function: `concurrency` VMs and answers (6 MiB each, its caller's: charge), `queue`
 * requests waiting, FUNCTION_RECORDS records with FUNCTION_LOG_BYTES of log each. Loop thread only. */
#ifndef VOLT_POOLD_FUNCTION_H
#define VOLT_POOLD_FUNCTION_H

#include "base/list.h"
#include "functions/agent_feed.h"
#include "functions/function_records.h"
#include "functions/http_message.h"
#include "functions/runtime_api.h"
#include "pool/metrics.h"
#include "vms/agent_stream.h"
#include "vms/vms.h"

#define FUNCTION_PORT_DEFAULT 8080
#define FUNCTION_BODY_MAX (6u << 20) /* of a request, and of an answer */
#define FUNCTION_HEAD_MAX 16384u     /* the same of their heads */

enum function_runtime {
    FUNCTION_HTTP,     /* accepts HTTP/1.1 at a port: a call is one request */
    FUNCTION_LAMBDA,   /* asks for events by Lambda's Runtime API (runtime_api.h) */
    FUNCTION_DOORBELL, /* waits at its VM's doorbell (guest_abi.h): bytes in, bytes out */
    FUNCTION_RUNTIME_COUNT,
};
const char *function_runtime_name(enum function_runtime runtime);
/* -EINVAL: there is none of that name. */
int function_runtime_parse(const char *name, enum function_runtime *ret_runtime);

/* What is said of a function beside its pool. */
struct function_spec {
    char runtime[16];     /* a name of function_runtime_name */
    uint32_t concurrency; /* calls at once; 0: as many as the pool has VMs */
    uint32_t queue;       /* calls that may wait beside them */
    uint32_t reuse;       /* calls that a VM serves, one after the other */
    uint64_t queue_ms;    /* how long one may wait for its VM */
    uint64_t timeout_ms;  /* from then to its whole answer */
};

struct functions {
    struct vms *vms;
    int dir_fd;       /* STATE_DIR/functions */
    struct list all;  /* function.node */
    struct list over; /* invocation.node, OVER */
    uint32_t works;   /* on the thread pool */
};

struct function {
    struct list node;
    struct functions *functions;
    char name[POOL_NAME_BYTES]; /* its pool's too */
    struct function_spec spec;
    enum function_runtime runtime; /* spec's */
    char created[32];
    struct list queued, on, idle; /* invocations; invocations, ACQUIRING and SENT; VMs */
    uint32_t queued_count, on_count;
    uint64_t results[INVOCATION_RESULT_COUNT]; /* since poold was started */
    struct histogram total;                    /* of those that were answered, queueing included */
    struct function_records records;
    bool deleting; /* no more calls */
};

enum invocation_state {
    INVOCATION_QUEUED,
    INVOCATION_ACQUIRING,
    INVOCATION_SENT,
    INVOCATION_OVER,
};

/* What is to be asked. Texts and bytes are the caller's. */
struct function_request {
    const char *head; /* request line and headers, with the empty line */
    size_t head_bytes;
    const char *body;
    size_t body_bytes;
    bool no_body; /* the answer has none: a HEAD */
    uid_t uid;    /* who asks */
    /* Whether so many bytes more may be held of the answer, until `done` has returned. data: done's. */
    bool (*charge)(void *data, size_t bytes);
    /* Takes an answer as it is made, where its runtime makes it so (invocation->streamed), of which
     * answer.body has nothing then. False: no more for now, until invocation_resume; up to
     * RUNTIME_READ_MAX bytes come all the same. NULL: answers are whole. data: done's. */
    bool (*piece)(void *data, const char *bytes, size_t count);
};

struct invocation;
/* It is over. What it has is valid until the return; answer.body may be taken out of it. */
typedef void (*invocation_done_fn)(void *data, struct invocation *invocation);

struct function_vm {
    struct list node; /* in function->idle */
    struct function *function;
    struct invocation *invocation; /* SENT; NULL: idle, or not yet */
    struct runtime *runtime;       /* FUNCTION_LAMBDA's */
    bool broken;                   /* it serves no call any more */
    struct slot *slot;
    char id[SLOT_ID_BYTES]; /* the slot's, which may be gone */
    uint32_t calls;
    uint64_t idle_until_ns;
};

struct invocation {
    struct list node; /* in function->queued or on, or functions->over */
    struct function *function;
    enum invocation_state state;
    enum invocation_result result;
    char id[INVOCATION_ID_BYTES];
    char sentence[ERR_MSG_BYTES]; /* why, unless it was answered */
    struct function_request request;
    struct acquire acquire;
    struct function_vm *vm;
    struct agent_stream *stream; /* FUNCTION_HTTP's, as is the next */
    struct agent_feed feed;
    struct http_message answer; /* of the other runtimes: status 200 and a body, */
    bool function_error;        /* which tells of an error */
    bool streamed;              /* it has come, or comes, in pieces; an error of it: its type */
    char error_type[64];
    struct function_log log;
    uint64_t asked_ns, asked_wall_ns, sent_ns, deadline_ns;
    invocation_done_fn done; /* NULL: nobody wants to know any more */
    void *data;
};

void functions_init(struct functions *functions, struct vms *vms);
/* Opens STATE_DIR/functions; what is there is loaded by functions_load (function_keep.h). Blocks. */
int functions_open(struct functions *functions, const char *state_dir, struct err *err);
/* The loop still runs: from now on calls end at once, those under way too. */
void functions_stop(struct functions *functions);
/* Nothing of it is under way. */
bool functions_idle(const struct functions *functions);
/* Tells what is over, starts what may start: of each turn, before replies are written. */
void functions_pump(struct functions *functions);
/* Acts on deadlines that have passed; returns the next one, UINT64_MAX for none. */
uint64_t functions_tick(struct functions *functions, uint64_t now);
void functions_fini(struct functions *functions);

/* NULL: there is none. */
struct function *function_find(const struct functions *functions, const char *name);

/* How long a request of this function may be, in bytes. */
size_t function_request_max(const struct function *function);

/* Queues a call and starts it if it may. done(data, ...) follows, never from within. 0; -EBUSY: the
 * queue is full; -EMSGSIZE: it is longer than function_request_max; -ESHUTDOWN; -ENOMEM. */
int function_invoke(struct function *function, const struct function_request *request,
                    invocation_done_fn done, void *data, struct invocation **ret_invocation);
/* The pieces of its answer are wanted again. */
void invocation_resume(struct invocation *invocation);
/* Its client is gone: done is not called, its VM ends. Before it is OVER or after. */
void invocation_cancel(struct invocation *invocation);

/* ---- Between the files of this room ---- */

/* functions.c: a function of all; NULL without memory. Its end, when nothing is under way. */
struct function *function_add(struct functions *functions, const char *name,
                              const struct function_spec *spec, const char *created);
void function_free(struct function *function);
/* Ends calls and idle VMs. */
void function_stop(struct function *function, const char *sentence);

/* invocation.c: QUEUED to ACQUIRING or SENT. */
void invocation_start(struct invocation *invocation);
/* lambda.c: SENT, of a FUNCTION_LAMBDA. */
void lambda_send(struct invocation *invocation);
/* Connects fd (borrowed) to the agent of a VM that is the function's. 0 or -errno. */
int function_vm_connect(const struct function_vm *vm, int fd);
/* doorbell.c: SENT, of a FUNCTION_DOORBELL. */
void doorbell_send(struct invocation *invocation);
/* To OVER; the first call counts. sentence may be NULL. */
void invocation_end(struct invocation *invocation, enum invocation_result result,
                    const char *sentence);
/* OVER: tells, and frees it. */
void invocation_finish(struct invocation *invocation);
/* Ends a VM that is the function's, if it is there yet. Frees vm. */
void function_vm_end(struct function *function, struct function_vm *vm);

#endif
