/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `direct`: `volt-vmm --restore DIR` without a daemon, from the start of its process until it
 * has told of the guest's checked answer; one alone and 20 at once. Samples of the floor stand
 * beside those of one. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/util.h"
#include "bench.h"
#include "floor.h"
#include "image.h"
#include "snapshot/memory_mark.h"
#include "speaker.h"

#define AT_ONCE 20u
#define ANSWER "volt-vmm: awake"
#define READY "volt-vmm: ready"
#define TIMEOUT_NS (120 * NS_PER_S)

/* What volt-vmm says of its answer's parts; the rest of the sample is the start of its program and
 * the telling. */
#define PARTS                                                                                      \
    " after %lf ms (%lf before its process, %lf to make it, %lf to load it, %lf to its answer)"
#define PART_COUNT 5
static const char *const part_names[PART_COUNT] = {
    "one: 1 program started, and answer told", "one: 2 snapshot and process opened",
    "one: 3 sandboxed and made", "one: 4 state loaded", "one: 5 run to the checked answer"
};

struct subject {
    struct bench *bench;
    const struct image *image;
    struct floor floor;
    struct samples one, first, ready, each, last;
    struct samples part[PART_COUNT];
};

static int start(const struct subject *subject, struct speaker *vm, struct err *err)
{
    const char *const argv[] = { subject->bench->options.volt_vmm, "--restore",
                                 subject->image->path, NULL };

    return speaker_start(vm, subject->bench, argv, SPEAKER_STDERR, "volt-vmm.log", err);
}

static int await(struct speaker *vm, const char *text, uint64_t *ret_ns, struct err *err)
{
    uint64_t at_ns = 0;
    int rc = speaker_wait(vm, text, TIMEOUT_NS, &at_ns, err);

    if (rc < 0)
        return err_wrap(err, "volt-vmm --restore");
    *ret_ns = at_ns - vm->process.start_ns;
    return 0;
}

static int take_parts(struct subject *subject, struct speaker *vm, uint64_t answer_ns,
                      struct err *err)
{
    char line[256];
    double total, ms[PART_COUNT] = { 0 };
    int rc = speaker_rest_of_line(vm, TIMEOUT_NS, line, sizeof line, err);

    if (rc < 0)
        return rc;
    if (sscanf(line, PARTS, &total, &ms[1], &ms[2], &ms[3], &ms[4]) != PART_COUNT)
        return err_set(err, EPROTO, "no parts of an answer: '%s'", line);
    ms[0] = (double)answer_ns / NS_PER_MS - total;
    for (unsigned i = 0; i < PART_COUNT; i++)
        samples_add(&subject->part[i], (uint64_t)(MAX_OF(ms[i], 0) * NS_PER_MS));
    return 0;
}

static int measure_one(struct subject *subject, struct err *err)
{
    struct speaker vm;
    uint64_t answer_ns = 0, ready_ns = 0;
    int rc = floor_measure(&subject->floor, err);

    if (rc == 0)
        rc = start(subject, &vm, err);
    if (rc < 0)
        return rc;
    rc = await(&vm, ANSWER, &answer_ns, err);
    if (rc == 0)
        rc = take_parts(subject, &vm, answer_ns, err);
    if (rc == 0)
        rc = await(&vm, READY, &ready_ns, err);
    speaker_end(&vm);
    if (rc < 0)
        return rc;
    samples_add(&subject->one, answer_ns);
    samples_add(&subject->ready, ready_ns);
    return 0;
}

static int measure_at_once(struct subject *subject, struct err *err)
{
    static struct speaker vms[AT_ONCE];
    uint64_t start_ns = now_ns(), end_ns = 0, answer_ns = 0;
    unsigned started = 0;
    int rc = 0;

    while (rc == 0 && started < AT_ONCE) {
        rc = start(subject, &vms[started], err);
        started += rc == 0;
    }
    for (unsigned i = 0; rc == 0 && i < AT_ONCE; i++) {
        rc = await(&vms[i], ANSWER, &answer_ns, err);
        if (rc == 0)
            end_ns = MAX_OF(end_ns, vms[i].process.start_ns + answer_ns);
    }
    for (unsigned i = 0; i < started; i++)
        speaker_end(&vms[i]);
    if (rc < 0)
        return rc;
    samples_add(&subject->last, end_ns - start_ns);
    samples_add(&subject->each, (end_ns - start_ns) / AT_ONCE);
    return 0;
}

