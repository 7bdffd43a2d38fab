/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `peers`: other monitors with the same kernel, memory and vCPU, one after the other in one
 * run: cold boot, snapshot, load and resume, alone and 20 at once, private memory; then volt-vmm
 * without a daemon, and the tiers of a pool. Only those whose programs are given. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "bench.h"
#include "image.h"
#include "peers/peer.h"
#include "snapshot/memory_mark.h"
#include "tiers.h"

#define MARK_TIMEOUT_NS (60 * NS_PER_S)
#define AT_ONCE 20u
#define NAME_BYTES 96u

static const struct entry {
    const char *name, *option;
    size_t program; /* offset of its path in struct bench_options */
    const struct peer_ops *ops;
    bool
        on_demand; /* another way to load what the entry before it has saved; not all versions can */
} entries[] = {
    { "firecracker", "--firecracker", offsetof(struct bench_options, firecracker),
      &peer_firecracker, false },
    { "cloud-hypervisor", "--cloud-hypervisor", offsetof(struct bench_options, cloud_hypervisor),
      &peer_cloud_hypervisor, false },
    { "cloud-hypervisor on demand", "--cloud-hypervisor",
      offsetof(struct bench_options, cloud_hypervisor), &peer_cloud_hypervisor, true },
    { "qemu microvm", "--qemu", offsetof(struct bench_options, qemu), &peer_qemu, false },
    { "volt direct", "--volt-vmm", offsetof(struct bench_options, volt_vmm), &peer_volt, false },
};

struct figures {
    struct samples boot, save, one, load, each;
    uint64_t private_bytes;
};

/* ---- Figures ---- */

static void report_one(struct bench *bench, const char *who, const char *what, uint64_t ram_bytes,
                       struct samples *samples)
{
    char name[NAME_BYTES];

    snprintf(name, sizeof name, "%s: %s %lluM", who, what, (unsigned long long)(ram_bytes >> 20));
    report_latency(&bench->report, &(struct report_row){ .name = name, .page_cache = "warm" },
                   samples);
    samples_fini(samples);
}

static void report(const struct peer *peer, const char *who, struct figures *f)
{
    const struct {
        const char *what;
        struct samples *samples;
    } rows[] = { { "boot", &f->boot },
                 { "save", &f->save },
                 { "start to answer", &f->one },
                 { "load to answer", &f->load },
                 { "20 at once, each", &f->each } };
    char name[NAME_BYTES];

    progress_clear();
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        report_one(peer->bench, who, rows[i].what, peer->ram_bytes, rows[i].samples);
    if (f->private_bytes == 0)
        return;
    snprintf(name, sizeof name, "%s: private memory %lluM", who,
             (unsigned long long)(peer->ram_bytes >> 20));
    report_value(&peer->bench->report, &(struct report_row){ .name = name, .unit = "bytes" },
                 (double)f->private_bytes);
}

/* ---- One monitor ---- */

/* The last boot is the one that is saved. */
static int boot_and_save(const struct peer *peer, struct figures *f, struct err *err)
{
    bool large = peer->ram_bytes > MIB(128);
    unsigned boots = large ? 1 : bench_runs(peer->bench, 3, 1);
    struct peer_vm vm;
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < boots; i++) {
        progress_show("cold boots", i, boots);
        rc = peer_vm_boot(&vm, peer, err);
        if (rc < 0)
            return rc;
        samples_add(&f->boot, vm.answer_ns - vm.speaker.process.start_ns);
        if (i + 1 == boots) {
            uint64_t start_ns = now_ns();

            rc = peer->ops->save(&vm, err);
            if (rc < 0)
                err_wrap(err, "taking the snapshot");
            else if (peer->ops != &peer_volt)
                samples_add(&f->save, now_ns() - start_ns);
        }
        peer_vm_end(&vm);
    }
    return rc;
}

