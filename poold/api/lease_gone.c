/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the answers about leases that are no more; see lease_gone.h. */
#include "api/lease_gone.h"

#include "api/lease_news.h"
#include "api/lease_text.h"
#include "base/json_text.h"

void lease_gone_reply(struct http_request *request, const struct history_event *ended)
{
    const enum lease_end end = (enum lease_end)ended->end;
    json_t *detail = history_member(ended, "detail");
    char when[WALL_TEXT_BYTES];

    wall_text(ended->wall_ns, when);
    http_reply_error_with(
        request, API_LEASE_ENDED,
        json_pack("{s:o, s:o, s:O, s:o}", "lease", json_text(ended->lease), "reason",
                  json_text(lease_end_name(end)), "detail", detail, "ended", json_text(when)),
        "the lease ended at %s: %s%s%s (%s)", when, lease_end_sentence(end),
        json_is_string(detail) ? ": " : "", json_is_string(detail) ? json_string_value(detail) : "",
        lease_end_name(end));
    json_decref(detail);
}

void lease_missing_reply(struct http_request *request)
{
    struct api *api = api_of(request);
    const struct peer *peer = &request->connection->peer;
    const struct history_event *ended;

    lease_news_tell(api);
    ended = history_lease_end(api->history, request->param, peer->rights & RIGHT_ADMIN, peer->uid);
    if (ended)
        lease_gone_reply(request, ended);
    else
        http_reply_error(request, API_NO_SUCH_LEASE,
                         "there is no lease '%s', and none is known that has ended",
                         request->param);
}
