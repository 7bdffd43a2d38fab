/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP: the socket, libmicrohttpd driven from the loop, requests and their replies. It knows no API:
 * that comes as a table of routes.
 *
 * How it works
 *   1. Connections are accepted here (http_accept.c), so that a peer's user is known before anything
 *      is spent on it; one over its limit is told so and closed. The others are handed to one of two
 *      MHD daemons without threads, lanes: that of trusted users and that of all others, so that
 *      nothing which grows with the number of a lane's connections is waited for by the other lane.
 *   2. Each lane's epoll fd is one uv_poll_t of the loop. MHD_run is called when that is readable,
 *      and by http_flush.
 *   3. A request is dispatched once it is whole; of users who are not trusted, only so many in a turn
 *      of the loop, user by user (http_turn.c). Its handler replies at once, or leaves it open: then
 *      it is suspended, which takes its socket out of the epoll set, until a reply is given.
 *   4. http_flush writes replies given to suspended requests without waiting for the loop's next
 *      turn.
 *   5. A suspended request's client may vanish unnoticed: http_watch has a handler told of it.
 *   6. In every phase but HTTP_BUSY, whose end is the handler's to bring about, a connection has a
 *      time by which it must leave the phase, whatever bytes come or go meanwhile (http_phase.c).
 *
 *   7. A reply may go on and on (http_stream.c): its connection is suspended while there is nothing to
 *      write, and has a time limit while there is.
 *
 *   8. Clients by TCP have a server of their own: another struct http, whose access is of callers
 *      (access.h), with limits and lanes of its own. Each of its requests must prove whose it is
 *      (http_guard.c) before a route hears of it.
 *
 * Loop thread only. */
#ifndef VOLT_POOLD_HTTP_H
#define VOLT_POOLD_HTTP_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <uv.h>

#include "base/err.h"
#include "base/list.h"
#include "base/unix_listen.h"
#include "http/access.h"
#include "http/json_keys.h"

#define HTTP_BODY_MAX 65536u
#define HTTP_PARAM_BYTES 72
#define HTTP_FROM_BYTES 64 /* of an address and a port in text */

struct http;
struct http_request;
struct route;

/* The codes of docs/api.md, with their status. */
#define API_ERROR_MAP(X)                                                                           \
    X(API_BAD_JSON, "bad_json", 400)                                                               \
    X(API_BAD_REQUEST, "bad_request", 400)                                                         \
    X(API_BAD_NAME, "bad_name", 400)                                                               \
    X(API_FORBIDDEN, "forbidden", 403)                                                             \
    X(API_NO_SUCH_POOL, "no_such_pool", 404)                                                       \
    X(API_NO_SUCH_LEASE, "no_such_lease", 404)                                                     \
    X(API_NO_SUCH_SNAPSHOT, "no_such_snapshot", 404)                                               \
    X(API_NO_SUCH_IMAGE, "no_such_image", 404)                                                     \
    X(API_NO_SUCH_FUNCTION, "no_such_function", 404)                                               \
    X(API_NO_SUCH_VOLUME, "no_such_volume", 404)                                                   \
    X(API_NOT_FOUND, "not_found", 404)                                                             \
    X(API_METHOD_NOT_ALLOWED, "method_not_allowed", 405)                                           \
    X(API_POOL_EXISTS, "pool_exists", 409)                                                         \
    X(API_POOL_BUSY, "pool_busy", 409)                                                             \
    X(API_PORT_BUSY, "port_busy", 409)                                                             \
    X(API_FUNCTION_BUSY, "function_busy", 409)                                                     \
    X(API_REQUEST_PENDING, "request_pending", 409)                                                 \
    X(API_LEASE_ENDED, "lease_ended", 410)                                                         \
    X(API_KEY_REUSED, "key_reused", 422)                                                           \
    X(API_IMAGE_EXISTS, "image_exists", 409)                                                       \
    X(API_IMAGE_BUSY, "image_busy", 409)                                                           \
    X(API_VOLUME_EXISTS, "volume_exists", 409)                                                     \
    X(API_VOLUME_BUSY, "volume_busy", 409)                                                         \
    X(API_NO_SLOT, "no_slot", 409)                                                                 \
    X(API_POOL_NOT_READY, "pool_not_ready", 409)                                                   \
    X(API_POOL_DRAINING, "pool_draining", 409)                                                     \
    X(API_TOO_LARGE, "too_large", 413)                                                             \
    X(API_UPGRADE_REQUIRED, "upgrade_required", 426)                                               \
    X(API_TOO_MANY, "too_many", 429)                                                               \
    X(API_INTERNAL, "internal", 500)                                                               \
    X(API_BOOT_FAILED, "boot_failed", 500)                                                         \
    X(API_RESTORE_FAILED, "restore_failed", 500)                                                   \
    X(API_VOLUME_FAILED, "volume_failed", 500)                                                     \
    X(API_FUNCTION_FAILED, "function_failed", 502)                                                 \
    X(API_NO_VM_FREE, "no_vm_free", 503)                                                           \
    X(API_NO_ROOM, "no_room", 503)                                                                 \
    X(API_SHUTTING_DOWN, "shutting_down", 503)                                                     \
    X(API_FUNCTION_TIMEOUT, "function_timeout", 504)                                               \
    X(API_NO_SPACE, "no_space", 507)

