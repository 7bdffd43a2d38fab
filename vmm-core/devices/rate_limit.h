/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets for bytes and operations, for the I/O of one device.
 *
 * An operation may go when neither bucket is in debt, and is then taken from both in full, however
 * large: a big one pays afterwards, by making the next wait. The long-term rate is exact, and no
 * operation is too large for its bucket. */
#ifndef VOLT_DEVICES_RATE_LIMIT_H
#define VOLT_DEVICES_RATE_LIMIT_H

#include <stdint.h>

struct rate_bucket_config {
    uint64_t per_s; /* 0: no limit */
    uint64_t burst; /* what may be saved up; 0: as much as one second brings */
};

struct rate_limit_config {
    struct rate_bucket_config bytes, ops;
};

struct rate_bucket {
    uint64_t per_s;
    uint64_t burst;
    int64_t tokens; /* negative: in debt */
    uint64_t refilled_ns;
};

struct rate_limit {
    struct rate_bucket bytes, ops;
};

/* Starts with full buckets. now_ns: CLOCK_MONOTONIC, here and below. Any thread, one at a time. */
void rate_limit_init(struct rate_limit *limit, const struct rate_limit_config *config,
                     uint64_t now_ns);

/* Takes one operation of `bytes` bytes. 0: go ahead; otherwise nothing was taken, and the answer is
 * how long to wait, in nanoseconds. */
uint64_t rate_limit_take(struct rate_limit *limit, uint64_t bytes, uint64_t now_ns);

/* Takes bytes that a granted operation turned out to need beyond those that were asked for: what
 * comes next pays. */
void rate_limit_charge(struct rate_limit *limit, uint64_t bytes);

#endif
