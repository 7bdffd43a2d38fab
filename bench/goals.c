/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the table of goals; docs/performance.md tells of each. */
#include "goals.h"

#include <assert.h>
#include <string.h>

#include "base/util.h"

#define US(n) ((double)(n)*1e3)
#define MS(n) ((double)(n)*1e6)

const struct goal goals[] = {
    { "acquire", "clients=1 tier=parked", GOAL_P50, US(100) },
    { "acquire", "clients=1 tier=parked", GOAL_P99, US(500) },
    { "acquire", "clients=1 tier=parked", GOAL_FLOOR_RATIO, 4.5 },
    { "acquire", "clients=1 in a row=200 tier=parked", GOAL_FLOOR_RATIO, 4.5 },
    { "acquire", "clients=1 in a row=200 tier=parked", GOAL_P99, US(500) },
    { "acquire", "clients=4 tier=parked", GOAL_P99, MS(3) },
    { "acquire", "clients=16 tier=parked", GOAL_P99, MS(10) },
    { "busy", "busy: parked", GOAL_P99, MS(1) },
    { "busy", "busy: on demand to AWAKE", GOAL_P99, MS(10) },
    { "busy", "parked: busy/idle", GOAL_AT_MOST, 2 },
    { "busy", "on demand to AWAKE: busy/idle", GOAL_AT_MOST, 2 },
    { "sporadic", "one each 60 ms", GOAL_FLOOR_RATIO, 3 },
    { "sporadic", "one each 60 ms", GOAL_P99, MS(1) },
    { "sporadic", "one each 500 ms", GOAL_FLOOR_RATIO, 3 },
    { "sporadic", "one each 500 ms", GOAL_P99, MS(1) },
    { "sporadic", "pool of 4, one each 20 ms: p99/restore to READY", GOAL_AT_MOST, 2 },
    { "exec", "true", GOAL_FLOOR_RATIO, 1.15 },
    { "exec", "true with a terminal", GOAL_FLOOR_RATIO, 1.15 },
    { "exec", "20 at once/CPU time of 20", GOAL_AT_MOST, 1.2 },
    { "work", "disk written, direct: qemu/volt", GOAL_AT_LEAST, 1.5 },
    { "work", "disk read, direct: qemu/volt", GOAL_AT_LEAST, 1.5 },
    { "work", "disk written, cached: qemu/volt", GOAL_AT_LEAST, 1.5 },
    { "work", "disk read, cached: qemu/volt", GOAL_AT_LEAST, 1.5 },
    { "work", "large file in: qemu/volt", GOAL_AT_LEAST, 1.5 },
    { "work", "large file out: qemu/volt", GOAL_AT_LEAST, 1.5 },
    { "work", "small files in: qemu/volt", GOAL_AT_LEAST, 1.5 },
    { "work", "small files out: qemu/volt", GOAL_AT_LEAST, 1.5 },
    { "restore", "tier=shell memory=128M cache=warm", GOAL_FLOOR_RATIO, 1.2 },
    { "restore", "tier=shell memory=128M cache=warm", GOAL_P99, US(700) },
    { "restore", "tier=cold memory=128M cache=warm", GOAL_FLOOR_RATIO, 1.2 },
    { "restore", "tier=cold cache=cold/warm", GOAL_AT_MOST, 3 },
    { "restore", "tier=shell 1024M/128M", GOAL_AT_MOST, 1.1 },
    { "restore", "tier=parked 1024M/128M", GOAL_AT_MOST, 1.1 },
    { "restore", "tier=shell 4096M/128M", GOAL_AT_MOST, 1.3 },
    { "restore", "tier=parked 4096M/128M", GOAL_AT_MOST, 1.3 },
    { "direct", "one", GOAL_P50, MS(4) },
    { "direct", "one", GOAL_P99, MS(8) },
    { "direct", "20 at once: each", GOAL_P50, MS(2.5) },
    { "first-exec", "first/20th", GOAL_AT_MOST, 1.2 },
    { "first-exec", "cache=cold/warm", GOAL_AT_MOST, 1.5 },
    { "functions", "call/acquire", GOAL_AT_MOST, 1.3 },
    { "functions", "call p99/p50", GOAL_AT_MOST, 5 },
    { "functions", "calls, VM reused", GOAL_AT_LEAST, 4000 },
    { "functions", "50 clients: lost", GOAL_AT_MOST, 0 },
    { "functions", "50 clients: VMs that served twice", GOAL_AT_MOST, 0 },
    { "functions", "50 clients: VMs left", GOAL_AT_MOST, 0 },
    { "burst", "all awake/limit", GOAL_AT_MOST, 0.75 },
    { "burst", "all READY/work of all", GOAL_AT_MOST, 1.1 },
    { "churn", "no guest kernel work: rate", GOAL_AT_LEAST, 400 },
    { "churn", "all work: rate/CPU limit", GOAL_AT_LEAST, 0.9 },
    { "density", "vms=1000 memory each", GOAL_AT_MOST, 0.9 * 1048576 },
    { "density", "vms=2000 acquire p50/pool of 4", GOAL_AT_MOST, 1.5 },
    { "density", "vms=2000 failures", GOAL_AT_MOST, 0 },
    { "snapshot", "create", GOAL_P50, MS(150) },
    { "snapshot", "guest stopped", GOAL_P50, MS(150) },
    { "snapshot", "disk", GOAL_AT_MOST, 20.0 * 1048576 },
    { "verify", "memory=128M cache=warm", GOAL_P50, MS(5) },
    { "boot", "volt-vmm/qemu microvm", GOAL_AT_MOST, 1 },
    { "boot", "volt-vmm set-up", GOAL_P50, MS(2) },
    { "boot", "volt-vmm to banner", GOAL_P50, MS(6000) },
    { "memory", "VMM private, parked", GOAL_AT_MOST, 1048576 },
    { "size", "volt-vmm", GOAL_AT_MOST, 256 * 1024 },
    { "size", "volt-init", GOAL_AT_MOST, 64 * 1024 },
    { "size", "all without busybox", GOAL_AT_MOST, 512 * 1024 },
    { "security", "start-up, all layers - none", GOAL_AT_MOST, US(300) },
};
const unsigned goal_count = ARRAY_LEN(goals);

const char *goal_metric_name(enum goal_metric metric)
{
    static const char *const names[] = {
        [GOAL_P50] = "p50 at most",
        [GOAL_P99] = "p99 at most",
        [GOAL_FLOOR_RATIO] = "p50 over the floor at most",
        [GOAL_AT_MOST] = "at most",
        [GOAL_AT_LEAST] = "at least",
    };

    return names[metric];
}

bool goal_figure(const struct goal *goal, const struct summary *summary, double value,
                 double floor_p50, double *ret_figure)
{
    switch (goal->metric) {
    case GOAL_P50:
    case GOAL_P99:
        if (!summary || summary->count == 0)
            return false;
        *ret_figure = (double)(goal->metric == GOAL_P50 ? summary->p50 : summary->p99);
        return true;
    case GOAL_FLOOR_RATIO:
        if (!summary || floor_p50 <= 0)
            return false;
        *ret_figure = (double)summary->p50 / floor_p50;
        return true;
    case GOAL_AT_MOST:
    case GOAL_AT_LEAST:
        if (summary)
            return false;
        *ret_figure = value;
        return true;
    }
    return false;
}

bool goal_met(const struct goal *goal, double figure)
{
    return goal->metric == GOAL_AT_LEAST ? figure >= goal->limit : figure <= goal->limit;
}
