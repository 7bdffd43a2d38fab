/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `snapshot`: a booted, parked guest is snapshotted again and again. */
#include <stdio.h>

#include "base/util.h"
#include "bench.h"
#include "image.h"

struct figures {
    struct samples create, save, stopped, commit;
    uint64_t disk_bytes;
};

static int measure(struct bench *bench, struct vmm *vmm, unsigned runs, struct figures *figures,
                   struct err *err)
{
    struct image_times times = { 0 };

    for (unsigned i = 0; i < runs; i++) {
        int rc = image_snapshot(bench, vmm, MIB(128), "again", &times, err);

        if (rc < 0)
            return rc;
        samples_add(&figures->create, times.save_ns + times.commit_ns);
        samples_add(&figures->save, times.save_ns);
        samples_add(&figures->stopped, times.stopped_ns);
        samples_add(&figures->commit, times.commit_ns);
        figures->disk_bytes = times.disk_bytes;
        progress_show("snapshots", i + 1, runs);
    }
    progress_clear();
    return 0;
}

int suite_snapshot(struct bench *bench, struct err *err)
{
    struct figures figures = { 0 };
    struct control_msg banner;
    struct vmm vmm;

    if (!bench->options.kernel)
        return bench_skip(err, "no guest kernel: see guest-init/kernel/build-kernel");
    int rc = image_boot(bench, &vmm, MIB(128), &banner, err);
    if (rc < 0)
        return rc;
    rc = measure(bench, &vmm, bench_runs(bench, 30, 2), &figures, err);
    vmm_end(&vmm);
    if (rc == 0) {
        report_latency(&bench->report,
                       &(struct report_row){ .name = "create", .note = "save + commit" },
                       &figures.create);
        report_latency(&bench->report, &(struct report_row){ .name = "guest stopped" },
                       &figures.stopped);
        report_latency(&bench->report,
                       &(struct report_row){ .name = "save", .note = "SNAPSHOT to SNAPSHOT_DONE" },
                       &figures.save);
        report_latency(&bench->report,
                       &(struct report_row){ .name = "commit", .note = "hash, fsync, rename" },
                       &figures.commit);
        report_value(&bench->report, &(struct report_row){ .name = "disk", .unit = "bytes" },
                     (double)figures.disk_bytes);
    }
    samples_fini(&figures.create);
    samples_fini(&figures.save);
    samples_fini(&figures.stopped);
    samples_fini(&figures.commit);
    return rc;
}