static int load_one(const struct peer *peer, struct figures *f, struct err *err)
{
    struct peer_vm vm;
    int rc = peer_vm_load(&vm, peer, err);

    if (rc < 0)
        return rc;
    samples_add(&f->one, vm.answer_ns - vm.speaker.process.start_ns);
    if (vm.load_ns)
        samples_add(&f->load, vm.answer_ns - vm.load_ns);
    f->private_bytes = peer_vm_private_bytes(&vm);
    peer_vm_end(&vm);
    return 0;
}

struct racer {
    const struct peer *peer;
    pthread_t thread;
    uint64_t answer_ns;
    int rc;
    struct err err;
};

/* Ends its VM as soon as that has answered, so that it does not slow down the others. */
static void *race(void *arg)
{
    struct racer *racer = arg;
    struct peer_vm vm;

    racer->rc = peer_vm_load(&vm, racer->peer, &racer->err);
    if (racer->rc == 0)
        racer->answer_ns = vm.answer_ns;
    peer_vm_end(&vm);
    return NULL;
}

static int load_at_once(const struct peer *peer, struct figures *f, struct err *err)
{
    static struct racer racers[AT_ONCE];
    uint64_t start_ns = now_ns(), end_ns = start_ns;
    unsigned started = 0;
    int rc = 0;

    for (; started < AT_ONCE; started++) {
        racers[started] = (struct racer){ .peer = peer };
        rc = pthread_create(&racers[started].thread, NULL, race, &racers[started]);
        if (rc != 0)
            break;
    }
    if (rc != 0)
        rc = err_set_errno(err, rc, "starting a thread");
    for (unsigned i = 0; i < started; i++) {
        pthread_join(racers[i].thread, NULL);
        if (racers[i].rc < 0 && rc == 0) {
            rc = racers[i].rc;
            *err = racers[i].err;
        }
        end_ns = MAX_OF(end_ns, racers[i].answer_ns);
    }
    if (rc == 0)
        samples_add(&f->each, (end_ns - start_ns) / AT_ONCE);
    return rc;
}

static int load_all(const struct peer *peer, struct figures *f, struct err *err)
{
    unsigned runs = bench_runs(peer->bench, 40, 2), groups = bench_runs(peer->bench, 5, 1);
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < runs; i++) {
        progress_show("restores", i, runs);
        rc = load_one(peer, f, err);
    }
    if (peer->ram_bytes > MIB(128))
        return rc; /* 20 at once would not fit everywhere */
    for (unsigned i = 0; rc == 0 && i < groups; i++) {
        progress_show("restores, 20 at once", i, groups);
        rc = load_at_once(peer, f, err);
    }
    return rc;
}

/* ---- All of them ---- */

/* One VM of volt-vmm's runs until its snapshot's memory is marked as compared (snapshot/memory_mark.h),
 * which it is by READY: whoever ends it before has each next one compare again. */
static int mark_wait(const struct peer *peer, struct err *err)
{
    uint64_t ready_ns;
    struct peer_vm vm;
    int rc = peer_vm_load(&vm, peer, err);

    if (rc < 0)
        return rc;
    rc = speaker_wait(&vm.speaker, "volt-vmm: ready", MARK_TIMEOUT_NS, &ready_ns, err);
    peer_vm_end(&vm);
    return rc;
}