enum api_error {
#define X(name, code, status) name,
    API_ERROR_MAP(X)
#undef X
        API_ERROR_COUNT,
};

/* What a connection is at, each with its time limit (struct http_limits). */
enum http_phase {
    HTTP_HEAD,    /* accepted; its first request's head is not whole */
    HTTP_BODY,    /* the head is, the body is not */
    HTTP_STREAM,  /* a long body: the time is for each part of it */
    HTTP_BUSY,    /* with its handler, or waiting for its turn. No limit but the handler's */
    HTTP_REPLY,   /* the reply is being written */
    HTTP_IDLE,    /* between requests; the time goes on until the next head is whole */
    HTTP_CLOSING, /* shut down; MHD is about to close it. No limit: nobody can hold it up */
    HTTP_PHASE_COUNT,
};

struct http_connection {
    struct http_lane *lane;
    struct MHD_Connection *mhd;
    int fd; /* MHD's */
    struct peer peer;
    enum http_phase phase;
    struct list phase_node;     /* in http->phases[phase], the oldest first */
    uint64_t deadline_ns;       /* UINT64_MAX: none */
    bool replied;               /* of one by TCP: idle since just now (http_server.c) */
    bool owns;                  /* set by handlers: something ends with it (http_config) */
    char from[HTTP_FROM_BYTES]; /* of one by TCP: its address; else "" */
};

struct http_watch;
struct http_stream;
struct http_proof;

/* Why a request by TCP is not its caller's. */
struct http_denial {
    unsigned status;
    const char *type; /* as AWS calls it; constant */
    char sentence[ERR_MSG_BYTES];
};

/* A route whose body is not JSON in memory but goes on as it comes. The first three are called in
 * this order, then the route's handle when the body is whole. */
struct http_body_ops {
    /* The headers are there. False: it has replied, and the connection ends with that. */
    bool (*begin)(struct http_request *request);
    /* Takes up to `bytes` bytes and says how many. Those left over come again, at once or, after
     * http_body_pause, when http_body_resume was called. */
    size_t (*take)(struct http_request *request, const char *data, size_t bytes);
    /* The client hung up before the body was whole: the request is about to be freed. */
    void (*gone)(struct http_request *request);
};

