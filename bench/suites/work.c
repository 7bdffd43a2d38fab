/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `work`: what jobs do with a VM: files copied in and out, output, the disk, programs. The same
 * in a leased VM and in QEMU's microvm by turns; beside them what the guest's kernel takes alone.
 *
 * Files go into a VM of Volt by voltctl cp. QEMU's has no way in of its own without a module of the
 * host's (vhost-vsock) or a file system that the guest has not (9p), so there a tar archive is written
 * to its disk, and unpacked in the guest, as is usual. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "peers/peer.h"
#include "work_guest.h"

struct sizes {
    unsigned runs, mib, files, programs;
};

/* What is copied: a folder in the work directory, of that name. */
struct tree {
    const char *name;
    unsigned files;
    uint64_t file_bytes;
};

enum job {
    JOB_WRITE_DIRECT,
    JOB_READ_DIRECT,
    JOB_WRITE_CACHED,
    JOB_READ_CACHED,
    JOB_PROGRAMS,
    JOB_LARGE_IN,
    JOB_LARGE_ALONE,
    JOB_LARGE_OUT,
    JOB_SMALL_IN,
    JOB_SMALL_ALONE,
    JOB_SMALL_OUT,
    JOB_OUTPUT,
    JOB_COUNT
};

/* Those with a script are the same in both guests; %u is the size. */
static const struct {
    const char *name, *prepare, *script;
    size_t size_offset;
    bool disk;
} jobs[JOB_COUNT] = {
    [JOB_WRITE_DIRECT] = { "disk written, direct", NULL,
                           "dd if=/dev/zero of=/dev/vda bs=1M count=%u oflag=direct 2>/dev/null",
                           offsetof(struct sizes, mib), true },
    [JOB_READ_DIRECT] = { "disk read, direct", NULL,
                          "dd if=/dev/vda of=/dev/null bs=1M count=%u iflag=direct 2>/dev/null",
                          offsetof(struct sizes, mib), true },
    [JOB_WRITE_CACHED] = { "disk written, cached", NULL,
                           "dd if=/dev/zero of=/dev/vda bs=1M count=%u conv=fsync 2>/dev/null",
                           offsetof(struct sizes, mib), true },
    [JOB_READ_CACHED] = { "disk read, cached", "echo 3 >/proc/sys/vm/drop_caches",
                          "dd if=/dev/vda of=/dev/null bs=1M count=%u 2>/dev/null",
                          offsetof(struct sizes, mib), true },
    [JOB_PROGRAMS] = { "short programs", NULL, "for i in $(seq %u); do /bin/ls / >/dev/null; done",
                       offsetof(struct sizes, programs) },
    [JOB_LARGE_IN] = { "large file in" },
    [JOB_LARGE_ALONE] = { "large file, guest alone" },
    [JOB_LARGE_OUT] = { "large file out" },
    [JOB_SMALL_IN] = { "small files in" },
    [JOB_SMALL_ALONE] = { "small files, guest alone" },
    [JOB_SMALL_OUT] = { "small files out" },
    [JOB_OUTPUT] = { "output" },
};

/* Of a job in Volt's guest: how much of its time the vCPU's thread ran. A share near 1 says that the
 * guest was the limit, and no VMM could be faster. */
struct share {
    uint64_t vcpu_ns, wall_ns;
};

struct figures {
    struct samples took[WORK_VMM_COUNT][JOB_COUNT];
    struct share share[JOB_COUNT];
};

/* Before the job and behind it. */
static void share_add(struct share *share, const struct work_guest *guest, bool ends)
{
    if (guest->vmm != WORK_VOLT)
        return;
    uint64_t vcpu_ns = process_vcpu0_ns(guest->pid), wall_ns = now_ns();

    share->vcpu_ns += ends ? vcpu_ns : -vcpu_ns;
    share->wall_ns += ends ? wall_ns : -wall_ns;
}

/* ---- The host's side ---- */

