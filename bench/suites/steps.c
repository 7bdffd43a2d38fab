/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `steps`: the parts that a restore's latency consists of, from the times that come with
 * every AWAKE. The parts of one sample add up to its total; so do the means, which are compared. */
#include <stdio.h>

#include "base/util.h"
#include "bench.h"
#include "image.h"
#include "tiers.h"

#define STEP_COUNT 4

static const struct {
    const char *name;
    size_t offset; /* in struct tier_times */
} steps[STEP_COUNT] = {
    { "1 request to fork, or to the vCPU's thread", offsetof(struct tier_times, request_ns) },
    { "2 fork, confine, map memory, make VM and vCPU", offsetof(struct tier_times, make_ns) },
    { "3 load vCPU and chip state", offsetof(struct tier_times, load_ns) },
    { "4 run to the guest's checked answer", offsetof(struct tier_times, run_ns) },
};

struct figures {
    struct samples step[TIER_COUNT][STEP_COUNT];
    struct samples total[TIER_COUNT];
};

static void keep(struct figures *figures, enum tier tier, const struct tier_times *times)
{
    for (int i = 0; i < STEP_COUNT; i++)
        samples_add(&figures->step[tier][i],
                    *(const uint64_t *)((const char *)times + steps[i].offset));
    samples_add(&figures->total[tier], times->answer_ns);
}

static void report(struct bench *bench, struct figures *figures)
{
    for (int tier = 0; tier < TIER_COUNT; tier++) {
        double sum = 0;
        char name[96];
        struct report_row row = { .name = name, .unit = "ns" };

        for (int i = 0; i < STEP_COUNT; i++) {
            struct summary summary = samples_summarize(&figures->step[tier][i]);

            if (summary.max == 0)
                continue;
            sum += summary.mean;
            snprintf(name, sizeof name, "tier=%s: %s", tier_name((enum tier)tier), steps[i].name);
            report_latency(&bench->report, &row, &figures->step[tier][i]);
        }
        snprintf(name, sizeof name, "tier=%s: total", tier_name((enum tier)tier));
        report_latency(&bench->report, &row, &figures->total[tier]);
        snprintf(name, sizeof name, "tier=%s: mean of total - of parts",
                 tier_name((enum tier)tier));
        report_value(&bench->report, &row, samples_summarize(&figures->total[tier]).mean - sum);
    }
}

int suite_steps(struct bench *bench, struct err *err)
{
    unsigned runs = bench_runs(bench, 200, 3);
    struct tier_times cold, shell, parked;
    struct figures figures = { 0 };
    struct vmm template;
    struct image *image;
    int rc = image_get(bench, MIB(128), &image, err);

    if (rc != 0)
        return rc;
    rc = vmm_template(&template, bench, image->dir_fd, NULL, err);
    for (unsigned i = 0; rc == 0 && i < runs; i++) {
        rc = tier_measure_cold(&template, 0, &cold, err);
        if (rc == 0)
            rc = tier_measure_shell(&template, 0, &shell, &parked, NULL, NULL, err);
        if (rc == 0) {
            keep(&figures, TIER_COLD, &cold);
            keep(&figures, TIER_SHELL, &shell);
            keep(&figures, TIER_PARKED, &parked);
        }
        progress_show("restores, step by step", i + 1, runs);
    }
    progress_clear();
    vmm_end(&template);
    if (rc == 0)
        report(bench, &figures);
    for (int tier = 0; tier < TIER_COUNT; tier++) {
        for (int i = 0; i < STEP_COUNT; i++)
            samples_fini(&figures.step[tier][i]);
        samples_fini(&figures.total[tier]);
    }
    return rc;
}
