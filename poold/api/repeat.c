/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the search for a request that was made before; see repeat.h. */
#include "api/repeat.h"

#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "api/lease_gone.h"
#include "api/lease_news.h"
#include "api/lease_text.h"
#include "api/leases.h"

static bool key_is_good(const char *key)
{
    const size_t bytes = strlen(key);

    for (size_t i = 0; i < bytes; i++) {
        if (key[i] < ' ' || key[i] > '~')
            return false;
    }
    return bytes >= 1 && bytes <= REPEAT_KEY_BYTES_MAX;
}

bool repeat_read(struct http_request *request, const char *pool, struct request_key *ret_key)
{
    const char *key = http_header(request, "Idempotency-Key");
    char whole[POOL_NAME_BYTES + REPEAT_KEY_BYTES_MAX + 1];

    *ret_key = (struct request_key){ .body = 0 };
    if (!key)
        return true;
    if (!key_is_good(key)) {
        http_reply_error(request, API_BAD_REQUEST,
                         "an Idempotency-Key is 1 to %u visible characters of ASCII",
                         REPEAT_KEY_BYTES_MAX);
        return false;
    }
    int bytes = snprintf(whole, sizeof whole, "%s/%s", pool, key);
    const XXH128_hash_t hash = XXH3_128bits(whole, (size_t)bytes);
    ret_key->key[0] = hash.low64;
    ret_key->key[1] = hash.high64 ? hash.high64 : 1; /* not none */
    ret_key->body = XXH3_64bits(request->body, request->body_bytes);
    return true;
}

static bool same(const struct request_key *a, const struct request_key *b)
{
    return a->key[0] == b->key[0] && a->key[1] == b->key[1];
}

/* Whether found was made by another request than this one: it has replied then. */
static bool differs(struct http_request *request, const struct request_key *key,
                    const struct request_key *found)
{
    if (found->body == key->body)
        return false;
    http_reply_error(request, API_KEY_REUSED,
                     "this Idempotency-Key was used with another body: a repeated request is the "
                     "same to the byte");
    return true;
}

static bool pending_answered(struct http_request *request, const struct request_key *key)
{
    LIST_FOR_EACH(at, &api_of(request)->pending)
    {
        const struct repeat_pending *pending = list_entry(at, struct repeat_pending, node);

        if (pending->uid != request->connection->peer.uid || !same(&pending->key, key))
            continue;
        if (!differs(request, key, &pending->key))
            http_reply_error(request, API_REQUEST_PENDING,
                             "a request with this Idempotency-Key is under way; ask again in a "
                             "moment");
        return true;
    }
    return false;
}

static bool lease_answered(struct http_request *request, const struct request_key *key)
{
    char text[LEASE_TEXT_BYTES];

    LEASE_FOR_EACH(slot, api_of(request)->vms)
    {
        if (slot->owner_uid != request->connection->peer.uid || !same(&slot->request, key))
            continue;
        if (differs(request, key, &slot->request))
            return true;
        size_t bytes = lease_text(api_of(request), slot, now_ns(), text);
        text[bytes++] = '\n';
        http_reply_text(request, MHD_HTTP_OK, "application/json", text, bytes);
        return true;
    }
    return false;
}

bool repeat_answered(struct http_request *request, const struct request_key *key)
{
    struct api *api = api_of(request);
    const struct history_event *ended;

    if (!key->key[1])
        return false;
    if (pending_answered(request, key) || lease_answered(request, key))
        return true;
    lease_news_tell(api);
    ended = history_request_end(api->history, key, request->connection->peer.uid);
    if (ended && !differs(request, key, &ended->request))
        lease_gone_reply(request, ended);
    return ended != NULL;
}

void repeat_begin(struct http_request *request, struct repeat_pending *pending,
                  const struct request_key *key)
{
    pending->uid = request->connection->peer.uid;
    pending->key = *key;
    list_init(&pending->node);
    if (key->key[1])
        list_append(&api_of(request)->pending, &pending->node);
}
