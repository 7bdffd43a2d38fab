/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `density`: more and more parked VMs of 128 MiB: what each costs, and what an acquire does.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/util.h"
#include "daemon.h"

#define FIRST_STEP 4u
/* What poold needs of descriptors (docs/api.md): 4 for each VM of the suite's pool, which has no
 * network, and three eighths of all are for clients, so 6.4 for one VM; and some for itself. */
#define DESCRIPTORS_OWN 512u
#define DESCRIPTORS_A_VM 7u

static int available_bytes(uint64_t *ret_bytes, struct err *err)
{
    FILE *meminfo = fopen("/proc/meminfo", "re");
    uint64_t kib = 0;
    char line[128];

    while (meminfo && fgets(line, sizeof line, meminfo)) {
        if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
            break;
    }
    if (meminfo)
        fclose(meminfo);
    *ret_bytes = kib << 10;
    return kib ? 0 : err_set(err, EIO, "/proc/meminfo tells no MemAvailable");
}

/* One acquire at a time out of a pool that is full again before the next. */
static int acquire_some(struct daemon *daemon, unsigned vms, unsigned runs, struct samples *latency,
                        struct err *err)
{
    struct daemon_lease lease;
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < runs; i++) {
        rc = daemon_acquire(&daemon->api, &lease, err);
        if (rc == 0)
            samples_add(latency, lease.latency_ns);
        if (rc == 0)
            rc = daemon_release(&daemon->api, &lease, err);
        if (rc == 0)
            rc = daemon_wait_parked(daemon, vms, err);
    }
    return rc;
}

struct baseline {
    uint64_t available_bytes;
    double p50_ns; /* of the first step */
};

static int step(struct bench *bench, struct daemon *daemon, unsigned vms, struct baseline *base,
                struct err *err)
{
    struct daemon_slots before, after;
    struct samples latency = { 0 };
    uint64_t available;
    char name[64];
    struct report_row row = { .name = name, .x_name = "parked VMs", .x = vms };
    int rc = daemon_slots(daemon, &before, err);

    if (rc == 0)
        rc = daemon_scale(daemon, vms, 0, err);
    if (rc == 0)
        rc = daemon_wait_parked(daemon, vms, err);
    if (rc == 0)
        rc = available_bytes(&available, err);
    if (rc == 0)
        rc = acquire_some(daemon, vms, bench_runs(bench, 60, 3), &latency, err);
    if (rc == 0)
        rc = daemon_slots(daemon, &after, err);
    if (rc < 0)
        return rc;
    progress_clear();
    snprintf(name, sizeof name, "vms=%u acquire", vms);
    report_latency(&bench->report, &row, &latency);
    double p50_ns = (double)samples_percentile(&latency, 50);
    samples_fini(&latency);
    if (vms == FIRST_STEP)
        base->p50_ns = p50_ns;
    double fall = (double)base->available_bytes - (double)available;
    row.unit = "bytes";
    snprintf(name, sizeof name, "vms=%u memory each", vms);
    report_value(&bench->report, &row, fall / vms);
    row.unit = NULL;
    snprintf(name, sizeof name, "vms=%u acquire p50/pool of %u", vms, FIRST_STEP);
    report_value(&bench->report, &row, p50_ns / base->p50_ns);
    snprintf(name, sizeof name, "vms=%u failures", vms);
    report_value(&bench->report, &row, (double)(after.failures - before.failures));
    return 0;
}

/* How many hundreds of VMs poold could have, by the descriptors that it may have. */
static unsigned vms_within_reach(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    const rlim_t spare = limit.rlim_max - MIN_OF(limit.rlim_max, (rlim_t)DESCRIPTORS_OWN);
    return (unsigned)MIN_OF(spare / (DESCRIPTORS_A_VM * 100), 100u) * 100;
}

int suite_density(struct bench *bench, struct err *err)
{
    static const unsigned steps[] = { FIRST_STEP, 100, 250, 500, 1000, 2000 };
    const unsigned most = MAX_OF(vms_within_reach(), FIRST_STEP);
    struct baseline base;
    struct daemon *daemon;
    int rc = daemon_get(bench, DAEMON_ALL_WORK, &daemon, err);

    if (rc == 0)
        rc = daemon_empty(daemon, err);
    if (rc == 0)
        rc = available_bytes(&base.available_bytes, err);
    for (unsigned i = 0, vms = 0; rc == 0 && i < ARRAY_LEN(steps) && vms < most; i++) {
        vms = MIN_OF(steps[i], most);
        rc = step(bench, daemon, vms, &base, err);
        if (bench->options.quick)
            break;
    }
    if (rc == 0 && most < steps[ARRAY_LEN(steps) - 1])
        fprintf(stderr, "more than %u VMs need more descriptors than poold may have (ulimit -Hn)\n",
                most);
    if (rc == 0) /* the rest of the run wants its memory back */
        rc = daemon_empty(daemon, err);
    return rc;
}
