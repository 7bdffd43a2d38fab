/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `first-exec`: a command in a VM just acquired, against the 20th in the same VM; and after a
 * restore on demand with the snapshot in the page cache and evicted from it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/util.h"
#include "daemon.h"
#include "guest_command.h"
#include "image.h"

#define EXECS 20u

static int exec_once(struct api *api, const char *lease, uint64_t *ret_ns, struct err *err)
{
    static const char *const argv[] = { "/bin/true", NULL };

    return command_run(api, lease, argv, 0, ret_ns, err);
}

/* ---- First against twentieth ---- */

static int one_lease(struct daemon *daemon, struct samples nth[EXECS], struct err *err)
{
    struct daemon_lease lease;
    int rc = daemon_acquire(&daemon->api, &lease, err);

    for (unsigned i = 0; rc == 0 && i < EXECS; i++) {
        uint64_t ns;

        rc = exec_once(&daemon->api, lease.id, &ns, err);
        if (rc == 0)
            samples_add(&nth[i], ns);
    }
    return rc == 0 ? daemon_release(&daemon->api, &lease, err) : rc;
}

static int measure_parked(struct bench *bench, struct daemon *daemon, struct err *err)
{
    unsigned runs = bench_runs(bench, 10, 1);
    struct samples nth[EXECS] = { 0 };
    char name[48];
    int rc = daemon_stock(daemon, runs, err);

    for (unsigned i = 0; rc == 0 && i < runs; i++) {
        rc = one_lease(daemon, nth, err);
        progress_show("execs in VMs just acquired", i + 1, runs);
    }
    progress_clear();
    for (unsigned i = 0; rc == 0 && i < EXECS; i++) {
        snprintf(name, sizeof name, "tier=parked exec %u", i + 1);
        report_latency(&bench->report,
                       &(struct report_row){ .name = name, .x_name = "exec", .x = i + 1 }, &nth[i]);
    }
    if (rc == 0)
        report_value(&bench->report, &(struct report_row){ .name = "first/20th" },
                     (double)samples_percentile(&nth[0], 50) /
                         (double)samples_percentile(&nth[EXECS - 1], 50));
    for (unsigned i = 0; i < EXECS; i++)
        samples_fini(&nth[i]);
    return rc;
}

/* ---- Restored on demand, page cache warm or cold ---- */

static int one_restore(struct daemon *daemon, bool evict, struct samples *acquire,
                       struct samples *to_exec, struct err *err)
{
    struct daemon_lease lease;
    uint64_t exec_ns, resident;
    int rc = daemon_empty(daemon, err);

    if (rc == 0 && evict) {
        _cleanup_close_ int dir_fd = open(daemon->snapshot_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        rc = dir_fd < 0 ? err_set_errno(err, errno, "opening '%s'", daemon->snapshot_dir)
                        : image_evict(dir_fd, &resident, err);
    }
    if (rc == 0)
        rc = daemon_acquire(&daemon->api, &lease, err);
    if (rc == 0)
        rc = exec_once(&daemon->api, lease.id, &exec_ns, err);
    if (rc < 0)
        return rc;
    samples_add(acquire, lease.latency_ns);
    samples_add(to_exec, lease.latency_ns + exec_ns);
    return daemon_release(&daemon->api, &lease, err);
}

static int measure_cold(struct bench *bench, struct daemon *daemon, struct err *err)
{
    static const char *const cache[] = { "warm", "cold" };
    unsigned runs = bench_runs(bench, 15, 1);
    struct samples acquire[2] = { 0 }, to_exec[2] = { 0 };
    char name[64];
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < 2 * runs; i++) {
        rc = one_restore(daemon, i % 2, &acquire[i % 2], &to_exec[i % 2], err);
        progress_show("restores on demand and their first exec", i + 1, 2 * runs);
    }
    progress_clear();
    for (int i = 0; rc == 0 && i < 2; i++) {
        struct report_row row = { .name = name, .page_cache = cache[i] };

        snprintf(name, sizeof name, "tier=cold cache=%s acquire", cache[i]);
        report_latency(&bench->report, &row, &acquire[i]);
        snprintf(name, sizeof name, "tier=cold cache=%s acquire and first exec", cache[i]);
        report_latency(&bench->report, &row, &to_exec[i]);
    }
    if (rc == 0)
        report_value(&bench->report,
                     &(struct report_row){ .name = "cache=cold/warm",
                                           .note = "acquire and first exec, p50 / p50" },
                     (double)samples_percentile(&to_exec[1], 50) /
                         (double)samples_percentile(&to_exec[0], 50));
    for (int i = 0; i < 2; i++) {
        samples_fini(&acquire[i]);
        samples_fini(&to_exec[i]);
    }
    return rc;
}

int suite_first_exec(struct bench *bench, struct err *err)
{
    struct daemon *daemon;
    int rc = daemon_get(bench, DAEMON_ALL_WORK, &daemon, err);

    if (rc == 0)
        rc = measure_parked(bench, daemon, err);
    return rc == 0 ? measure_cold(bench, daemon, err) : rc;
}
