/* SPDX-License-Identifier: Apache-2.0 */
/* Counters and histograms of a pool. Updating one is an addition: nothing here allocates on the path
 * of an acquire. What of them is told, and how, is in metrics_text.c. Loop thread only. */
#ifndef VOLT_POOLD_METRICS_H
#define VOLT_POOLD_METRICS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "pool/slot.h"

/* Why a VM was discarded. The first ones are poold's own findings, the others what the VM said. */
#define FAILURE_MAP(X)                                                                             \
    X(FAILURE_CLONE, "clone_failed")                                                               \
    X(FAILURE_SETUP_TIMEOUT, "setup_timeout")                                                      \
    X(FAILURE_AWAKE_TIMEOUT, "awake_timeout")                                                      \
    X(FAILURE_READY_TIMEOUT, "ready_timeout")                                                      \
    X(FAILURE_READY_STATUS, "not_unique")                                                          \
    X(FAILURE_PROTOCOL, "protocol_error")                                                          \
    X(FAILURE_CRASHED, "crashed")                                                                  \
    X(FAILURE_POWEROFF, "guest_poweroff")                                                          \
    X(FAILURE_TRIPLE_FAULT, "triple_fault")                                                        \
    X(FAILURE_INTERNAL_ERROR, "internal_error")                                                    \
    X(FAILURE_ENTRY_FAILED, "entry_failed")                                                        \
    X(FAILURE_BAD_ANSWER, "bad_answer")                                                            \
    X(FAILURE_GUEST_MISBEHAVED, "guest_misbehaved")                                                \
    X(FAILURE_HOST_ERROR, "host_error")                                                            \
    X(FAILURE_NETWORK, "network_lost")                                                             \
    X(FAILURE_OUT_OF_MEMORY, "out_of_memory")                                                      \
    X(FAILURE_TEMPLATE, "template_died")                                                           \
    X(FAILURE_HOST_MEMORY, "host_out_of_memory")

enum failure {
#define X(name, text) name,
    FAILURE_MAP(X)
#undef X
        FAILURE_COUNT,
};

const char *failure_name(enum failure failure);

#define ACQUIRE_RESULTS_MAX 8
#define HISTOGRAM_BUCKETS 18

/* Upper bounds 10 us, 20, 50, 100 ... 5 s, infinity: three a decade. */
struct histogram {
    uint64_t buckets[HISTOGRAM_BUCKETS + 1];
    uint64_t sum_ns, count;
};

void histogram_add(struct histogram *h, uint64_t ns);

/* Of one pool, since poold was started. */
struct pool_counters {
    uint64_t acquires; /* answered with a lease */
    uint64_t missed;   /* found no parked VM */
    uint64_t restores; /* reached READY */
    uint64_t failures[FAILURE_COUNT];
    uint64_t answers[TIER_COUNT][ACQUIRE_RESULTS_MAX]; /* acquires; failed ones count as cold */
    struct histogram acquire, load, awake, ready;
};

/* All counters are uint64_t. */
void pool_counters_add(struct pool_counters *to, const struct pool_counters *from);

/* The lines of one histogram; pool is a pool's name. */
void histogram_print(const struct histogram *h, FILE *out, const char *name, const char *pool);

#endif
