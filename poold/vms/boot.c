/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the steps from a kernel to a committed snapshot; see boot.h.
 *
 * How it works: two things run side by side, the boot VM towards its PARK (enum boot_step) and the
 * work that digests the images and opens the snapshot transaction (enum boot_files). When both are
 * done the VM is sent SNAPSHOT; after SNAPSHOT_DONE it is killed and the transaction committed by
 * another work. With a warm-up the VM is woken at its first PARK, goes live, runs the command and
 * parks again. boot_end acts once, and the struct is freed when neither the process, the timer nor a
 * work refers to it. */
#include "vms/boot_internal.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/work.h"
#include "vms/boot_process.h"
#include "vms/snapstore.h"
#include "vms/warmup.h"

#define SNAPSHOT_TIMEOUT_MS 60000
/* For the progress display, where no boot of this kernel is known. */
#define BOOT_MS_EXPECTED 12000

#define TO(step) (1u << BOOT_##step)

static const struct {
    uint32_t to;      /* bits 1 << step */
    uint32_t expects; /* a word of the VM: CONTROL_*; 0: none */
    const char *late; /* what its time limit means */
} rules[] = {
    [BOOT_WAITING] = { TO(BOOTING) | TO(ENDED), 0, "the pool's disk was not opened in time" },
    [BOOT_BOOTING] = { TO(WAKING) | TO(PARKED) | TO(ENDED), CONTROL_PARKED,
                       "the guest did not boot in time (poold's --boot-timeout-ms); what it "
                       "printed "
                       "is in the folder consoles of the run directory" },
    [BOOT_WAKING] = { TO(WARMING) | TO(ENDED), CONTROL_AWAKE,
                      "the warm-up command did not end in time" },
    [BOOT_WARMING] = { TO(PARKED) | TO(ENDED), CONTROL_PARKED,
                       "the warm-up command did not end in time" },
    [BOOT_PARKED] = { TO(SAVING) | TO(ENDED), 0, "the snapshot's files were not made in time" },
    [BOOT_SAVING] = { TO(COMMITTING) | TO(ENDED), CONTROL_SNAPSHOT_DONE,
                      "the VM did not write its snapshot in time" },
    [BOOT_COMMITTING] = { TO(ENDED), 0, "" },
    [BOOT_ENDED] = { 0, 0, "" },
};
static_assert(ARRAY_LEN(rules) == BOOT_STEP_COUNT, "every step has its rule");

void boot_step_to(struct boot *boot, enum boot_step step)
{
    assert(rules[boot->step].to & 1u << step);
    boot->step = step;
}

bool boot_expects(const struct boot *boot, uint32_t type)
{
    return type != 0 && rules[boot->step].expects == type;
}

/* ---- The end ---- */

static void boot_free(struct boot *boot)
{
    struct hosted_pool *hosted = boot->hosted;
    const struct hosted_ops *ops = hosted->vms->hosted_ops;

    hosted->boot = NULL;
    close_fd(&boot->console_fd);
    free(boot->image_config);
    if (boot->dir_taken) { /* with it go the uid and the control group */
        vm_dirs_give_back(&hosted->vms->vm_dirs, &boot->dir);
        vm_dirs_pump(&hosted->vms->vm_dirs);
    }
    if (!boot->cancelled) {
        if (boot->err.code)
            ops->boot_failed(hosted, boot->err.msg);
        else
            ops->snapshotted(hosted, boot->cold_boot_ms,
                             (now_ns() - boot->snapshot_began_ns) / NS_PER_MS);
    }
    free(boot);
    turn_schedule(hosted->vms->turn);
}

void boot_unref(struct boot *boot)
{
    if (--boot->refs == 0 && boot->step == BOOT_ENDED)
        boot_free(boot);
}

static void on_timer_closed(uv_handle_t *handle)
{
    boot_unref(handle->data);
}

static void abort_run(void *data)
{
    struct boot *boot = data;

    snapshot_create_abort(&boot->job.txn);
}

