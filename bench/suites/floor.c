/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `floor`: what this machine's KVM needs at least, alone and with nothing in between. */
#include "floor.h"
#include "base/util.h"
#include "bench.h"

int suite_floor(struct bench *bench, struct err *err)
{
    static const struct report_row rows[FLOOR_COUNT] = {
        [FLOOR_COLD] = { .name = "cold", .page_cache = "warm" },
        [FLOOR_SHELL] = { .name = "shell", .page_cache = "warm" },
        [FLOOR_PARKED] = { .name = "parked", .page_cache = "warm" },
    };
    unsigned runs = bench_runs(bench, 300, 5);
    struct floor floor;
    int rc = floor_init(&floor, bench->options.work_dir, MIB(128), err);

    if (rc < 0)
        return rc;
    for (unsigned i = 0; rc == 0 && i < runs; i++) {
        rc = floor_measure(&floor, err);
        progress_show("floor", i + 1, runs);
    }
    progress_clear();
    for (int kind = 0; rc == 0 && kind < FLOOR_COUNT; kind++)
        report_latency(&bench->report, &rows[kind], &floor.samples[kind]);
    floor_fini(&floor);
    return rc;
}
