/* SPDX-License-Identifier: Apache-2.0 */
/* Exponential back-off for work that keeps failing: refills and template restarts.
 *
 * The first failure waits BACKOFF_FIRST_NS, each further one twice as long, up to BACKOFF_MAX_NS; a
 * success forgets all. Pure: the caller brings the clock. */
#ifndef VOLT_POOLD_BACKOFF_H
#define VOLT_POOLD_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"

#define BACKOFF_FIRST_NS (100 * NS_PER_MS)
#define BACKOFF_MAX_NS (30 * NS_PER_S)

struct backoff {
    uint32_t failures; /* in a row */
    uint64_t until_ns; /* CLOCK_MONOTONIC; 0: not backing off */
};

static inline void backoff_success(struct backoff *b)
{
    *b = (struct backoff){ 0 };
}

static inline void backoff_failure(struct backoff *b, uint64_t now)
{
    uint64_t wait_ns = BACKOFF_MAX_NS;

    if (b->failures < 16)
        wait_ns = MIN_OF(BACKOFF_FIRST_NS << b->failures, BACKOFF_MAX_NS);
    b->failures++;
    b->until_ns = now + wait_ns;
}

static inline bool backoff_active(const struct backoff *b, uint64_t now)
{
    return now < b->until_ns;
}

#endif
