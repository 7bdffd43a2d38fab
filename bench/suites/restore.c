/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `restore`: tiers x page cache x memory sizes, driving volt-vmm directly. Every sample
 * stands beside one of the floor and one of each other kind, so that a change of the machine's mood
 * meets all of them. */
#include <stdio.h>
#include <unistd.h>

#include "base/util.h"
#include "bench.h"
#include "floor.h"
#include "image.h"
#include "tiers.h"

enum cache { CACHE_WARM, CACHE_COLD, CACHE_COUNT };

static const char *const cache_names[CACHE_COUNT] = { "warm", "cold" };

/* One memory size, with or without a recorded working set. */
struct subject {
    uint64_t ram_bytes;
    bool plain;
    int dir_fd; /* the image's */
    struct image *image;
    struct vmm template;
    struct floor floor;
    struct samples answer[CACHE_COUNT][TIER_COUNT];
    struct samples received[CACHE_COUNT][TIER_COUNT];
    struct samples ready[CACHE_COUNT][TIER_COUNT];
    uint64_t resident_bytes; /* the most that an eviction left behind */
};

static int subject_init(struct subject *subject, struct bench *bench, struct err *err)
{
    int rc = image_get(bench, subject->ram_bytes, &subject->image, err);

    if (rc != 0)
        return rc;
    subject->dir_fd = subject->plain ? subject->image->plain_dir_fd : subject->image->dir_fd;
    rc = vmm_template(&subject->template, bench, subject->dir_fd, NULL, err);
    if (rc == 0)
        rc = floor_init(&subject->floor, bench->options.work_dir, subject->ram_bytes, err);
    return rc;
}

static void subject_fini(struct subject *subject)
{
    vmm_end(&subject->template);
    if (subject->floor.ram_bytes)
        floor_fini(&subject->floor);
    for (int cache = 0; cache < CACHE_COUNT; cache++) {
        for (int tier = 0; tier < TIER_COUNT; tier++) {
            samples_fini(&subject->answer[cache][tier]);
            samples_fini(&subject->received[cache][tier]);
            samples_fini(&subject->ready[cache][tier]);
        }
    }
}

static int evict(void *data, struct err *err)
{
    struct subject *subject = data;
    uint64_t resident;
    int rc = image_evict(subject->dir_fd, &resident, err);

    if (rc == 0)
        subject->resident_bytes = MAX_OF(subject->resident_bytes, resident);
    return rc;
}

static void keep(struct subject *subject, enum cache cache, enum tier tier,
                 const struct tier_times *times)
{
    samples_add(&subject->answer[cache][tier], times->answer_ns);
    samples_add(&subject->received[cache][tier], times->received_ns);
    if (times->ready_ns)
        samples_add(&subject->ready[cache][tier], times->ready_ns);
}

static int measure(struct subject *subject, enum cache cache, struct err *err)
{
    struct tier_times cold, shell, parked;
    int rc = floor_measure(&subject->floor, err);

    if (rc == 0 && cache == CACHE_COLD)
        rc = evict(subject, err);
    if (rc == 0)
        rc = tier_measure_cold(&subject->template, 0, &cold, err);
    if (rc == 0)
        rc = tier_measure_shell(&subject->template, 0, &shell, &parked,
                                cache == CACHE_COLD ? evict : NULL, subject, err);
    if (rc < 0)
        return rc;
    keep(subject, cache, TIER_COLD, &cold);
    keep(subject, cache, TIER_SHELL, &shell);
    if (cache == CACHE_WARM) /* a parked VM has its pages: it cannot meet a cold cache */
        keep(subject, cache, TIER_PARKED, &parked);
    return 0;
}

static int measure_all(struct subject *subjects, unsigned count, enum cache cache, unsigned runs,
                       struct err *err)
{
    char what[64];
    int rc = 0;

