/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the histogram's buckets and the Prometheus text of the daemon's metrics; see metrics.h. */
#include "metrics.h"

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

static void histogram_print(const struct histogram *h, FILE *out, const char *name,
                            const char *help)
{
    uint64_t below = 0;

    fprintf(out, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        below += h->buckets[i];
        fprintf(out, "%s_bucket{le=\"%s\"} %" PRIu64 "\n", name, buckets[i].label, below);
    }
    fprintf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, h->count);
    fprintf(out, "%s_sum %.9f\n%s_count %" PRIu64 "\n", name, (double)h->sum_ns / 1e9, name,
            h->count);
}

void metrics_print(const struct metrics *metrics, FILE *out,
                   const char *(*result_name)(unsigned result), unsigned result_count)
{
    fputs("# HELP volt_acquires_total Acquires by the tier they were served from and result.\n"
          "# TYPE volt_acquires_total counter\n",
          out);
    for (unsigned tier = 0; tier < TIER_COUNT; tier++) {
        for (unsigned result = 0; result < result_count; result++) {
            fprintf(out, "volt_acquires_total{tier=\"%s\",result=\"%s\"} %" PRIu64 "\n",
                    tier_name(tier), result_name(result), metrics->acquires[tier][result]);
        }
    }
    histogram_print(&metrics->acquire, out, "volt_acquire_seconds",
                    "Request read to response ready.");
    histogram_print(&metrics->load, out, "volt_load_seconds",
                    "Making and loading the VM of an acquire.");
    histogram_print(&metrics->awake, out, "volt_awake_seconds",
                    "To the guest's checked answer, restores and leases.");
    histogram_print(&metrics->ready, out, "volt_ready_seconds",
                    "From the guest's answer until it is unique and its clock right.");
}
