/* SPDX-License-Identifier: Apache-2.0 */
/* What http.c (connections, requests) and http_reply.c (replies, watching) share; nobody else
 * includes it. */
#ifndef VOLT_POOLD_HTTP_INTERNAL_H
#define VOLT_POOLD_HTTP_INTERNAL_H

#include <limits.h>

#include "http.h"
#include "listen.h"

struct http {
    struct daemon *daemon;
    struct MHD_Daemon *mhd;
    uv_poll_t poll;
    uv_timer_t timer; /* MHD's timeouts of connections that do not finish a request */
    const struct route *routes;
    size_t route_count;
    struct list requests; /* without a reply */
    unsigned open_count;
    struct unix_listener listener;
    unsigned open_handles; /* while it is destroyed */
    bool running, dirty;   /* in MHD_run; something to do for it */
};

/* Sends response (taken) as the request's reply. */
void http_reply_response(struct http_request *request, unsigned status,
                         struct MHD_Response *response);
/* The connection of a watched request goes on or is gone: no more watching. */
void http_watch_stop(struct http_request *request);
/* The request is over; an upgrade that never happened is told. */
void http_upgrade_end(struct http_request *request);

#endif