    snprintf(what, sizeof what, "restores, page cache %s", cache_names[cache]);
    for (unsigned i = 0; rc == 0 && i < runs; i++) {
        for (unsigned s = 0; rc == 0 && s < count; s++)
            rc = measure(&subjects[s], cache, err);
        progress_show(what, i + 1, runs);
    }
    return rc;
}

/* ---- Reporting ---- */

static void report_tier(struct bench *bench, struct subject *subject, enum cache cache,
                        enum tier tier)
{
    char name[96], note[96];
    struct report_row row = {
        .name = name,
        .page_cache = cache_names[cache],
        .floor_name = floor_kind_name((enum floor_kind)tier),
        .floor = &subject->floor.samples[tier],
    };
    int used = snprintf(name, sizeof name, "tier=%s memory=%uM cache=%s%s", tier_name(tier),
                        (unsigned)(subject->ram_bytes >> 20), cache_names[cache],
                        subject->plain ? " no working set" : "");

    if (cache == CACHE_COLD) {
        snprintf(note, sizeof note, "at most %.1f MiB stayed in the cache",
                 (double)subject->resident_bytes / 1048576);
        row.note = note;
    }
    report_latency(&bench->report, &row, &subject->answer[cache][tier]);
    row.note = row.floor_name = NULL;
    row.floor = NULL;
    snprintf(name + used, sizeof name - (size_t)used, " received");
    report_latency(&bench->report, &row, &subject->received[cache][tier]);
    snprintf(name + used, sizeof name - (size_t)used, " to READY");
    report_latency(&bench->report, &row, &subject->ready[cache][tier]);
}

static void report_ratio(struct bench *bench, const char *name, struct samples *over,
                         struct samples *under)
{
    const struct report_row row = { .name = name, .note = "p50 / p50" };

    if (over->count && under->count)
        report_value(&bench->report, &row,
                     (double)samples_percentile(over, 50) / (double)samples_percentile(under, 50));
}

int suite_restore(struct bench *bench, struct err *err)
{
    struct subject subjects[] = { { .ram_bytes = MIB(128) },
                                  { .ram_bytes = MIB(128), .plain = true },
                                  { .ram_bytes = MIB(1024) },
                                  { .ram_bytes = MIB(4096) } };
    /* Guests with much memory take long to boot: --quick goes without. */
    unsigned count = bench->options.quick ? 2 : ARRAY_LEN(subjects);
    int rc = 0;

    for (unsigned s = 0; rc == 0 && s < count; s++)
        rc = subject_init(&subjects[s], bench, err);
    if (rc == 0)
        rc = measure_all(subjects, count, CACHE_WARM, bench_runs(bench, 200, 3), err);
    if (rc == 0)
        rc = measure_all(subjects, count, CACHE_COLD, bench_runs(bench, 40, 2), err);
    progress_clear();
    for (unsigned s = 0; rc == 0 && s < count; s++) {
        for (int cache = 0; cache < CACHE_COUNT; cache++) {
            for (int tier = 0; tier < TIER_COUNT; tier++)
                report_tier(bench, &subjects[s], (enum cache)cache, (enum tier)tier);
        }
    }
    if (rc == 0)
        report_ratio(bench, "tier=cold cache=cold/warm", &subjects[0].answer[CACHE_COLD][TIER_COLD],
                     &subjects[0].answer[CACHE_WARM][TIER_COLD]);
    for (unsigned s = 2; rc == 0 && s < count; s++) {
        for (int tier = 0; tier < TIER_COUNT; tier++) {
            char name[64];

            snprintf(name, sizeof name, "tier=%s %uM/128M", tier_name((enum tier)tier),
                     (unsigned)(subjects[s].ram_bytes >> 20));
            report_ratio(bench, name, &subjects[s].answer[CACHE_WARM][tier],
                         &subjects[0].answer[CACHE_WARM][tier]);
        }
    }
    for (unsigned s = 0; s < count; s++)
        subject_fini(&subjects[s]);
    return rc;
}
