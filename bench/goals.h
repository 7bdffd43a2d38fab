/* SPDX-License-Identifier: Apache-2.0 */
/* What the project promises of its speed, as a table: each row of a result is held against it. */
#ifndef VOLT_BENCH_GOALS_H
#define VOLT_BENCH_GOALS_H

#include <stdbool.h>

#include "samples.h"

enum goal_metric {
    GOAL_P50,         /* ns, at most */
    GOAL_P99,         /* ns, at most */
    GOAL_FLOOR_RATIO, /* p50 against the floor's, at most */
    GOAL_AT_MOST,     /* a value */
    GOAL_AT_LEAST,    /* a value */
};

struct goal {
    const char *suite, *name;
    enum goal_metric metric;
    double limit;
};

extern const struct goal goals[];
extern const unsigned goal_count;

const char *goal_metric_name(enum goal_metric metric);

/* The figure that the goal speaks of; false when it can't be told (no floor, no samples). summary
 * is NULL for values, floor_p50 0 without a floor. */
bool goal_figure(const struct goal *goal, const struct summary *summary, double value,
                 double floor_p50, double *ret_figure);
bool goal_met(const struct goal *goal, double figure);

#endif
