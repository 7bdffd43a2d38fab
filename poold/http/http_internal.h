/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the HTTP server share; nobody else includes it. Each calls those below it only:
 *   http_server.c  lanes, start and end
 *   http_accept.c  the socket and who may connect
 *   http.c         requests
 *   http_guard.c   who asks, of requests by TCP
 *   http_turn.c    whose turn it is
 *   http_query.c   what is in a request
 *   http_stream.c  replies that go on and on
 *   http_reply.c   replies
 *   http_phase.c   time limits
 *   http_cost.c    what a request takes
 * What they leave to be done in a lane is done when the loop comes to it: config.schedule. */
#ifndef VOLT_POOLD_HTTP_INTERNAL_H
#define VOLT_POOLD_HTTP_INTERNAL_H

#include "http/http.h"

#define HTTP_HEAD_MAX 16384u /* of a request; and of it and its reply together */

enum http_lane_kind {
    HTTP_LANE_TRUSTED,
    HTTP_LANE_OTHERS,
    HTTP_LANE_COUNT,
};

struct http_lane {
    struct http *http;
    struct MHD_Daemon *mhd; /* NULL: not started */
    uv_poll_t poll;
    bool dirty; /* there is something to do for it */
};

struct http {
    struct http_config config;
    struct http_lane lanes[HTTP_LANE_COUNT];
    uv_timer_t again; /* MHD has more to do than fits into one turn */
    unsigned open_count;
    bool running; /* in MHD_run */
    bool stopping;

    /* http_accept.c */
    struct unix_listener listener; /* config.listener; fd -1: closed */
    uv_poll_t listen;
    uv_timer_t accept_again;
    bool accept_paused, accept_failed; /* not accepting for now; and that was said */
    int spare_fd;                      /* given up for a connection when there is no other */
    struct http_connection *accepting; /* while MHD is given it */

    /* http_phase.c */
    struct list phases[HTTP_PHASE_COUNT];
    uv_timer_t phase_timer;
    uint64_t phase_due_ns; /* when it is due; UINT64_MAX: not at all */

    /* http_turn.c */
    void (*dispatch)(struct http_request *request);
    uv_prepare_t turn_begin;
    uv_idle_t turn_go_on;
    uint64_t turn_end_ns;     /* for users who are not trusted; 0: it has not begun */
    struct list held_clients; /* client.held_node */

    unsigned open_handles; /* while it is destroyed */
};

/* ---- http_server.c ---- */

void http_run(struct http *http);
/* For a handle's uv_close. */
void http_handle_closed(uv_handle_t *handle);

/* ---- http.c: MHD's callbacks ---- */

enum MHD_Result http_on_request(void *lane, struct MHD_Connection *mhd, const char *path,
                                const char *method, const char *version, const char *upload,
                                size_t *upload_bytes, void **context);
/* Of a client by TCP: its first line is there. What it returns is the request. */
void *http_on_target(void *lane, const char *target, struct MHD_Connection *mhd);
void http_on_completed(void *lane, struct MHD_Connection *mhd, void **context,
                       enum MHD_RequestTerminationCode code);
/* It is whole and it is its turn: gives it to its handler, or refuses it. */
void http_request_dispatch(struct http_request *request);

/* ---- http_guard.c ---- */

/* Of a request by TCP, when its first line is there; NULL: out of memory. */
struct http_proof *http_guard_make(const char *target);
/* Its head is there. True: it is its caller's, who is the connection's peer until http_guard_free. Else
 * its body goes to http_guard_take, and what has come of it is told by http_guard_end: true, with
 * the body (the caller's, still charged to it), or it has replied. */
bool http_guard_begin(struct http_request *request, const char *method);
void http_guard_take(struct http_request *request, const char *data, size_t bytes);
bool http_guard_end(struct http_request *request, const char *method, char **ret_body,
                    size_t *ret_bytes);
/* The request is over. Fine when it has no proof. */
void http_guard_free(struct http_request *request);

/* ---- http_cost.c ---- */

/* It counts as open, or no longer does. */
void http_request_count(struct http_request *request, bool open);
/* What it was charged with is held no more. */
void http_request_uncharge(struct http_request *request);

/* ---- http_accept.c ---- */

int http_accept_start(struct http *http, struct err *err);
/* Accepts no more and removes the socket. Twice is fine. */
void http_accept_stop(struct http *http);
/* A descriptor came free: goes on if it was paused. */
void http_accept_resume(struct http *http);
void http_on_connection(void *lane, struct MHD_Connection *mhd, void **context,
                        enum MHD_ConnectionNotificationCode code);

/* ---- http_phase.c ---- */

void http_phase_init(struct http *http);
void http_phase_enter(struct http_connection *connection, enum http_phase phase);
/* It is gone. */
void http_phase_leave(struct http_connection *connection);
/* Closes it. Not from within MHD_run, and not in HTTP_BUSY. */
void http_connection_shut(struct http_connection *connection);

/* ---- http_turn.c ---- */

/* dispatch: called when it is a request's turn. */
void http_turn_init(struct http *http, void (*dispatch)(struct http_request *request));
/* Dispatches it, now or when its turn comes: then it is suspended. */
void http_turn_dispatch(struct http_request *request);
/* Refuses all that wait for their turn. */
void http_turn_stop(struct http *http);

/* ---- http_query.c ---- */

/* Whether the request's query has nothing that its route does not know. False: it has replied. */
bool http_query_check(struct http_request *request);
/* The methods that `path` has, as for Allow. */
void http_allowed_methods(const struct http *http, const char *path,
                          char ret_text[HTTP_PARAM_BYTES]);
/* Whether path is that of the route; what stands for {} goes to ret_param. */
bool http_route_matches(const struct route *route, const char *path,
                        char ret_param[HTTP_PARAM_BYTES]);
bool http_method_matches(const struct route *route, const char *method);

/* ---- http_reply.c ---- */

/* The text of an error's body, with a newline; malloc'ed. */
char *http_error_text(enum api_error code, const char *message);
unsigned http_error_status(enum api_error code);
/* Sends response (taken) as the request's reply. */
void http_reply_response(struct http_request *request, unsigned status,
                         struct MHD_Response *response);
/* request->param has the methods that are. */
void http_reply_not_allowed(struct http_request *request);
/* The connection of a watched request goes on or is gone: no more watching. */
void http_watch_stop(struct http_request *request);
/* The request is over; an upgrade that never happened is told. */
void http_upgrade_end(struct http_request *request);

#endif
