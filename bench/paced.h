/* SPDX-License-Identifier: Apache-2.0 */
/* One client that acquires now and then on a kept connection, as users do, and releases at once. */
#ifndef VOLT_BENCH_PACED_H
#define VOLT_BENCH_PACED_H

#include "daemon.h"

struct paced {
    uint64_t pause_ns; /* from one being due to the next */
    unsigned count;
    const char *tier; /* only acquires that this tier gave are samples; NULL: all */
};

/* All of these are added to; any may be NULL. */
struct paced_samples {
    struct samples *latency; /* due, or sent if the one before came later than that, to response */
    struct samples *awake;   /* the same less the guest's work from AWAKE to READY */
};

/* Makes them one after another, the first after one pause. */
int paced_acquires(struct daemon *daemon, const struct paced *paced,
                   const struct paced_samples *samples, struct err *err);

/* Sleeps until CLOCK_MONOTONIC has that value. */
void paced_sleep_until(uint64_t at_ns);

#endif