static void work_over(struct boot *boot, enum boot_files files)
{
    boot->files = files;
    boot->hosted->works--;
    boot_unref(boot);
}

static void abort_done(void *data)
{
    work_over(data, BOOT_FILES_NONE);
}

static int boot_work(struct boot *boot, void (*run)(void *), void (*done)(void *))
{
    int rc = work_start(boot->hosted->vms->loop, run, done, boot);

    if (rc == 0) {
        boot->files = BOOT_FILES_WORK;
        boot->hosted->works++;
        boot->refs++;
    }
    return rc;
}

static void files_abort(struct boot *boot)
{
    if (boot->files != BOOT_FILES_OPEN || boot_work(boot, abort_run, abort_done) == 0)
        return;
    abort_run(boot);
    boot->files = BOOT_FILES_NONE;
}

/* The end, good or bad (boot->err): everything is let go. */
void boot_end(struct boot *boot)
{
    if (boot->step == BOOT_ENDED)
        return;
    boot_step_to(boot, BOOT_ENDED);
    warmup_cancel(boot->warmup);
    boot->warmup = NULL;
    uv_close((uv_handle_t *)&boot->timer, on_timer_closed);
    if (boot->pid)
        link_kill(&boot->link);
    else
        link_close(&boot->link);
    files_abort(boot);
}

void boot_fail(struct boot *boot, int code, const char *what)
{
    if (boot->step != BOOT_ENDED) {
        err_set(&boot->err, code, "%s", what);
        boot_end(boot);
    }
}

static void on_timeout(uv_timer_t *timer)
{
    struct boot *boot = timer->data;

    if (boot->step == BOOT_BOOTING)
        boot_fail_console(boot, ETIMEDOUT, rules[boot->step].late);
    else
        boot_fail(boot, ETIMEDOUT, rules[boot->step].late);
}

void boot_timer_start(struct boot *boot, uint64_t timeout_ms)
{
    uv_timer_start(&boot->timer, on_timeout, timeout_ms, 0);
}

void boot_snapshot(struct boot *boot)
{
    int rc;

    if (boot->files != BOOT_FILES_OPEN || boot->step != BOOT_PARKED)
        return;
    boot_step_to(boot, BOOT_SAVING);
    boot_timer_start(boot, SNAPSHOT_TIMEOUT_MS);
    boot->hosted->vms->hosted_ops->snapshotting(boot->hosted);
    boot->snapshot_began_ns = now_ns();
    rc = boot_process_snapshot(boot->link.fds[LINK_CONTROL], &boot->job.txn);
    if (rc < 0)
        boot_fail(boot, -rc, "the boot VM can't be given its snapshot's files");
}

/* The transaction is open: what of the disk belongs to it. */
static int disk_begin(struct boot *boot, struct err *err)
{
    const struct pool_spec *spec = &boot->hosted->spec;
    int rc = pool_disk_note(spec, &boot->disk, &boot->job.manifest, err);

    if (rc == 0 && pool_disk_writable(spec, &boot->disk))
        rc = snapshot_create_disk(&boot->job.txn, err);
    if (rc < 0)
        snapshot_create_abort(&boot->job.txn);
    return rc;
}

static void begin_run(void *data)
{
    struct boot *boot = data;
    struct hosted_pool *hosted = boot->hosted;
    const struct pool_spec *spec = &hosted->spec;
    int rc = pool_disk_open(hosted->vms, spec, &hosted->files, &boot->disk, &boot->job_err);

    if (rc == 0)
        rc = snapstore_begin(&boot->job, hosted->vms->snapshots_fd, hosted->id, spec,
                             &hosted->files, &boot->job_err);
    boot->work_rc = rc == 0 ? disk_begin(boot, &boot->job_err) : rc;
}

