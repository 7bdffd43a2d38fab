/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `busy`: acquires by one client while twice as many leased VMs compute as there are CPUs,
 * against the same on the machine without them: out of a stock, and restored on demand. */
#include <errno.h>
#include <stdio.h>

#include "base/util.h"
#include "floor.h"
#include "guest_command.h"
#include "paced.h"

#define PAUSE_NS (60 * NS_PER_MS)
#define FLOOR_SAMPLES 5u /* of each phase of a round */

enum load { LOAD_IDLE, LOAD_BUSY, LOAD_COUNT };
static const char *const load_names[] = { [LOAD_IDLE] = "idle", [LOAD_BUSY] = "busy" };

/* The VMs that compute, each with its command's session, which keeps it running. */
struct computing {
    struct agent **agent;
    unsigned count;
};

struct figures {
    struct samples parked, cold_awake, cold_ready;
    struct floor floor;
};

/* A lease for each, of VMs that are parked. They end with daemon_release_all. */
static int compute(struct daemon *daemon, struct computing *computing, unsigned vms,
                   struct err *err)
{
    static const char *const argv[] = { "/bin/sh", "-c", "while :; do :; done", NULL };
    struct daemon_lease lease;
    int rc = 0;

    computing->agent = calloc(vms, sizeof(struct agent *));
    if (!computing->agent)
        return err_set_errno(err, ENOMEM, "starting VMs that compute");
    while (rc == 0 && computing->count < vms) {
        rc = daemon_acquire(&daemon->api, &lease, err);
        if (rc == 0)
            rc = command_start(&computing->agent[computing->count], &daemon->api, lease.id, argv, 0,
                               err);
        computing->count += rc == 0;
    }
    return rc;
}

/* Whether all still do: the figures would be an idle machine's. */
static int check_computing(struct computing *computing, struct err *err)
{
    for (unsigned i = 0; i < computing->count; i++) {
        int rc = agent_fill(computing->agent[i]);

        if (rc != -EAGAIN)
            return err_set(err, ECHILD, "VM %u of those that compute stopped in the middle", i);
    }
    return 0;
}

static void computing_fini(struct computing *computing)
{
    for (unsigned i = 0; i < computing->count; i++)
        agent_close(computing->agent[i]);
    free(computing->agent);
}

/* What the pool has parked, then as many restored on demand. */
static int one_phase(struct daemon *daemon, unsigned acquires, struct figures *figures,
                     struct err *err)
{
    const struct paced parked = { PAUSE_NS, acquires, "parked" },
                       cold = { PAUSE_NS, acquires, "cold" };
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < FLOOR_SAMPLES; i++)
        rc = floor_measure(&figures->floor, err);
    if (rc == 0)
        rc = paced_acquires(daemon, &parked, &(struct paced_samples){ .latency = &figures->parked },
                            err);
    if (rc == 0)
        rc = paced_acquires(daemon, &cold,
                            &(struct paced_samples){ .latency = &figures->cold_ready,
                                                     .awake = &figures->cold_awake },
                            err);
    return rc;
}

static int one_round(struct daemon *daemon, enum load load, unsigned acquires,
                     struct figures *figures, struct err *err)
{
    const unsigned vms = load == LOAD_BUSY ? 2 * (unsigned)sysconf(_SC_NPROCESSORS_ONLN) : 0;
    struct computing computing = { 0 };
    int rc = daemon_empty(daemon, err);

    if (rc == 0)
        rc = daemon_stock(daemon, acquires + vms, err);
    if (rc == 0 && vms)
        rc = compute(daemon, &computing, vms, err);
    if (rc == 0)
        rc = one_phase(daemon, acquires, figures, err);
    if (rc == 0)
        rc = check_computing(&computing, err);
    int released = daemon_release_all(daemon, rc < 0 ? &(struct err){ 0 } : err);
    computing_fini(&computing);
    return rc < 0 ? rc : released;
}

static void report_ratio(struct bench *bench, const char *name, struct samples *idle,
                         struct samples *busy)
{
    if (idle->count && busy->count)
        report_value(&bench->report, &(struct report_row){ .name = name, .note = "p50 / p50" },
                     (double)samples_percentile(busy, 50) / (double)samples_percentile(idle, 50));
}

static void report(struct bench *bench, struct figures figures[LOAD_COUNT])
{
    char name[64];

    for (int i = 0; i < LOAD_COUNT; i++) {
        struct figures *of = &figures[i];
        struct report_row row = { .name = name,
                                  .floor_name = floor_kind_name(FLOOR_PARKED),
                                  .floor = &of->floor.samples[FLOOR_PARKED] };

        snprintf(name, sizeof name, "%s: parked", load_names[i]);
        report_latency(&bench->report, &row, &of->parked);
        row.floor_name = floor_kind_name(FLOOR_COLD);
        row.floor = &of->floor.samples[FLOOR_COLD];
        snprintf(name, sizeof name, "%s: on demand to AWAKE", load_names[i]);
        report_latency(&bench->report, &row, &of->cold_awake);
        row.floor = NULL;
        snprintf(name, sizeof name, "%s: on demand to READY", load_names[i]);
        report_latency(&bench->report, &row, &of->cold_ready);
    }
    report_ratio(bench, "parked: busy/idle", &figures[LOAD_IDLE].parked,
                 &figures[LOAD_BUSY].parked);
    report_ratio(bench, "on demand to AWAKE: busy/idle", &figures[LOAD_IDLE].cold_awake,
                 &figures[LOAD_BUSY].cold_awake);
}

int suite_busy(struct bench *bench, struct err *err)
{
    const unsigned rounds = 2 * bench_runs(bench, 6, 1), acquires = bench_runs(bench, 40, 3);
    struct figures figures[LOAD_COUNT] = { 0 };
    struct daemon *daemon;
    int rc = daemon_get(bench, DAEMON_ALL_WORK, &daemon, err);

    if (rc != 0)
        return rc;
    figures[LOAD_IDLE].floor.mem_fd = figures[LOAD_BUSY].floor.mem_fd = -1;
    for (int i = 0; rc == 0 && i < LOAD_COUNT; i++)
        rc = floor_init(&figures[i].floor, bench->options.work_dir, MIB(128), err);
    for (unsigned i = 0; rc == 0 && i < rounds; i++) {
        rc =
            one_round(daemon, (enum load)(i % LOAD_COUNT), acquires, &figures[i % LOAD_COUNT], err);
        progress_show("acquires, idle and busy by turns", i + 1, rounds);
    }
    progress_clear();
    if (rc == 0)
        report(bench, figures);
    for (int i = 0; i < LOAD_COUNT; i++) {
        samples_fini(&figures[i].parked);
        samples_fini(&figures[i].cold_awake);
        samples_fini(&figures[i].cold_ready);
        floor_fini(&figures[i].floor);
    }
    return rc;
}
