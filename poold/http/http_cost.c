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

void http_request_uncharge(struct http_request *request)
{
    access_bytes_give(request->http->config.access, &request->connection->peer,
                      request->charged_bytes);
    request->charged_bytes = 0;
}

void http_hold_begin(struct http_hold *hold, const struct http_request *request)
{
    const struct peer *peer = &request->connection->peer;

    *hold = (struct http_hold){ .access = request->http->config.access,
                                .peer = { .client = peer->client, .unlimited = peer->unlimited } };
    peer->client->holds++;
}

bool http_hold_take(struct http_hold *hold, uint64_t bytes)
{
    if (!access_bytes_take(hold->access, &hold->peer, bytes))
        return false;
    hold->bytes += bytes;
    return true;
}

void http_hold_give(struct http_hold *hold, uint64_t bytes)
{
    access_bytes_give(hold->access, &hold->peer, bytes);
    hold->bytes -= bytes;
}

void http_hold_end(struct http_hold *hold)
{
    http_hold_give(hold, hold->bytes);
    hold->peer.client->holds--;
    access_client_leave(hold->peer.client);
}