static void begin_done(void *data)
{
    struct boot *boot = data;
    struct err err = { 0 };
    const bool open = boot->work_rc == 0;

    boot->files = open ? BOOT_FILES_OPEN : BOOT_FILES_NONE;
    if (boot->step == BOOT_ENDED)
        files_abort(boot);
    else if (!open)
        boot_fail(boot, boot->job_err.code, boot->job_err.msg);
    else if (boot->step == BOOT_WAITING && boot_spawn(boot, &err) < 0)
        boot_fail(boot, err.code, err.msg);
    boot_snapshot(boot);
    boot->image_config = take_pointer(&boot->disk.image.config);
    pool_disk_close(&boot->disk);
    work_over(boot, boot->files);
}

static void commit_run(void *data)
{
    struct boot *boot = data;

    boot->work_rc =
        snapstore_commit(&boot->job, boot->cold_boot_ms, boot->stopped_ns, &boot->job_err);
}

static void commit_done(void *data)
{
    struct boot *boot = data;

    boot->files = BOOT_FILES_NONE; /* the transaction is over either way */
    if (boot->work_rc < 0)
        boot_fail(boot, boot->job_err.code, boot->job_err.msg);
    boot_end(boot);
    work_over(boot, BOOT_FILES_NONE);
}

void boot_commit(struct boot *boot)
{
    boot_step_to(boot, BOOT_COMMITTING);
    uv_timer_stop(&boot->timer);
    if (boot_work(boot, commit_run, commit_done) < 0)
        boot_fail(boot, ENOMEM, "out of memory");
}

/* How long this kernel took to boot the last time, as far as the pools there are tell. */
static uint64_t boot_expect_ms(const struct hosted_pool *hosted)
{
    uint64_t ms = 0;

    LIST_FOR_EACH(at, &hosted->vms->pools)
    {
        const struct hosted_pool *other = list_entry(at, struct pool, node)->owner;

        /* The later ones are the younger ones. */
        if (other->cold_boot_ms && strcmp(other->spec.kernel, hosted->spec.kernel) == 0)
            ms = other->cold_boot_ms;
    }
    return ms ? ms : BOOT_MS_EXPECTED;
}

void boot_start(struct hosted_pool *hosted)
{
    struct vms *vms = hosted->vms;
    struct boot *boot = calloc(1, sizeof *boot);
    struct err err = { 0 };

    if (!boot) {
        vms->hosted_ops->boot_failed(hosted, "out of memory");
        return;
    }
    hosted->boot = boot;
    boot->hosted = hosted;
    boot->began_ns = now_ns();
    boot->expected_ms = boot_expect_ms(hosted);
    boot->job.txn =
        (struct snapshot_txn){ .dir_fd = -1, .state_fd = -1, .memory_fd = -1, .disk_fd = -1 };
    boot->disk = POOL_DISK_INIT;
    boot->console_fd = -1;
    link_init(&boot->link, vms->loop, &boot_link_ops);
    uv_timer_init(vms->loop, &boot->timer);
    boot->timer.data = boot;
    boot->refs = 2;
    boot_timer_start(boot, vms->settings->boot_timeout_ms);
    /* A VM with a disk waits until that is open; others boot meanwhile. */
    if (!pool_disk_wanted(&hosted->spec) && boot_spawn(boot, &err) < 0)
        boot_fail(boot, err.code, err.msg);
    else if (boot_work(boot, begin_run, begin_done) < 0)
        boot_fail(boot, ENOMEM, "out of memory");
}

void boot_cancel(struct boot *boot)
{
    boot->cancelled = true;
    boot_end(boot);
}

unsigned boot_percent(const struct boot *boot)
{
    uint64_t elapsed_ms = (now_ns() - boot->began_ns) / NS_PER_MS;
    uint64_t expected_ms = boot->expected_ms;

    if (boot->step >= BOOT_PARKED)
        return 99;
    if (elapsed_ms <= expected_ms)
        return (unsigned)(elapsed_ms * 90 / expected_ms);
    /* Ever slower, never there: 94 after twice the time. */
    return 98 - (unsigned)(8 * expected_ms / elapsed_ms);
}

bool boot_overdue(const struct boot *boot)
{
    return boot->step < BOOT_PARKED && (now_ns() - boot->began_ns) / NS_PER_MS > boot->expected_ms;
}
