/* SPDX-License-Identifier: Apache-2.0 */
/* The results of a run: a table for people on stdout as they come, and one JSON file at the end
 * (docs/performance.md describes it). One thread. */
#ifndef VOLT_BENCH_REPORT_H
#define VOLT_BENCH_REPORT_H

#include <jansson.h>

#include "base/err.h"
#include "samples.h"

/* Quantiles kept of each latency in the file: for plots and for comparing two runs. */
#define REPORT_QUANTILES 501

struct report {
    json_t *results, *suites; /* arrays */
    const char *suite;        /* that is running, for the rows that come */
};

/* What a row is about. Strings are borrowed for the call; NULL and 0: does not apply. */
struct report_row {
    const char *name;       /* within the suite, "tier=shell memory=128M cache=warm" */
    const char *unit;       /* of a value; latencies are in ns */
    const char *page_cache; /* of the snapshot when the clock started: "warm" or "cold" */
    const char *note;
    /* What the machine could do at best, measured in between these samples. */
    const char *floor_name;
    struct samples *floor;
    /* For curves: a row for each x. */
    const char *x_name;
    double x;
};

int report_init(struct report *report);
void report_fini(struct report *report);

/* A distribution of durations in ns. Prints and keeps it; nothing without samples. */
void report_latency(struct report *report, const struct report_row *row, struct samples *samples);

/* One figure. */
void report_value(struct report *report, const struct report_row *row, double value);

/* How a suite ended: "done", "skipped" or "failed"; message may be NULL. */
void report_suite_end(struct report *report, const char *status, const char *message,
                      uint64_t elapsed_ns);

/* Writes the file, with `host` (borrowed) and what goals were met. */
int report_write(const struct report *report, json_t *host, bool quick, const char *path,
                 struct err *err);

#endif
