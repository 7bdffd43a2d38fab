/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the steps from a kernel to a committed snapshot; see boot.h.
 *
 * How it works: two things run side by side, the boot VM towards its PARK and the work that digests
 * the images and opens the snapshot transaction. When both are done the VM is sent SNAPSHOT; after
 * SNAPSHOT_DONE it is killed and the transaction committed by another work. With a warm-up the VM
 * is woken at its first PARK, goes live, runs the command and parks again. boot_end is called once,
 * and the struct is freed when neither the process nor a work refers to it. */
#include "vms/boot_internal.h"

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

void boot_maybe_free(struct boot *boot)
{
    struct hosted_pool *hosted = boot->hosted;

    if (!boot->ended || boot->work_out || boot->timer_open || boot->link_open)
        return;
    hosted->boot = NULL;
    close_fd(&boot->console_fd);
    if (boot->dir_taken) { /* with it go the uid and the control group */
        vm_dirs_give_back(&hosted->vms->vm_dirs, &boot->dir);
        vm_dirs_pump(&hosted->vms->vm_dirs);
    }
    if (!boot->cancelled) {
        if (boot->err.code)
            hosted->vms->hosted_ops->boot_failed(hosted, boot->err.msg);
        else
            hosted->vms->hosted_ops->snapshotted(hosted, boot->cold_boot_ms,
                                                 (now_ns() - boot->snapshot_began_ns) / NS_PER_MS);
    }
    free(boot);
    turn_schedule(hosted->vms->turn);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct boot *boot = handle->data;

    boot->timer_open = false;
    boot_maybe_free(boot);
}

static void abort_run(void *data)
{
    struct boot *boot = data;

    snapshot_create_abort(&boot->job.txn);
}

static void abort_done(void *data)
{
    struct boot *boot = data;

    boot->work_out = false;
    boot->hosted->works--;
    boot_maybe_free(boot);
}

static int boot_work(struct boot *boot, void (*run)(void *), void (*done)(void *))
{
    int rc = work_start(boot->hosted->vms->loop, run, done, boot);

    if (rc == 0) {
        boot->work_out = true;
        boot->hosted->works++;
    }
    return rc;
}

/* The end, good or bad (boot->err): everything is let go. */
void boot_end(struct boot *boot)
{
    if (boot->ended)
        return;
    boot->ended = true;
    warmup_cancel(boot->warmup);
    boot->warmup = NULL;
    uv_close((uv_handle_t *)&boot->timer, on_timer_closed);
    if (boot->pid)
        link_kill(&boot->link);
    else
        link_close(&boot->link);
    if (boot->begun && !boot->work_out) {
        boot->begun = false;
        boot_work(boot, abort_run, abort_done);
    }
}

void boot_fail(struct boot *boot, int code, const char *what)
{
    if (!boot->ended) {
        err_set(&boot->err, code, "%s", what);
        boot_end(boot);
    }
}

static void on_timeout(uv_timer_t *timer)
{
    struct boot *boot = timer->data;

    if (boot->parked)
        boot_fail(boot, ETIMEDOUT, "the VM did not write its snapshot in time");
    else if (boot->warming)
        boot_fail(boot, ETIMEDOUT, "the warm-up command did not end in time");
    else
        boot_fail_console(boot, ETIMEDOUT,
                          "the guest did not boot in time (poold's --boot-timeout-ms); what it "
                          "printed is in the folder consoles of the run directory");
}

void boot_timer_start(struct boot *boot, uint64_t timeout_ms)
{
    uv_timer_start(&boot->timer, on_timeout, timeout_ms, 0);
}

void boot_snapshot(struct boot *boot)
{
    int rc;

    /* Not before `begun`: until then the files are the work's. */
    if (!boot->begun || !boot->parked || boot->ended)
        return;
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
        rc = snapstore_begin(&boot->job, hosted->vms->snapshots_fd, hosted->pool.name, spec,
                             &hosted->files, &boot->job_err);
    boot->work_rc = rc == 0 ? disk_begin(boot, &boot->job_err) : rc;
}

static void begin_done(void *data)
{
    struct boot *boot = data;
    struct err err = { 0 };

    boot->work_out = false;
    boot->hosted->works--;
    boot->begun = boot->work_rc == 0;
    if (boot->ended) {
        pool_disk_close(&boot->disk);
        if (boot->begun)
            boot_work(boot, abort_run, abort_done);
        boot->begun = false;
        boot_maybe_free(boot);
        return;
    }
    if (!boot->begun)
        boot_fail(boot, boot->job_err.code, boot->job_err.msg);
    else if (boot->pid)
        boot_snapshot(boot);
    else if (boot_spawn(boot, &err) < 0) /* it has waited for its disk */
        boot_fail(boot, err.code, err.msg);
    pool_disk_close(&boot->disk);
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

    boot->work_out = false;
    boot->begun = false; /* the transaction is over either way */
    boot->hosted->works--;
    if (boot->work_rc < 0)
        boot_fail(boot, boot->job_err.code, boot->job_err.msg);
    boot_end(boot);
    boot_maybe_free(boot);
}

void boot_commit(struct boot *boot)
{
    boot->committing = true;
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
    boot->link_open = true;
    uv_timer_init(vms->loop, &boot->timer);
    boot->timer.data = boot;
    boot->timer_open = true;
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

    if (boot->parked)
        return 99;
    if (elapsed_ms <= expected_ms)
        return (unsigned)(elapsed_ms * 90 / expected_ms);
    /* Ever slower, never there: 94 after twice the time. */
    return 98 - (unsigned)(8 * expected_ms / elapsed_ms);
}

bool boot_overdue(const struct boot *boot)
{
    return !boot->parked && (now_ns() - boot->began_ns) / NS_PER_MS > boot->expected_ms;
}
