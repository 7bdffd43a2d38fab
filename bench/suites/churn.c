/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `churn`: four clients acquire and release without pause, against a pool that refills: once
 * as users have it, once with nothing asked of the guest's kernel. */
#include <stdio.h>

#include "base/util.h"
#include "clients.h"
#include "image.h"
#include "process.h"

#define CLIENTS 4u
#define POOL_MIN 16u
#define PARTS 6u /* the run is cut into so many, the first compared with the last */

static const char *const work_names[] = {
    [DAEMON_ALL_WORK] = "all work",
    [DAEMON_NO_WORK] = "no guest kernel work",
};

/* CPU time of a restore: from the fork to parked again. */
static int restore_cpu(struct vmm *template, uint32_t flags, struct samples *cpu, struct err *err)
{
    struct err ignored = { 0 };
    struct control_msg wake, msg;
    struct vmm_clone clone;

    vmm_wake_init(&wake, DOORBELL_OP_RESTORE, flags | DOORBELL_FLAG_PARK_AGAIN);
    int rc = vmm_clone_start(&clone, template, &wake, err);
    if (rc == 0)
        rc = vmm_clone_hello(&clone, err);
    if (rc == 0)
        rc = vmm_clone_expect(&clone, CONTROL_PARKED, &msg, err);
    if (rc == 0)
        samples_add(cpu, process_cpu_ns(vmm_clone_pid(&clone)));
    vmm_clone_end(&clone, &ignored);
    return rc;
}

static int measure_cpu(struct bench *bench, uint32_t flags, struct samples *cpu, struct err *err)
{
    struct image *image;
    struct vmm template;
    int rc = image_get(bench, MIB(128), &image, err);

    if (rc != 0)
        return rc;
    rc = vmm_template(&template, bench, image->dir_fd, NULL, err);
    for (unsigned i = 0; rc == 0 && i < bench_runs(bench, 30, 2); i++)
        rc = restore_cpu(&template, flags, cpu, err);
    vmm_end(&template);
    return rc;
}

/* Latencies by when the request was due: are the last seconds like the first? */
static void report_parts(struct bench *bench, const char *prefix,
                         const struct client_events *events, uint64_t run_ns)
{
    struct samples part[PARTS] = { 0 }, all = { 0 };
    char name[96];
    struct report_row row = { .name = name };

    for (size_t i = 0; i < events->count; i++) {
        uint64_t since_ns = events->event[i].due_ns - events->start_ns;
        size_t index = MIN_OF((size_t)(since_ns * PARTS / run_ns), PARTS - 1);

        samples_add(&all, events->event[i].latency_ns);
        samples_add(&part[index], events->event[i].latency_ns);
    }
    snprintf(name, sizeof name, "%s: acquire", prefix);
    report_latency(&bench->report, &row, &all);
    for (unsigned i = 0; i < PARTS; i++) {
        snprintf(name, sizeof name, "%s: acquire, part %u of %u", prefix, i + 1, PARTS);
        report_latency(&bench->report, &row, &part[i]);
        samples_fini(&part[i]);
    }
    samples_fini(&all);
}

static int measure(struct bench *bench, enum daemon_work work, struct err *err)
{
    const char *prefix = work_names[work];
    struct client_plan plan = { .clients = CLIENTS,
                                .release = true,
                                .run_ns = bench_runs(bench, 30, 2) * NS_PER_S };
    struct client_events events = { 0 };
    struct samples cpu = { 0 };
    struct daemon *daemon;
    char name[96];
    struct report_row row = { .name = name, .unit = "/s" };
    int rc = daemon_get(bench, work, &daemon, err);

    if (rc != 0)
        return rc;
    rc = measure_cpu(bench, work == DAEMON_NO_WORK ? DOORBELL_FLAG_SKIP_KERNEL_WORK : 0, &cpu, err);
    if (rc == 0)
        rc = daemon_scale(daemon, POOL_MIN, POOL_MIN, err);
    if (rc == 0)
        rc = daemon_wait_parked(daemon, POOL_MIN, err);
    if (rc == 0) {
        progress_show("churn", 0, 0);
        rc = clients_run(daemon, &plan, &events, err);
    }
    if (rc == 0) {
        uint64_t last_ns = events.start_ns + 1;

        for (size_t i = 0; i < events.count; i++)
            last_ns = MAX_OF(last_ns, events.event[i].response_ns);
        double rate = (double)events.count * 1e9 / (double)(last_ns - events.start_ns);
        double cpu_ns = (double)samples_percentile(&cpu, 50);

        snprintf(name, sizeof name, "%s: rate", prefix);
        report_value(&bench->report, &row, rate);
        snprintf(name, sizeof name, "%s: CPU time of a restore", prefix);
        report_latency(&bench->report, &row, &cpu);
        row.unit = NULL;
        row.note = "of cores / CPU time of a restore";
        snprintf(name, sizeof name, "%s: rate/CPU limit", prefix);
        report_value(&bench->report, &row,
                     rate / ((double)sysconf(_SC_NPROCESSORS_ONLN) * 1e9 / cpu_ns));
        report_parts(bench, prefix, &events, plan.run_ns);
    }
    client_events_fini(&events);
    samples_fini(&cpu);
    return rc == 0 ? daemon_empty(daemon, err) : rc;
}

int suite_churn(struct bench *bench, struct err *err)
{
    int rc = measure(bench, DAEMON_ALL_WORK, err);

    return rc == 0 ? measure(bench, DAEMON_NO_WORK, err) : rc;
}
