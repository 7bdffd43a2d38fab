/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `verify`: what it costs to compare a snapshot's memory with its digests before the first VM
 * runs with it, page cache warm, for guests of three sizes; and how much of a file is data, which is
 * all that is read. */
#include <stdio.h>

#include "base/util.h"
#include "bench.h"
#include "image.h"
#include "snapshot/opened.h"

static int one(const struct image *image, struct samples *samples, struct err *err)
{
    struct snapshot_opened opened;
    int rc = snapshot_open(image->dir_fd, &opened, err);

    if (rc < 0)
        return rc;
    const uint64_t start_ns = now_ns();

    rc = snapshot_check(&opened, err);
    if (rc == 0)
        samples_add(samples, now_ns() - start_ns);
    snapshot_close(&opened);
    return rc;
}

static int data_report(struct bench *bench, const struct image *image, unsigned mib,
                       struct err *err)
{
    struct snapshot_opened opened;
    char name[64];
    int rc = snapshot_open(image->dir_fd, &opened, err);

    if (rc < 0)
        return rc;
    snprintf(name, sizeof name, "memory=%uM data", mib);
    report_value(&bench->report, &(struct report_row){ .name = name, .unit = "bytes" },
                 (double)opened.manifest.memory_data_bytes);
    snapshot_close(&opened);
    return 0;
}

static int measure(struct bench *bench, unsigned mib, struct err *err)
{
    const unsigned runs = bench_runs(bench, 100, 2);
    struct samples samples = { 0 };
    struct image *image;
    char name[64];
    int rc = image_get(bench, MIB(mib), &image, err);

    snprintf(name, sizeof name, "memory=%uM cache=warm", mib);
    for (unsigned i = 0; rc == 0 && i < runs; i++) {
        rc = one(image, &samples, err);
        progress_show(name, i + 1, runs);
    }
    progress_clear();
    if (rc == 0) {
        report_latency(&bench->report,
                       &(struct report_row){ .name = name, .x_name = "MiB", .x = mib }, &samples);
        rc = data_report(bench, image, mib, err);
    }
    samples_fini(&samples);
    return rc;
}

int suite_verify(struct bench *bench, struct err *err)
{
    static const unsigned mib[] = { 128, 1024, 8192 };
    const unsigned count = bench->options.quick ? 1 : ARRAY_LEN(mib);
    int rc = 0;

    if (!bench->options.kernel)
        return bench_skip(err, "no guest kernel: see guest-init/kernel/build-kernel");
    for (unsigned i = 0; rc == 0 && i < count; i++)
        rc = measure(bench, mib[i], err);
    return rc;
}
