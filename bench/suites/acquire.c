/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `acquire`: leases over the API on kept connections, by 1 to 64 clients at once, out of a
 * stock that is filled before the clock starts; and at a fixed rate. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "clients.h"
#include "floor.h"

#define STOCK 128u

/* One go with a full stock, one floor sample beside it. */
static int one_round(struct daemon *daemon, const struct client_plan *plan, struct floor *floor,
                     struct samples *parked, struct err *err)
{
    struct client_events events = { 0 };
    int rc = daemon_stock(daemon, plan->clients * plan->acquires, err);

    for (unsigned i = 0; rc == 0 && i < 10; i++)
        rc = floor_measure(floor, err);
    if (rc == 0)
        rc = clients_run(daemon, plan, &events, err);
    for (size_t i = 0; rc == 0 && i < events.count; i++) {
        if (strcmp(events.event[i].tier, "parked") == 0)
            samples_add(parked, events.event[i].latency_ns);
    }
    client_events_fini(&events);
    int released = daemon_release_all(daemon, rc < 0 ? &(struct err){ 0 } : err);
    return rc < 0 ? rc : released;
}

static int measure(struct bench *bench, struct daemon *daemon, const struct client_plan *plan,
                   unsigned rounds, const char *name, struct err *err)
{
    struct samples parked = { 0 };
    struct floor floor;
    char what[96];
    int rc = floor_init(&floor, bench->options.work_dir, MIB(128), err);

    if (rc < 0)
        return rc;
    snprintf(what, sizeof what, "acquires, %s", name);
    for (unsigned i = 0; rc == 0 && i < rounds; i++) {
        rc = one_round(daemon, plan, &floor, &parked, err);
        progress_show(what, i + 1, rounds);
    }
    progress_clear();
    if (rc == 0)
        report_latency(&bench->report,
                       &(struct report_row){ .name = name,
                                             .floor_name = floor_kind_name(FLOOR_PARKED),
                                             .floor = &floor.samples[FLOOR_PARKED],
                                             .x_name = plan->per_second > 0 ? NULL : "clients",
                                             .x = plan->clients },
                       &parked);
    floor_fini(&floor);
    samples_fini(&parked);
    return rc;
}

static int measure_clients(struct bench *bench, struct daemon *daemon, unsigned clients,
                           struct err *err)
{
    unsigned stock = bench_runs(bench, STOCK, 8);
    /* Released at once: dozens of VMs that run would be measured with the one that is acquired. */
    struct client_plan plan = { .clients = clients,
                                .acquires = MAX_OF(stock / clients, 1u),
                                .release = true };
    char name[64];

    if (clients == 1)
        plan.acquires = bench_runs(bench, 50, 8);
    snprintf(name, sizeof name, "clients=%u tier=parked", clients);
    return measure(bench, daemon, &plan, bench_runs(bench, clients == 1 ? 6 : 3, 1), name, err);
}

/* Requests that are due at fixed times, late or not. */
static int measure_rate(struct bench *bench, struct daemon *daemon, struct err *err)
{
    const struct client_plan plan = { .clients = 4,
                                      .acquires = bench_runs(bench, STOCK, 8) / 4,
                                      .release = true,
                                      .per_second = 200 };

    return measure(bench, daemon, &plan, bench_runs(bench, 3, 1), "open loop 200/s tier=parked",
                   err);
}

/* Does it stay as fast while a whole stock is used up? */
static int measure_in_a_row(struct bench *bench, struct daemon *daemon, struct err *err)
{
    const struct client_plan plan = { .clients = 1,
                                      .acquires = bench_runs(bench, 200, 8),
                                      .release = true };
    char name[64];

    snprintf(name, sizeof name, "clients=1 in a row=%u tier=parked", plan.acquires);
    return measure(bench, daemon, &plan, bench_runs(bench, 3, 1), name, err);
}

int suite_acquire(struct bench *bench, struct err *err)
{
    static const unsigned clients[] = { 1, 4, 16, 64 };
    struct daemon *daemon;
    int rc = daemon_get(bench, DAEMON_ALL_WORK, &daemon, err);

    for (unsigned i = 0; rc == 0 && i < ARRAY_LEN(clients); i++) {
        if (!bench->options.quick || clients[i] <= 4)
            rc = measure_clients(bench, daemon, clients[i], err);
    }
    if (rc == 0)
        rc = measure_in_a_row(bench, daemon, err);
    if (rc == 0)
        rc = measure_rate(bench, daemon, err);
    return rc;
}