struct http_request {
    struct list held_node; /* in its client's, while it waits for its turn */
    struct http *http;
    void *context; /* http_config's */
    struct MHD_Connection *mhd;
    struct http_connection *connection;
    const struct route *route;
    /* What stands for {} in the route's path; "". Of a method that is refused: those that are not. */
    char param[HTTP_PARAM_BYTES];
    uint64_t began_ns; /* when it was whole */
    char *body;        /* body_bytes of it, not NUL-terminated */
    size_t body_bytes, body_room;
    char body_inline[256];
    uint64_t charged_bytes; /* of its client's share of memory */
    bool counted;           /* in http->open_count */
    bool answered, suspended;
    bool streams;             /* route->body takes it */
    enum api_error refusal;   /* API_ERROR_COUNT: none; else found before the body was read */
    struct http_proof *proof; /* of one by TCP; else NULL */
    bool begun;               /* its head is there */
    bool guarded;             /* whose it is, is told when it is whole */
    struct http_watch *watch;
    struct http_stream *stream;           /* its reply goes on and on; else NULL */
    void (*upgraded)(void *data, int fd); /* not called yet; else NULL */
    void *upgrade_data;
    void *call; /* the handler's own, which it frees before it replies */
};

/* One method of one path, with all that it takes: what is in neither table is refused. */
struct route {
    const char *method; /* a GET is a HEAD, too */
    const char *path;   /* segments; "{}" stands for one name */
    uint32_t rights;    /* one of the bits; 0: none is needed */
    void (*handle)(struct http_request *request);
    const struct json_table *json;    /* of the body; NULL: it is not read */
    const char *query;                /* parameters, with blanks between; NULL: none */
    const struct http_body_ops *body; /* NULL: at most HTTP_BODY_MAX, kept in request->body */
};

struct http_limits {
    uint32_t connections;      /* of one user */
    uint32_t connections_all;  /* of all users */
    uint32_t connections_kept; /* of those, for trusted ones */
    uint64_t request_ms;       /* for the head of the first request, and for a body */
    uint64_t transfer_ms;      /* for reading a reply, and for each MiB of an image */
    uint64_t idle_ms;          /* from a reply to the whole head of the next request */
};

struct http_config {
    uv_loop_t *loop;
    /* http_create takes it, also when it fails; fd -1: there is none, but http_take. */
    struct unix_listener listener;
    struct access *access; /* http sets its shares */
    const struct route *routes;
    size_t route_count;
    struct http_limits limits;
    void *context; /* of requests and of the functions below */
    /* Have http_flush called soon, but not from within this call. */
    void (*schedule)(void *context);
    /* Of connections that `owns` is set of: whether one has a reason to be kept although it has been
     * idle for idle_ms; and its end. */
    bool (*keeps)(void *context, const struct http_connection *connection);
    void (*closed)(void *context, const struct http_connection *connection);
    /* Of callers: replies to a request that is nobody's; and how long the body of one that is signed
     * may be. */
    void (*denied)(struct http_request *request, const struct http_denial *denial);
    size_t signed_body_max;
};

/* Starts serving. */
int http_create(struct http **ret_http, const struct http_config *config, struct err *err);
/* From now on. What is under way keeps its time, and at most that longer than it ought to. */
void http_set_limits(struct http *http, const struct http_limits *limits);
/* The end begins, while the loop still runs: accepts no more, removes the socket, closes connections
 * that wait for their clients (but for a reply to be read), refuses requests that wait for their
 * turn. */
void http_stop(struct http *http);
/* Connections and socket are the next poold's: no more are accepted, none is closed. */
void http_hand_over(struct http *http);
/* A client's connection that an earlier poold had (fd is taken), between requests. NULL: it is over. */
struct http_connection *http_adopt(struct http *http, int fd);
/* A connection of a client by TCP at that address, which somebody else has accepted: as if it had been
 * accepted here (fd is taken). */
void http_take(struct http *http, int fd, const struct sockaddr *address);
/* The listening socket that is this process's own, with a path; -1: none. */
int http_listener(const struct http *http);
/* Every request must have been answered. */
void http_destroy(struct http *http);
/* Requests that handlers have not answered yet. */
unsigned http_open_requests(const struct http *http);

/* Writes the replies that wait. Harmless at any time. */
void http_flush(struct http *http);

