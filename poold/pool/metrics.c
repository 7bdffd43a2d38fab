/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the histogram's buckets; see metrics.h. */
#include "pool/metrics.h"

#include <assert.h>
#include <inttypes.h>

#include "base/util.h"

static const char *const failure_names[] = {
#define X(name, text) [name] = text,
    FAILURE_MAP(X)
#undef X
};
static_assert(ARRAY_LEN(failure_names) == FAILURE_COUNT, "every failure has a name");

static const struct bucket {
    uint64_t bound_ns;
    const char *label;
} buckets[] = {
    { 10000, "0.00001" }, { 20000, "0.00002" }, { 50000, "0.00005" }, { 100000, "0.0001" },
    { 200000, "0.0002" }, { 500000, "0.0005" }, { 1000000, "0.001" }, { 2000000, "0.002" },
    { 5000000, "0.005" }, { 10000000, "0.01" }, { 20000000, "0.02" }, { 50000000, "0.05" },
    { 100000000, "0.1" }, { 200000000, "0.2" }, { 500000000, "0.5" }, { 1000000000, "1" },
    { 2000000000, "2" },  { 5000000000, "5" },
};
static_assert(ARRAY_LEN(buckets) == HISTOGRAM_BUCKETS, "one bound a bucket");

const char *failure_name(enum failure failure)
{
    return failure_names[failure];
}

void histogram_add(struct histogram *h, uint64_t ns)
{
    unsigned i = 0;

    while (i < HISTOGRAM_BUCKETS && ns > buckets[i].bound_ns)
        i++;
    h->buckets[i]++;
    h->sum_ns += ns;
    h->count++;
}

void pool_counters_add(struct pool_counters *to, const struct pool_counters *from)
{
    const uint64_t *add = (const uint64_t *)from;
    uint64_t *sum = (uint64_t *)to;

    static_assert(sizeof *to % sizeof *sum == 0, "they are all of one type");
    for (size_t i = 0; i < sizeof *to / sizeof *sum; i++)
        sum[i] += add[i];
}

void histogram_print(const struct histogram *h, FILE *out, const char *name, const char *pool)
{
    uint64_t below = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        below += h->buckets[i];
        fprintf(out, "%s_bucket{pool=\"%s\",le=\"%s\"} %" PRIu64 "\n", name, pool, buckets[i].label,
                below);
    }
    fprintf(out, "%s_bucket{pool=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, pool, h->count);
    fprintf(out, "%s_sum{pool=\"%s\"} %.9f\n%s_count{pool=\"%s\"} %" PRIu64 "\n", name, pool,
            (double)h->sum_ns / 1e9, name, pool, h->count);
}
