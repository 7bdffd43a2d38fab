/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `security`: start-up with all layers against none, tier by tier, and what each layer costs
 * by itself (layer_costs.h). */
#include <stdio.h>

#include "base/util.h"
#include "bench.h"
#include "image.h"
#include "layer_costs.h"
#include "tiers.h"

enum side { SIDE_ALL, SIDE_NONE, SIDE_COUNT };

static const char *const side_names[SIDE_COUNT] = { "all", "none" };
static const char *const no_layers[] = { "--no-seccomp", "--no-landlock", "--no-namespaces",
                                         "--no-capabilities", NULL };

struct subject {
    struct vmm template[SIDE_COUNT];
    struct samples answer[SIDE_COUNT][TIER_COUNT];
};

static int measure(struct subject *subject, unsigned runs, struct err *err)
{
    struct tier_times times[TIER_COUNT];
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < runs; i++) {
        for (int side = 0; rc == 0 && side < SIDE_COUNT; side++) {
            struct vmm *template = &subject->template[side];

            rc = tier_measure_cold(template, 0, &times[TIER_COLD], err);
            if (rc == 0)
                rc = tier_measure_shell(template, 0, &times[TIER_SHELL], &times[TIER_PARKED], NULL,
                                        NULL, err);
            for (int tier = 0; rc == 0 && tier < TIER_COUNT; tier++)
                samples_add(&subject->answer[side][tier], times[tier].answer_ns);
        }
        progress_show("restores with all layers and with none", i + 1, runs);
    }
    progress_clear();
    return rc;
}

static void report_tiers(struct bench *bench, struct subject *subject)
{
    char name[64];
    struct report_row row = { .name = name };

    for (int tier = 0; tier < TIER_COUNT; tier++) {
        double p50[SIDE_COUNT];

        for (int side = 0; side < SIDE_COUNT; side++) {
            struct samples *samples = &subject->answer[side][tier];

            snprintf(name, sizeof name, "tier=%s layers=%s", tier_name((enum tier)tier),
                     side_names[side]);
            row.unit = NULL;
            report_latency(&bench->report, &row, samples);
            p50[side] = (double)samples_percentile(samples, 50);
        }
        row.unit = "ns";
        if (tier == TIER_COLD)
            snprintf(name, sizeof name, "start-up, all layers - none");
        else
            snprintf(name, sizeof name, "tier=%s, all layers - none", tier_name((enum tier)tier));
        report_value(&bench->report, &row, p50[SIDE_ALL] - p50[SIDE_NONE]);
    }
}

static int report_layers(struct bench *bench, unsigned runs, struct err *err)
{
    struct samples layers[LAYER_COST_COUNT] = { 0 };
    int rc = layer_costs_measure(runs, layers, err);

    for (int i = 0; rc == 0 && i < LAYER_COST_COUNT; i++)
        report_latency(&bench->report, &(struct report_row){ .name = layer_cost_names[i] },
                       &layers[i]);
    for (int i = 0; i < LAYER_COST_COUNT; i++)
        samples_fini(&layers[i]);
    return rc;
}

int suite_security(struct bench *bench, struct err *err)
{
    const char *const *extra[SIDE_COUNT] = { NULL, no_layers };
    unsigned runs = bench_runs(bench, 100, 2);
    struct subject subject = { 0 };
    struct image *image;
    int rc = image_get(bench, MIB(128), &image, err);

    if (rc != 0)
        return rc;
    for (int side = 0; rc == 0 && side < SIDE_COUNT; side++)
        rc = vmm_template(&subject.template[side], bench, image -> dir_fd, extra[side], err);
    if (rc == 0)
        rc = measure(&subject, runs, err);
    for (int side = 0; side < SIDE_COUNT; side++)
        vmm_end(&subject.template[side]);
    if (rc == 0)
        report_tiers(bench, &subject);
    for (int side = 0; side < SIDE_COUNT; side++) {
        for (int tier = 0; tier < TIER_COUNT; tier++)
            samples_fini(&subject.answer[side][tier]);
    }
    return rc == 0 ? report_layers(bench, runs, err) : rc;
}