/* Keeps a descriptor for a connection, if there is none that is kept: before others can take it.
 * False: nor can one be had, so no client can come in. */
bool http_spare_take(struct http *http);

/* Exactly one reply a request; the request must not be used afterwards. */
void http_reply_json(struct http_request *request, unsigned status, json_t *body); /* takes body */
/* Copies text. type: a MIME type. */
void http_reply_text(struct http_request *request, unsigned status, const char *type,
                     const char *text, size_t bytes);
/* With headers of its own, and a body that it takes (malloc); NULL for none. */
struct http_header {
    const char *name, *value;
};
/* Whether so many fit in a reply to the request, whose own head takes of the same room. */
bool http_reply_fits(const struct http_request *request, const struct http_header *headers,
                     size_t header_count);
void http_reply_with(struct http_request *request, unsigned status,
                     const struct http_header *headers, size_t header_count, char *body,
                     size_t bytes);
void http_reply_empty(struct http_request *request, unsigned status);
void http_reply_error(struct http_request *request, enum api_error code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, with members (an object, taken) beside code and message. */
void http_reply_error_with(struct http_request *request, enum api_error code, json_t *members,
                           const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* 101 with `Upgrade: protocol`; then upgraded(data, fd) gets the raw socket, borrowed and blocking;
 * or fd -1 when it never comes to that. It is called exactly once. */
void http_reply_upgrade(struct http_request *request, const char *protocol,
                        void (*upgraded)(void *data, int fd), void *data);
/* 200, and then what read gives, as chunks, until the client hangs up or http_stream_end: read fills in
 * up to room bytes and returns how many; 0: none now, and it is asked again after http_stream_wake.
 * closed is called exactly once, when it is over; until then the request may be used for these two. */
void http_reply_stream(struct http_request *request, const char *type,
                       size_t (*read)(void *data, char *buffer, size_t room),
                       void (*closed)(void *data), void *data);
/* Neither is for within read. */
void http_stream_wake(struct http_request *request);
/* What read gives yet is the last of it. */
void http_stream_end(struct http_request *request);

/* The value of a header, NULL for none. */
const char *http_header(const struct http_request *request, const char *name);
/* What a client by TCP asks for, as it came; NULL of others. */
const char *http_target(const struct http_request *request);
/* The value of the Upgrade header, NULL for none. */
const char *http_upgrade_header(const struct http_request *request);
/* The value of a query parameter of the route, NULL for none. */
const char *http_query(const struct http_request *request, const char *name);
/* One that is 1, true, yes, 0, false or no; false if it is absent. False: it has replied. */
bool http_query_bool(struct http_request *request, const char *name, bool *ret_value);

/* From within http_body_ops.take: no more bytes until http_body_resume. */
void http_body_pause(struct http_request *request);
void http_body_resume(struct http_request *request);

/* Tells when the client of an open request hangs up, once. */
int http_watch(struct http_request *request, void (*gone)(struct http_request *request));

/* Counts memory that is held for the request until it is over, whatever for. False: its user has
 * too much, for API_TOO_MANY. */
bool http_request_charge(struct http_request *request, uint64_t bytes);
/* The same for what is held longer than that, and than the client may be there. */
struct http_hold {
    struct access *access;
    struct peer peer; /* as far as it is about shares */
    uint64_t bytes;
};
void http_hold_begin(struct http_hold *hold, const struct http_request *request);
bool http_hold_take(struct http_hold *hold, uint64_t bytes);
void http_hold_give(struct http_hold *hold, uint64_t bytes);
/* Gives all of it back. */
void http_hold_end(struct http_hold *hold);

/* Parses the body as a JSON object by the route's table into ret; an empty body is an empty object.
 * False: it has replied. */
bool http_read_body(struct http_request *request, void *ret);
/* The body as JSON, an empty one as an empty object: the caller's. NULL: it has replied. */
json_t *http_read_json(struct http_request *request);
/* Replies with what is wrong with a body's keys. */
void http_reply_bad_keys(struct http_request *request, const struct err *err);

#endif
