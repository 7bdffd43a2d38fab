/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `burst`: 100 acquires at once from an empty pool: how long until all are AWAKE, and until
 * all are READY and answered; beside it what one needs to get READY, alone. */
#include "base/util.h"
#include "clients.h"
#include "floor.h"

#define LIMIT_OVER_FLOOR 1.5
#define LIMIT_CPUS 2.0

struct figures {
    struct samples all_awake, all_ready; /* one a round */
    struct samples awake, ready;         /* one an acquire */
};

static int one_round(struct daemon *daemon, const struct client_plan *plan, struct figures *figures,
                     struct err *err)
{
    struct client_events events = { 0 };
    uint64_t last_awake_ns = 0, last_ready_ns = 0;
    int rc = daemon_empty(daemon, err);

    if (rc == 0)
        rc = clients_run(daemon, plan, &events, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < events.count; i++) {
        const struct client_event *event = &events.event[i];

        samples_add(&figures->awake, event->awake_ns - event->due_ns);
        samples_add(&figures->ready, event->latency_ns);
        last_awake_ns = MAX_OF(last_awake_ns, event->awake_ns);
        last_ready_ns = MAX_OF(last_ready_ns, event->response_ns);
    }
    samples_add(&figures->all_awake, last_awake_ns - events.start_ns);
    samples_add(&figures->all_ready, last_ready_ns - events.start_ns);
    client_events_fini(&events);
    return daemon_release_all(daemon, err);
}

static void report(struct bench *bench, struct figures *figures, struct figures *alone,
                   struct floor *floor, unsigned clients)
{
    double work_ns = clients * (double)samples_percentile(&alone->ready, 50) / LIMIT_CPUS;
    double floor_ns = (double)samples_percentile(&floor->samples[FLOOR_COLD], 50);
    double limit_ns = clients * LIMIT_OVER_FLOOR * floor_ns / LIMIT_CPUS;
    struct report_row row = { .name = "acquire to AWAKE", .page_cache = "warm" };

    report_latency(&bench->report, &row, &figures->awake);
    row.name = "acquire to READY";
    report_latency(&bench->report, &row, &figures->ready);
    row.name = "alone to READY";
    report_latency(&bench->report, &row, &alone->ready);
    row.name = "all READY";
    report_latency(&bench->report, &row, &figures->all_ready);
    report_value(&bench->report,
                 &(struct report_row){ .name = "all READY/work of all",
                                       .note = "acquires x one alone to READY / 2 cores" },
                 (double)samples_percentile(&figures->all_ready, 50) / work_ns);
    row.name = "all awake";
    row.floor_name = floor_kind_name(FLOOR_COLD);
    row.floor = &floor->samples[FLOOR_COLD];
    report_latency(&bench->report, &row, &figures->all_awake);
    report_value(&bench->report,
                 &(struct report_row){ .name = "all awake/limit",
                                       .note = "acquires x 1.5 x cold floor / 2 cores" },
                 (double)samples_percentile(&figures->all_awake, 50) / limit_ns);
}

static void figures_fini(struct figures *figures)
{
    samples_fini(&figures->awake);
    samples_fini(&figures->ready);
    samples_fini(&figures->all_awake);
    samples_fini(&figures->all_ready);
}

int suite_burst(struct bench *bench, struct err *err)
{
    const struct client_plan plan = { .clients = bench_runs(bench, 100, 4), .acquires = 1 };
    const struct client_plan one = { .clients = 1, .acquires = 1 };
    unsigned rounds = bench_runs(bench, 5, 1);
    struct figures figures = { 0 }, alone = { 0 };
    struct daemon *daemon;
    struct floor floor;
    int rc = daemon_get(bench, DAEMON_ALL_WORK, &daemon, err);

    if (rc != 0)
        return rc;
    rc = floor_init(&floor, bench->options.work_dir, MIB(128), err);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; rc == 0 && i < rounds; i++) {
        for (unsigned f = 0; rc == 0 && f < 20; f++)
            rc = floor_measure(&floor, err);
        if (rc == 0)
            rc = one_round(daemon, &plan, &figures, err);
        for (unsigned a = 0; rc == 0 && a < 4; a++)
            rc = one_round(daemon, &one, &alone, err);
        progress_show("bursts", i + 1, rounds);
    }
    progress_clear();
    if (rc == 0)
        report(bench, &figures, &alone, &floor, plan.clients);
    floor_fini(&floor);
    figures_fini(&figures);
    figures_fini(&alone);
    return rc;
}