static int make_tree(struct bench *bench, const struct tree *tree, struct err *err)
{
    _cleanup_free_ char *block = malloc(tree->file_bytes);
    char path[600];
    int rc = 0;

    if (!block)
        return err_set_errno(err, ENOMEM, "making files to copy");
    memset(block, 'v', tree->file_bytes);
    snprintf(path, sizeof path, "%s/%s", bench->options.work_dir, tree->name);
    if (rc == 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
        rc = err_set_errno(err, errno, "making '%s'", path);
    for (unsigned i = 0; rc == 0 && i < tree->files; i++) {
        snprintf(path, sizeof path, "%s/%s/%u", bench->options.work_dir, tree->name, i);
        FILE *file = fopen(path, "we");
        bool whole = file && fwrite(block, tree->file_bytes, 1, file) == 1;

        if ((file && fclose(file) != 0) || !whole)
            rc = err_set_errno(err, errno ? errno : EIO, "writing '%s'", path);
    }
    return rc;
}

static int shell(struct bench *bench, uint64_t *ret_ns, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static int shell(struct bench *bench, uint64_t *ret_ns, struct err *err, const char *fmt, ...)
{
    char script[2048];
    va_list args;

    va_start(args, fmt);
    vsnprintf(script, sizeof script, fmt, args);
    va_end(args);
    return work_host_run(bench, (const char *const[]){ "/bin/sh", "-c", script, NULL }, ret_ns,
                         err);
}

/* ---- Copies ---- */

static int volt_copy(struct work_guest *guest, const struct tree *tree, bool in, uint64_t *ret_ns,
                     struct err *err)
{
    struct bench *bench = guest->bench;
    char here[600], there[DAEMON_LEASE_BYTES + 64];

    snprintf(here, sizeof here, "%s/%s%s", bench->options.work_dir, in ? "" : "out-", tree->name);
    snprintf(there, sizeof there, "%s:/tmp/%s", guest->lease.id, tree->name);
    const char *const argv[] = { bench->options.voltctl,
                                 "--socket",
                                 guest->daemon->socket,
                                 "cp",
                                 "--quiet",
                                 in ? here : there,
                                 in ? there : here,
                                 NULL };
    return work_host_run(bench, argv, ret_ns, err);
}

/* By its disk: what the host does, and what the guest does. */
static int qemu_copy(struct work_guest *guest, const struct tree *tree, bool in, uint64_t *ret_ns,
                     struct err *err)
{
    const char *dir = guest->bench->options.work_dir;
    uint64_t host_ns, guest_ns;
    char script[WORK_SCRIPT_BYTES];
    int rc = 0;

    if (in) /* no more than there is: all is read, whatever tar has seen */
        snprintf(script, sizeof script,
                 "dd if=/dev/vda bs=64k count=%u iflag=direct 2>/dev/null | tar -x -C /tmp -f -; "
                 "test -e /tmp/%s/0",
                 (unsigned)(tree->files * (tree->file_bytes + 1024) / 65536 + 2), tree->name);
    else
        snprintf(script, sizeof script,
                 "tar -c -C /tmp -f - %s | dd of=/dev/vda bs=64k conv=fsync 2>/dev/null",
                 tree->name);
    if (in)
        rc = shell(guest->bench, &host_ns, err, "tar -c -C '%s' %s | dd of='%s' bs=1M conv=notrunc",
                   dir, tree->name, guest->disk);
    if (rc == 0)
        rc = work_guest_run(guest, NULL, script, &guest_ns, err);
    if (rc == 0 && !in)
        rc = shell(guest->bench, &host_ns, err,
                   "mkdir -p '%s/out-qemu' && tar -x -C '%s/out-qemu' -f '%s'", dir, dir,
                   guest->disk);
    if (rc == 0)
        *ret_ns = host_ns + guest_ns;
    return rc;
}

/* What came back is what went in. */
static int compare(struct work_guest *guest, const struct tree *tree, struct err *err)
{
    const char *dir = guest->bench->options.work_dir;
    const char *out = guest->vmm == WORK_VOLT ? "out-" : "out-qemu/";
    uint64_t ns;
    int rc = shell(guest->bench, &ns, err, "diff -r '%s/%s' '%s/%s%s' && rm -rf '%s/%s%s'", dir,
                   tree->name, dir, out, tree->name, dir, out, tree->name);

    return rc < 0 ? err_wrap(err, "files came back from %s that are not those which went in",
                             work_vmm_name(guest->vmm))
                  : 0;
}

/* In, once more by the guest alone out of an archive of its own, and out. */
static int copies(struct work_guest *guest, const struct tree *tree, struct figures *figures,
                  enum job first, struct err *err)
{
    struct samples *took = &figures->took[guest->vmm][first];
    struct share *share = &figures->share[first];
    uint64_t ns[3];
    char script[WORK_SCRIPT_BYTES], pack[WORK_SCRIPT_BYTES];
    int (*copy)(struct work_guest *, const struct tree *, bool, uint64_t *, struct err *) =
        guest->vmm == WORK_VOLT ? volt_copy : qemu_copy;
    int rc;

    share_add(share, guest, false);
    rc = copy(guest, tree, true, &ns[0], err);
    share_add(share, guest, true);
    snprintf(pack, sizeof pack, "cd /tmp && tar -c -f t.tar %s && mkdir again", tree->name);
    snprintf(script, sizeof script, "tar -x -C /tmp/again -f /tmp/t.tar");
    if (rc == 0)
        rc = work_guest_run(guest, pack, script, &ns[1], err);
    if (rc == 0)
        rc = work_guest_run(guest, NULL, "rm -rf /tmp/again /tmp/t.tar", &ns[2], err);
    if (rc == 0)
        rc = copy(guest, tree, false, &ns[2], err);
    if (rc == 0)
        rc = compare(guest, tree, err);
    for (int i = 0; rc == 0 && i < 3; i++)
        samples_add(&took[i], ns[i]);
    snprintf(script, sizeof script, "rm -rf /tmp/%s", tree->name);
    return rc == 0 ? work_guest_run(guest, NULL, script, &ns[0], err) : rc;
}

/* ---- Output ---- */

static int output(struct work_guest *guest, unsigned mib, struct samples *took, struct err *err)
{
    uint64_t ns;
    int rc = shell(
        guest->bench, &ns, err,
        "test $('%s' --socket '%s' exec %s -- dd if=/dev/zero bs=64k count=%u | wc -c) = %llu",
        guest->bench->options.voltctl, guest->daemon->socket, guest->lease.id, mib * 16,
        (unsigned long long)MIB(mib));

    if (rc == 0)
        samples_add(took, ns);
    return rc;
}

/* ---- One go, and all ---- */

static int one_go(struct work_guest *guest, const struct sizes *sizes, const struct tree trees[2],
                  struct figures *figures, struct err *err)
{
    struct samples *took = figures->took[guest->vmm];
    char script[WORK_SCRIPT_BYTES], what[96];
    uint64_t ns;
    int rc = 0;

    for (int i = 0; rc == 0 && i < JOB_COUNT; i++) {
        if (!jobs[i].script || (jobs[i].disk && !guest->has_disk))
            continue;
        unsigned size;
        memcpy(&size, (const char *)sizes + jobs[i].size_offset, sizeof size);
        snprintf(what, sizeof what, "%s: %s", work_vmm_name(guest->vmm), jobs[i].name);
        progress_show(what, 0, 0);
        snprintf(script, sizeof script, jobs[i].script, size);
        share_add(&figures->share[i], guest, false);
        rc = work_guest_run(guest, jobs[i].prepare, script, &ns, err);
        share_add(&figures->share[i], guest, true);
        if (rc == 0)
            samples_add(&took[i], ns);
    }
    snprintf(what, sizeof what, "%s: copies", work_vmm_name(guest->vmm));
    progress_show(what, 0, 0);
    if (rc == 0)
        rc = copies(guest, &trees[0], figures, JOB_LARGE_IN, err);
    if (rc == 0)
        rc = copies(guest, &trees[1], figures, JOB_SMALL_IN, err);
    return rc == 0 && guest->vmm == WORK_VOLT ? output(guest, sizes->mib, &took[JOB_OUTPUT], err)
                                              : rc;
}

static void report(struct bench *bench, struct figures *figures)
{
    char name[96];
    struct report_row row = { .name = name };

    progress_clear();
    for (int job = 0; job < JOB_COUNT; job++) {
        struct samples *volt = &figures->took[WORK_VOLT][job],
                       *qemu = &figures->took[WORK_QEMU][job];
        bool alone = job == JOB_LARGE_ALONE || job == JOB_SMALL_ALONE;

        row.note = NULL;
        for (int vmm = 0; vmm < WORK_VMM_COUNT; vmm++) {
            snprintf(name, sizeof name, "%s: %s", work_vmm_name((enum work_vmm)vmm),
                     jobs[job].name);
            report_latency(&bench->report, &row, &figures->took[vmm][job]);
        }
        if (figures->share[job].wall_ns) {
            snprintf(name, sizeof name, "%s: vCPU at work", jobs[job].name);
            row.note = "of the time";
            report_value(&bench->report, &row,
                         (double)figures->share[job].vcpu_ns / (double)figures->share[job].wall_ns);
        }
        if (!volt->count || !qemu->count || alone)
            continue;
        snprintf(name, sizeof name, "%s: qemu/volt", jobs[job].name);
        row.note = "p50 / p50";
        report_value(&bench->report, &row,
                     (double)samples_percentile(qemu, 50) / (double)samples_percentile(volt, 50));
    }
}

/* Both boot at once. Without QEMU only the first is there. */
static int start(struct bench *bench, struct work_guest guests[WORK_VMM_COUNT], unsigned *ret_count,
                 struct err *err)
{
    struct err why = { 0 };
    int rc = 0, qemu = work_guest_start(&guests[WORK_QEMU], WORK_QEMU, bench, &why);

    if (qemu < 0)
        rc = err_set(err, -qemu, "%s", why.msg);
    if (rc == 0)
        rc = work_guest_start(&guests[WORK_VOLT], WORK_VOLT, bench, err);
    if (rc == 0)
        rc = work_guest_await(&guests[WORK_VOLT], err);
    if (rc == 0 && qemu == 0)
        rc = work_guest_await(&guests[WORK_QEMU], err);
    if (rc == 0 && qemu == BENCH_SKIPPED)
        printf("%-10s without QEMU's microvm beside it: %s\n", bench->report.suite, why.msg);
    *ret_count = qemu == 0 ? 2 : 1;
    return rc;
}

/* Guest kernels of a software-only KVM take minutes for what others do in a second. */
static const struct sizes *sizes_of(const struct bench *bench)
{
    static const struct sizes full = { .runs = 2, .mib = 64, .files = 2000, .programs = 30 },
                              slow = { .runs = 2, .mib = 8, .files = 500, .programs = 30 },
                              quick = { .runs = 1, .mib = 1, .files = 3, .programs = 1 };

    return bench->options.quick ? &quick : peer_is_software_only() ? &slow : &full;
}

int suite_work(struct bench *bench, struct err *err)
{
    const struct sizes *sizes = sizes_of(bench);
    const struct tree trees[2] = { { "large", 1, MIB(sizes->mib) },
                                   { "small", sizes->files, 1024 } };
    struct work_guest guests[WORK_VMM_COUNT] = { 0 };
    _cleanup_free_ struct figures *figures = calloc(1, sizeof *figures);
    unsigned count;
    int rc = 0;

    if (!figures)
        return err_set_errno(err, ENOMEM, "keeping results");
    if (!bench->options.kernel || !bench->options.initrd || !bench->options.voltctl)
        return bench_skip(err, "no guest kernel, initramfs or voltctl");
    for (int i = 0; rc == 0 && i < 2; i++)
        rc = make_tree(bench, &trees[i], err);
    if (rc == 0)
        rc = start(bench, guests, &count, err);
    for (unsigned i = 0; rc == 0 && i < sizes->runs * count; i++)
        rc = one_go(&guests[i % count], sizes, trees, figures, err);
    if (rc == 0)
        report(bench, figures);
    for (int vmm = 0; vmm < WORK_VMM_COUNT; vmm++) {
        work_guest_fini(&guests[vmm]);
        for (int job = 0; job < JOB_COUNT; job++)
            samples_fini(&figures->took[vmm][job]);
    }
    return rc;
}
