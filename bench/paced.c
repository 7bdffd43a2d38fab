/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the client that acquires now and then; see paced.h. */
#include "paced.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/util.h"

void paced_sleep_until(uint64_t at_ns)
{
    const struct timespec at = { .tv_sec = (time_t)(at_ns / NS_PER_S),
                                 .tv_nsec = (long)(at_ns % NS_PER_S) };

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
}

static void add(struct samples *samples, uint64_t value)
{
    if (samples)
        samples_add(samples, value);
}

int paced_acquires(struct daemon *daemon, const struct paced *paced,
                   const struct paced_samples *samples, struct err *err)
{
    uint64_t due_ns = now_ns();
    struct daemon_lease lease;
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < paced->count; i++) {
        due_ns += paced->pause_ns;
        /* A stall of the machine is charged to the acquire that it held up; that the timer wakes
         * this client late is not, as no user's clock runs then. */
        const bool late = now_ns() > due_ns;

        paced_sleep_until(due_ns);
        rc = daemon_acquire(&daemon->api, &lease, err);
        if (rc == 0 && (!paced->tier || strcmp(lease.tier, paced->tier) == 0)) {
            uint64_t ns = late ? lease.response_at_ns - due_ns : lease.latency_ns;

            add(samples->latency, ns);
            add(samples->awake, ns - MIN_OF(ns, lease.ready_us * NS_PER_US));
        }
        if (rc == 0)
            rc = daemon_release(&daemon->api, &lease, err);
    }
    return rc;
}
