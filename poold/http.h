/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP: the socket, libmicrohttpd driven from the loop, requests and their replies.
 *
 * How it works
 *   1. libmicrohttpd runs without threads; its epoll fd is one uv_poll_t of the loop. MHD_run is
 *      called when that is readable, and by http_flush.
 *   2. A request is dispatched once it is whole. Its handler replies at once, or leaves it open:
 * then it is suspended, which takes its socket out of the epoll set, until a reply is given.
 *   3. http_flush writes replies given to suspended requests without waiting for the loop's next
 * turn.
 *   4. A suspended request's client may vanish unnoticed: http_watch has a handler told of it.
 *
 * Loop thread only. */
#ifndef VOLT_POOLD_HTTP_H
#define VOLT_POOLD_HTTP_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <uv.h>

#include "access.h"
#include "base/err.h"
#include "list.h"

#define HTTP_BODY_MAX 65536u
#define HTTP_PARAM_BYTES 72

struct daemon;
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
    X(API_NOT_FOUND, "not_found", 404)                                                             \
    X(API_METHOD_NOT_ALLOWED, "method_not_allowed", 405)                                           \
    X(API_POOL_EXISTS, "pool_exists", 409)                                                         \
    X(API_POOL_BUSY, "pool_busy", 409)                                                             \
    X(API_PORT_BUSY, "port_busy", 409)                                                             \
    X(API_IMAGE_EXISTS, "image_exists", 409)                                                       \
    X(API_IMAGE_BUSY, "image_busy", 409)                                                           \
    X(API_POOL_NOT_READY, "pool_not_ready", 409)                                                   \
    X(API_POOL_DRAINING, "pool_draining", 409)                                                     \
    X(API_TOO_LARGE, "too_large", 413)                                                             \
    X(API_UPGRADE_REQUIRED, "upgrade_required", 426)                                               \
    X(API_TOO_MANY, "too_many", 429)                                                               \
    X(API_INTERNAL, "internal", 500)                                                               \
    X(API_BOOT_FAILED, "boot_failed", 500)                                                         \
    X(API_RESTORE_FAILED, "restore_failed", 500)                                                   \
    X(API_NO_VM_FREE, "no_vm_free", 503)                                                           \
    X(API_SHUTTING_DOWN, "shutting_down", 503)

enum api_error {
#define X(name, code, status) name,
    API_ERROR_MAP(X)
#undef X
        API_ERROR_COUNT,
};

struct http_connection {
    struct list node;
    struct peer peer;
    bool request_seen;
    bool over_limit; /* every request is refused */
};

struct http_watch;

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
    struct list node;
    struct http *http;
    struct daemon *daemon;
    struct MHD_Connection *mhd;
    struct http_connection *connection;
    const struct route *route;
    char param[HTTP_PARAM_BYTES]; /* what stands for {} in the route's path; "" */
    uint64_t began_ns;            /* when it was whole */
    char *body;                   /* body_bytes of it, not NUL-terminated */
    size_t body_bytes, body_room;
    char body_inline[256];
    bool answered, suspended, body_too_large;
    bool streams;           /* route->body takes it */
    enum api_error refusal; /* API_ERROR_COUNT: none; else found before the body was read */
    struct http_watch *watch;
    void (*upgraded)(void *data, int fd); /* not called yet; else NULL */
    void *upgrade_data;
    void *call; /* the handler's own, which it frees before it replies */
};

/* Rights that a route needs: one of the bits; 0: none. */
struct route {
    const char *method;
    const char *path; /* segments; "{}" stands for one name */
    uint32_t rights;
    void (*handle)(struct http_request *request);
    const struct http_body_ops *body; /* NULL: at most HTTP_BODY_MAX, kept in request->body */
};

/* The API's side of it (api.c, api_leases.c): whether the client lacks the route's right, and the
 * end of a connection, with which its bound leases end. */
bool api_forbidden(const struct http_request *request);
void api_connection_closed(struct daemon *daemon, struct http_connection *connection);

/* Listens and starts serving routes[0..route_count). */
int http_create(struct http **ret_http, struct daemon *daemon, const struct route *routes,
                size_t route_count, struct err *err);
/* Called before destroy, while the loop still runs: accepts no more, removes the socket. */
void http_stop_listening(struct http *http);
/* Every request must have been answered. */
void http_destroy(struct http *http);
/* Requests that have no reply yet. */
unsigned http_open_requests(const struct http *http);

/* Writes the replies that wait. Harmless at any time. */
void http_flush(struct http *http);

/* Exactly one reply a request; the request must not be used afterwards. */
void http_reply_json(struct http_request *request, unsigned status, json_t *body); /* takes body */
/* Copies text. type: a MIME type. */
void http_reply_text(struct http_request *request, unsigned status, const char *type,
                     const char *text, size_t bytes);
void http_reply_empty(struct http_request *request, unsigned status);
void http_reply_error(struct http_request *request, enum api_error code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* 101 with `Upgrade: protocol`; then upgraded(data, fd) gets the raw socket, borrowed and blocking;
 * or fd -1 when it never comes to that. It is called exactly once. */
void http_reply_upgrade(struct http_request *request, const char *protocol,
                        void (*upgraded)(void *data, int fd), void *data);
/* The value of the Upgrade header, NULL for none. */
const char *http_upgrade_header(const struct http_request *request);
/* The value of a query parameter, NULL for none. */
const char *http_query(const struct http_request *request, const char *name);

/* From within http_body_ops.take: no more bytes until http_body_resume. */
void http_body_pause(struct http_request *request);
void http_body_resume(struct http_request *request);

/* Tells when the client of an open request hangs up, once. */
int http_watch(struct http_request *request, void (*gone)(struct http_request *request));

/* Parses the body as a JSON object by keys into ret; an empty body is an empty object. On failure
 * it has replied. */
struct json_key;
bool http_read_body(struct http_request *request, const struct json_key *keys, size_t key_count,
                    void *ret);

#endif
