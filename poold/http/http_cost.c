/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what a request is counted as, and whom its memory is charged to; see http.h. */
#include <limits.h>

#include "http/http_internal.h"

void http_request_count(struct http_request *request, bool open)
{
    if (request->counted == open)
        return;
    request->counted = open;
    request->http->open_count += open ? 1 : UINT_MAX;
}

bool http_request_charge(struct http_request *request, uint64_t bytes)
{
    struct access *access = request->http->config.access;

    if (!access_bytes_take(access, &request->connection->peer, bytes))
        return false;
    request->charged_bytes += bytes;
    return true;
}

void http_request_hold(const struct http_request *request, struct access_hold *ret_hold)
{
    access_hold_begin(ret_hold, request->http->config.access, &request->connection->peer);
}
