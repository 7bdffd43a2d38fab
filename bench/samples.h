/* SPDX-License-Identifier: Apache-2.0 */
/* Stored samples and what is said of them. Every sample is kept (8 bytes each), so percentiles are
 * exact, not those of a histogram's buckets. One thread at a time. */
#ifndef VOLT_BENCH_SAMPLES_H
#define VOLT_BENCH_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialized: empty. */
struct samples {
    uint64_t *value; /* owned; in the unit of whoever adds them, mostly ns */
    size_t count, room;
    bool sorted;
    bool lost; /* memory ran out: some were dropped */
};

struct summary {
    size_t count;
    uint64_t min, p50, p90, p99, max;
    double mean;
};

void samples_add(struct samples *s, uint64_t value);
void samples_append(struct samples *s, const struct samples *other);
void samples_fini(struct samples *s);

/* The smallest sample that at least `percent` of 100 of all samples do not exceed (nearest rank).
 * 0 without samples. Sorts. */
uint64_t samples_percentile(struct samples *s, double percent);
struct summary samples_summarize(struct samples *s);

/* Fills ret[0..count) with quantiles evenly spaced from the minimum to the maximum; all samples
 * themselves when there are at most `count`. Returns how many it filled in. */
size_t samples_quantiles(struct samples *s, uint64_t *ret, size_t count);

/* When the i-th of a series of events at `per_second` is due: the start of an open-loop request's
 * latency, whether or not the one before it had come back (coordinated omission). */
uint64_t samples_due_ns(uint64_t start_ns, double per_second, uint64_t i);

#endif