/* One that compares the snapshot's memory, as no mark is there (snapshot/memory_mark.h). Nor is one
 * left of a snapshot that was just made: it is to rest first. */
static int measure_first(struct subject *subject, struct err *err)
{
    struct speaker vm;
    uint64_t answer_ns = 0, ready_ns = 0;

    (void)unlinkat(subject->image->dir_fd, SNAPSHOT_FILE_MEMORY_MARK, 0);
    int rc = start(subject, &vm, err);
    if (rc < 0)
        return rc;
    rc = await(&vm, ANSWER, &answer_ns, err);
    if (rc == 0)
        rc = await(&vm, READY, &ready_ns, err); /* the mark is there by then */
    speaker_end(&vm);
    if (rc == 0)
        samples_add(&subject->first, answer_ns);
    return rc;
}

static int measure(struct subject *subject, struct err *err)
{
    unsigned firsts = bench_runs(subject->bench, 20, 1);
    unsigned runs = bench_runs(subject->bench, 200, 3);
    unsigned groups = bench_runs(subject->bench, 20, 1);
    int rc = 0;

    usleep(MEMORY_MARK_REST_NS / NS_PER_US);
    for (unsigned i = 0; rc == 0 && i < firsts; i++) {
        rc = measure_first(subject, err);
        progress_show("direct restores, the first of a snapshot", i + 1, firsts);
    }

    for (unsigned i = 0; rc == 0 && i < runs; i++) {
        rc = measure_one(subject, err);
        progress_show("direct restores", i + 1, runs);
    }
    for (unsigned i = 0; rc == 0 && i < groups; i++) {
        rc = measure_at_once(subject, err);
        progress_show("direct restores, 20 at once", i + 1, groups);
    }
    progress_clear();
    return rc;
}

static void report(struct subject *subject)
{
    const struct {
        struct report_row row;
        struct samples *samples;
    } rows[] = {
        { { .name = "one",
            .page_cache = "warm",
            .note = "process start to the answer told",
            .floor_name = floor_kind_name(FLOOR_COLD),
            .floor = &subject->floor.samples[FLOOR_COLD] },
          &subject->one },
        { { .name = "one, the first: memory compared" }, &subject->first },
        { { .name = "one, to READY" }, &subject->ready },
        { { .name = "20 at once: each", .note = "the last one's answer / 20" }, &subject->each },
        { { .name = "20 at once: the last" }, &subject->last },
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        report_latency(&subject->bench->report, &rows[i].row, rows[i].samples);
    for (unsigned i = 0; i < PART_COUNT; i++)
        report_latency(&subject->bench->report, &(struct report_row){ .name = part_names[i] },
                       &subject->part[i]);
}

int suite_direct(struct bench *bench, struct err *err)
{
    struct subject subject = { .bench = bench };
    struct image *image;
    int rc = image_get(bench, MIB(128), &image, err);

    if (rc != 0)
        return rc;
    subject.image = image;
    rc = floor_init(&subject.floor, bench->options.work_dir, MIB(128), err);
    if (rc < 0)
        return rc;
    rc = measure(&subject, err);
    if (rc == 0)
        report(&subject);
    floor_fini(&subject.floor);
    samples_fini(&subject.one);
    samples_fini(&subject.first);
    samples_fini(&subject.ready);
    samples_fini(&subject.each);
    samples_fini(&subject.last);
    for (unsigned i = 0; i < PART_COUNT; i++)
        samples_fini(&subject.part[i]);
    return rc;
}