static int place_for(struct peer *peer, const struct entry *entry, struct err *err)
{
    struct image *image;

    if (entry->ops == &peer_volt) {
        int rc = image_get(peer->bench, peer->ram_bytes, &image, err);
        if (rc != 0)
            return rc;
        snprintf(peer->dir, sizeof peer->dir, "%s", image->path);
        usleep(MEMORY_MARK_REST_NS / NS_PER_US); /* or each would compare its memory again */
        return mark_wait(peer, err);
    }
    snprintf(peer->dir, sizeof peer->dir, "%s/peer-%s-%llu", peer->bench->options.work_dir,
             entry->option + 2, (unsigned long long)(peer->ram_bytes >> 20));
    if (mkdir(peer->dir, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, errno, "making '%s'", peer->dir);
    return 0;
}

static int measure(struct bench *bench, const struct entry *entry, uint64_t ram_bytes,
                   struct err *err)
{
    struct peer peer = { .ops = entry->ops,
                         .bench = bench,
                         .program = *(const char **)((char *)&bench->options + entry->program),
                         .initrd = bench->options.answering_initrd,
                         .ram_bytes = ram_bytes,
                         .on_demand = entry->on_demand };
    struct figures figures = { 0 };
    int rc = place_for(&peer, entry, err);

    if (rc == 0 && !entry->on_demand)
        rc = boot_and_save(&peer, &figures, err);
    if (rc == 0)
        rc = load_all(&peer, &figures, err);
    if (rc == 0 || !entry->on_demand)
        report(&peer, entry->name, &figures);
    return rc == 0 ? 0 : err_wrap(err, "%s", entry->name);
}

/* The restores of a pool, as suite `restore` times them. */
static int measure_tiers(struct bench *bench, uint64_t ram_bytes, struct err *err)
{
    struct samples tiers[TIER_COUNT] = { 0 };
    unsigned runs = bench_runs(bench, 100, 2);
    struct image *image;
    struct vmm template;
    int rc = image_get(bench, ram_bytes, &image, err);

    if (rc == 0)
        rc = vmm_template(&template, bench, image->dir_fd, NULL, err);
    if (rc != 0)
        return rc;
    for (unsigned i = 0; rc == 0 && i < runs; i++) {
        struct tier_times cold, shell, parked;

        progress_show("restores of a pool", i, runs);
        rc = tier_measure_cold(&template, 0, &cold, err);
        if (rc == 0)
            rc = tier_measure_shell(&template, 0, &shell, &parked, NULL, NULL, err);
        if (rc < 0)
            break;
        samples_add(&tiers[TIER_COLD], cold.received_ns);
        samples_add(&tiers[TIER_SHELL], shell.received_ns);
        samples_add(&tiers[TIER_PARKED], parked.received_ns);
    }
    vmm_end(&template);
    progress_clear();
    for (unsigned i = 0; i < TIER_COUNT; i++) {
        char who[32];

        snprintf(who, sizeof who, "volt %s", tier_name((enum tier)i));
        report_one(bench, who, "asked to answer", ram_bytes, &tiers[i]);
    }
    return rc;
}

/* One that fails does not keep the others from being measured; the first failure is the suite's. */
static void measure_entries(struct bench *bench, uint64_t ram_bytes, bool *skipped,
                            struct err *first)
{
    bool broken = false; /* the one before an entry that needs what it saved */

    for (unsigned i = 0; i < ARRAY_LEN(entries); i++) {
        const struct entry *entry = &entries[i];
        struct err err = { 0 };

        if (!*(const char **)((char *)&bench->options + entry->program)) {
            if (!skipped[i])
                printf("%-10s %s: skipped: %s PATH was not given\n", "peers", entry->name,
                       entry->option);
            skipped[i] = true;
            continue;
        }
        if (entry->on_demand && (broken || skipped[i]))
            continue;
        broken = measure(bench, entry, ram_bytes, &err) < 0;
        progress_clear();
        if (broken)
            printf("%-10s %s%s\n", "peers", entry->on_demand ? "skipped: " : "", err.msg);
        if (broken && entry->on_demand)
            skipped[i] = true;
        else if (broken && !first->code)
            *first = err;
    }
}

int suite_peers(struct bench *bench, struct err *err)
{
    static const uint64_t sizes[] = { MIB(128), GIB(1) };
    unsigned size_count = bench_runs(bench, ARRAY_LEN(sizes), 1);
    bool skipped[ARRAY_LEN(entries)] = { false };
    int rc = 0;

    if (!bench->options.kernel)
        return bench_skip(err, "no guest kernel: see guest-init/kernel/build-kernel");
    if (!bench->options.answering_initrd)
        return bench_skip(err, "no initramfs with the answering init: see --help");
    err->code = 0;
    for (unsigned i = 0; rc == 0 && i < size_count; i++) {
        struct err why = { 0 };

        measure_entries(bench, sizes[i], skipped, err);
        if (bench->options.volt_vmm)
            rc = measure_tiers(bench, sizes[i], &why);
        if (rc < 0 && !err->code)
            *err = why;
    }
    return err->code ? -err->code : rc;
}
