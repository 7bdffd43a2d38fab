/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the token buckets; see rate_limit.h. */
#include "devices/rate_limit.h"

#include "base/util.h"

#define BURST_MAX (UINT64_MAX >> 8) /* far from any overflow below */

static void bucket_init(struct rate_bucket *bucket, const struct rate_bucket_config *config,
                        uint64_t at_ns)
{
    bucket->per_s = MIN_OF(config->per_s, BURST_MAX);
    bucket->burst = MIN_OF(config->burst ? config->burst : config->per_s, BURST_MAX);
    bucket->tokens = (int64_t)bucket->burst;
    bucket->refilled_ns = at_ns;
}

void rate_limit_init(struct rate_limit *limit, const struct rate_limit_config *config,
                     uint64_t at_ns)
{
    bucket_init(&limit->bytes, &config->bytes, at_ns);
    bucket_init(&limit->ops, &config->ops, at_ns);
}

static void bucket_refill(struct rate_bucket *bucket, uint64_t at_ns)
{
    unsigned __int128 grown = (unsigned __int128)(at_ns - bucket->refilled_ns) * bucket->per_s;
    uint64_t tokens = (uint64_t)MIN_OF(grown / NS_PER_S, (unsigned __int128)BURST_MAX);

    if (at_ns <= bucket->refilled_ns || tokens == 0)
        return; /* the time goes on to count */
    /* Only the time that these tokens took is used up: nothing is lost to rounding. */
    bucket->refilled_ns = at_ns - (uint64_t)(grown % NS_PER_S) / bucket->per_s;
    bucket->tokens = MIN_OF(bucket->tokens + (int64_t)tokens, (int64_t)bucket->burst);
}

/* How long until the bucket is out of debt. */
static uint64_t bucket_wait_ns(const struct rate_bucket *bucket, uint64_t at_ns)
{
    if (bucket->per_s == 0 || bucket->tokens > 0)
        return 0;
    unsigned __int128 missing = (unsigned __int128)(1 - bucket->tokens) * NS_PER_S;
    uint64_t due_ns = bucket->refilled_ns + (uint64_t)(missing / bucket->per_s) + 1;
    return due_ns > at_ns ? due_ns - at_ns : 1;
}

static void bucket_take(struct rate_bucket *bucket, uint64_t tokens)
{
    if (bucket->per_s)
        bucket->tokens -= (int64_t)MIN_OF(tokens, BURST_MAX);
}

uint64_t rate_limit_take(struct rate_limit *limit, uint64_t bytes, uint64_t at_ns)
{
    bucket_refill(&limit->bytes, at_ns);
    bucket_refill(&limit->ops, at_ns);
    uint64_t bytes_ns = bucket_wait_ns(&limit->bytes, at_ns);
    uint64_t ops_ns = bucket_wait_ns(&limit->ops, at_ns);
    if (bytes_ns || ops_ns)
        return MAX_OF(bytes_ns, ops_ns);
    bucket_take(&limit->bytes, bytes);
    bucket_take(&limit->ops, 1);
    return 0;
}

void rate_limit_charge(struct rate_limit *limit, uint64_t bytes)
{
    bucket_take(&limit->bytes, bytes);
}
