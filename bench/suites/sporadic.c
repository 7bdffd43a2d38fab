/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `sporadic`: one acquire now and then while the pool refills, as most users have it, against
 * the parked floor taken with the same pause; and a small pool whose refilling decides. */
#include <stdio.h>

#include "base/util.h"
#include "floor.h"
#include "paced.h"

#define POOL_MIN 8u
#define SMALL_POOL_MIN 4u
#define SMALL_POOL_PAUSE_MS 20u

/* One VM that is stopped between its samples. */
static int floor_with_pause(struct floor *floor, unsigned pause_ms, unsigned count, struct err *err)
{
    struct floor_vm *vm;
    int rc = floor_vm_create(floor, &vm, err);

    if (rc < 0)
        return rc;
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        paced_sleep_until(now_ns() + pause_ms * NS_PER_MS);
        rc = floor_vm_measure(floor, vm, err);
    }
    floor_vm_destroy(vm);
    return rc;
}

static int pool_of(struct daemon *daemon, unsigned vms, struct err *err)
{
    int rc = daemon_scale(daemon, vms, 0, err);

    return rc == 0 ? daemon_wait_parked(daemon, vms, err) : rc;
}

/* Acquires and the floor in alternation: a round of each. */
static int measure(struct bench *bench, struct daemon *daemon, unsigned pause_ms, unsigned rounds,
                   struct err *err)
{
    const struct paced paced = { pause_ms * NS_PER_MS, bench_runs(bench, 25, 3), NULL };
    struct samples latency = { 0 };
    struct floor floor;
    char name[64], what[96];
    int rc = floor_init(&floor, bench->options.work_dir, MIB(128), err);

    if (rc < 0)
        return rc;
    snprintf(name, sizeof name, "one each %u ms", pause_ms);
    snprintf(what, sizeof what, "acquires, %s", name);
    rc = pool_of(daemon, POOL_MIN, err);
    for (unsigned i = 0; rc == 0 && i < rounds; i++) {
        rc = floor_with_pause(&floor, pause_ms, bench_runs(bench, 8, 2), err);
        if (rc == 0)
            rc =
                paced_acquires(daemon, &paced, &(struct paced_samples){ .latency = &latency }, err);
        progress_show(what, i + 1, rounds);
    }
    progress_clear();
    if (rc == 0)
        report_latency(&bench->report,
                       &(struct report_row){ .name = name,
                                             .floor_name = floor_kind_name(FLOOR_PARKED),
                                             .floor = &floor.samples[FLOOR_PARKED],
                                             .x_name = "ms between acquires",
                                             .x = pause_ms },
                       &latency);
    floor_fini(&floor);
    samples_fini(&latency);
    return rc;
}

/* Restores on demand, one after another, from an empty pool. */
static int restores(struct bench *bench, struct daemon *daemon, struct samples *ready,
                    struct err *err)
{
    const struct paced paced = { 60 * NS_PER_MS, bench_runs(bench, 30, 2), "cold" };
    int rc = daemon_empty(daemon, err);

    return rc == 0
               ? paced_acquires(daemon, &paced, &(struct paced_samples){ .latency = ready }, err)
               : rc;
}

/* More acquires than the pool can make VMs for: what its users wait at most is a restore, twice. */
static int measure_small(struct bench *bench, struct daemon *daemon, struct err *err)
{
    const struct paced paced = { SMALL_POOL_PAUSE_MS * NS_PER_MS, bench_runs(bench, 300, 6), NULL };
    struct samples latency = { 0 }, ready = { 0 };
    char name[64], ratio[96];
    int rc = restores(bench, daemon, &ready, err);

    if (rc == 0)
        rc = pool_of(daemon, SMALL_POOL_MIN, err);
    if (rc == 0)
        rc = paced_acquires(daemon, &paced, &(struct paced_samples){ .latency = &latency }, err);
    if (rc == 0) {
        snprintf(name, sizeof name, "pool of %u, one each %u ms", SMALL_POOL_MIN,
                 SMALL_POOL_PAUSE_MS);
        snprintf(ratio, sizeof ratio, "%s: p99/restore to READY", name);
        report_latency(&bench->report, &(struct report_row){ .name = "restore to READY" }, &ready);
        report_latency(&bench->report, &(struct report_row){ .name = name }, &latency);
        report_value(&bench->report, &(struct report_row){ .name = ratio, .note = "p99 / p50" },
                     (double)samples_percentile(&latency, 99) /
                         (double)MAX_OF(samples_percentile(&ready, 50), 1u));
    }
    samples_fini(&latency);
    samples_fini(&ready);
    return rc;
}

int suite_sporadic(struct bench *bench, struct err *err)
{
    static const struct {
        unsigned pause_ms, rounds;
    } rows[] = { { 60, 12 }, { 500, 4 } };
    struct daemon *daemon;
    int rc = daemon_get(bench, DAEMON_ALL_WORK, &daemon, err);

    for (unsigned i = 0; rc == 0 && i < ARRAY_LEN(rows) && !(bench->options.quick && i); i++)
        rc = measure(bench, daemon, rows[i].pause_ms, bench_runs(bench, rows[i].rounds, 1), err);
    if (rc == 0)
        rc = measure_small(bench, daemon, err);
    return rc == 0 ? daemon_empty(daemon, err) : rc;
}
