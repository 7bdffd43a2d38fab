/* SPDX-License-Identifier: Apache-2.0 */
/* Many API clients at once, each a thread with a connection of its own, started together. */
#ifndef VOLT_BENCH_CLIENTS_H
#define VOLT_BENCH_CLIENTS_H

#include "daemon.h"

/* What all clients of one go are to do. */
struct client_plan {
    unsigned clients;
    unsigned acquires; /* of each client, one after another; 0: until run_ns has passed */
    uint64_t run_ns;
    bool release;      /* each lease at once; else they are left to the caller */
    double per_second; /* of all clients: open loop, latency from when it was due. 0: closed */
};

struct client_event {
    uint64_t due_ns;     /* when it should have been sent; closed loop: when it was */
    uint64_t latency_ns; /* due to response read */
    uint64_t awake_ns;   /* CLOCK_MONOTONIC: response read, less poold's account of READY */
    uint64_t response_ns;
    char tier[16];
};

struct client_events {
    struct client_event *event; /* owned */
    size_t count;
    uint64_t start_ns;
};

/* Connects them all, then lets them go at once; returns when all are done, with every acquire that
 * came. A failure of any client is the result. */
int clients_run(const struct daemon *daemon, const struct client_plan *plan,
                struct client_events *ret_events, struct err *err);
void client_events_fini(struct client_events *events);

#endif
