/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps leases alive while something long runs in them: a thread renews each three times in its TTL.
 * When the program ends, however it does, so does that, and the leases end a TTL later.
 *
 * A renewal that fails is tried again at the next time, and is no error of its own: when the lease is
 * gone, whatever uses it hears of that, with the reason.
 */
#ifndef VOLT_CLI_LEASE_KEEPER_H
#define VOLT_CLI_LEASE_KEEPER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct lease_keeper {
    const char *const *leases; /* borrowed */
    size_t count;
    uint64_t ttl_ms; /* at least 1,000 */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* on CLOCK_MONOTONIC */
    bool stop;              /* under lock */
};

/* Renews them at once, before it returns: 0, or -errno with a sentence of the first that can't be.
 * The thread takes no signals. */
int lease_keeper_start(struct lease_keeper *keeper, const char *const *leases, size_t count,
                       uint64_t ttl_ms, struct err *err);
void lease_keeper_stop(struct lease_keeper *keeper);

#endif
