/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway's HTTP: calls, what a call may take, and replies.
 *
 * How it works
 *   MHD has a thread for each connection. It gathers a call's body (or gives it to the route's `take`
 *   as it comes) and then calls the route's `handle`, which gives exactly one reply. Who may call is
 *   decided by the head alone; a call that is refused has its body dropped, and then its reply.
 *
 * Bounds: SERVER_CONNECTIONS connections; SANDBOX_CALLS_MAX calls of one sandbox; heads of 16 KiB;
 * bodies of SERVER_BODY_MAX, with SERVER_JSON_PARTS values and names in them, of all connections together
 * SERVER_BODIES_MAX; SERVER_IDLE_S for a client that neither sends nor reads; SERVER_STRANGER_S for one
 * to make a call that it may make, whatever it sends meanwhile. */
#ifndef VOLT_CLI_E2B_SERVER_H
#define VOLT_CLI_E2B_SERVER_H

#include <jansson.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "e2b.h"

#define SERVER_CONNECTIONS 512
#define SERVER_BODY_MAX (4u << 20)
#define SERVER_BODIES_MAX (64u << 20)
#define SERVER_IDLE_S 120
#define SERVER_STRANGER_S 20
#define SERVER_JSON_PARTS 20000u
#define SERVER_PARAM_BYTES 72
#define SERVER_USER_BYTES 64

struct sandbox;
struct sandboxes;
struct call;
struct transfer;
struct stranger;

/* Which of E2B's servers a call is for, and so how its errors look and who may make it. */
enum call_kind {
    CALL_API,    /* of sandboxes: X-API-KEY; {"code": 404, "message": ...} */
    CALL_ENVD,   /* of one sandbox: X-Access-Token; the same */
    CALL_FILES,  /* of one sandbox: X-Access-Token, or a signature in the query; the same */
    CALL_UNARY,  /* of one sandbox, Connect: JSON both ways; {"code": "not_found", ...} */
    CALL_STREAM, /* of one sandbox, Connect: envelopes both ways */
    CALL_HEALTH, /* of one sandbox, without a token */
};

struct route {
    const char *method, *path; /* "{}" stands for one part */
    enum call_kind kind;
    void (*handle)(struct call *call);
    /* Takes some of the body; NULL: it is gathered. Bytes of calls that are refused never get there. */
    void (*take)(struct call *call, const char *data, size_t bytes);
};

/* The connect protocol's errors, with HTTP's status. */
#define RPC_ERROR_MAP(X)                                                                           \
    X(RPC_CANCELED, "canceled", 499)                                                               \
    X(RPC_UNKNOWN, "unknown", 500)                                                                 \
    X(RPC_INVALID_ARGUMENT, "invalid_argument", 400)                                               \
    X(RPC_DEADLINE_EXCEEDED, "deadline_exceeded", 504)                                             \
    X(RPC_NOT_FOUND, "not_found", 404)                                                             \
    X(RPC_ALREADY_EXISTS, "already_exists", 409)                                                   \
    X(RPC_PERMISSION_DENIED, "permission_denied", 403)                                             \
    X(RPC_RESOURCE_EXHAUSTED, "resource_exhausted", 429)                                           \
    X(RPC_FAILED_PRECONDITION, "failed_precondition", 400)                                         \
    X(RPC_UNIMPLEMENTED, "unimplemented", 501)                                                     \
    X(RPC_INTERNAL, "internal", 500)                                                               \
    X(RPC_UNAVAILABLE, "unavailable", 503)                                                         \
    X(RPC_UNAUTHENTICATED, "unauthenticated", 401)

enum rpc_error {
#define X(name, code, status) name,
    RPC_ERROR_MAP(X)
#undef X
        RPC_ERROR_COUNT,
};

struct server {
    const struct e2b_settings *settings;
    struct sandboxes *sandboxes;
    struct MHD_Daemon *mhd;
    pthread_mutex_t strangers_lock;
    struct stranger *strangers; /* the youngest first */
    atomic_size_t body_bytes;   /* of all calls that are being gathered or answered */
    atomic_uint connections, processes;
    atomic_ullong calls, refused; /* since the start */
};

struct call {
    struct server *server;
    struct MHD_Connection *mhd;
    const struct route *route; /* NULL: there is none */
    char param[SERVER_PARAM_BYTES];
    int key;                 /* of settings->keys; -1: none is needed */
    struct sandbox *sandbox; /* of all kinds but CALL_API; a reference */
    char *body;              /* NUL behind it */
    size_t bytes, room, dropped;
    bool counted;              /* in its sandbox's calls */
    bool by_signature;         /* it has the signature of an address, not the sandbox's token */
    struct transfer *transfer; /* transfer_calls.c's */
    /* The reply to a call that is refused, which waits until its body is dropped. */
    unsigned refusal;
    enum rpc_error refusal_code;
    char refusal_text[256];
    enum MHD_Result result; /* of the reply, for MHD */
};

/* Serves at settings->listen_fd, in threads of its own. 0 or -errno. */
int server_start(struct server *server, const struct e2b_settings *settings,
                 struct sandboxes *sandboxes, struct err *err);

/* Refuses the call, if it was not: status and RPC code, whichever its kind speaks. */
void call_refuse(struct call *call, unsigned status, enum rpc_error code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Exactly one of these a call. */
void reply_json(struct call *call, unsigned status, json_t *body); /* takes body */
void reply_json_next(struct call *call, json_t *body, const char *next_token);
void reply_empty(struct call *call, unsigned status);
void reply_text(struct call *call, unsigned status, const char *type, const char *text);
/* In the way of the call's kind. */
void reply_error(struct call *call, unsigned status, enum rpc_error code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* A response that somebody else made; takes it. */
void reply_response(struct call *call, unsigned status, struct MHD_Response *response);

const char *call_header(const struct call *call, const char *name);
const char *call_query(const struct call *call, const char *name);
/* Whether the client has hung up. */
bool call_gone(const struct call *call);
/* The body as a JSON object, a new reference; NULL: it has replied. */
json_t *call_json(struct call *call);
/* Who the call wants to be in the guest, by HTTP's basic authentication or "username" in the query, of
 * which a signature is of the latter alone: NULL for whom the image wants. False: the name is no name. */
bool call_user_read(const struct call *call, char ret_user[SERVER_USER_BYTES],
                    const char **ret_name);
#define CALL_USER_WRONG "that is no name of a user"
/* The same; where it is false it has replied, so not while a body comes. */
bool call_user(struct call *call, char ret_user[SERVER_USER_BYTES], const char **ret_name);

extern const char *const rpc_error_names[RPC_ERROR_COUNT];
unsigned rpc_error_status(enum rpc_error code);
/* The value that E2B's errors have: {"code", "message"}. */
json_t *error_json(unsigned status, const char *message);

extern const struct route routes[];
extern const size_t route_count;

#endif
