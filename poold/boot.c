/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the steps from a kernel to a committed snapshot; see boot.h.
 *
 * How it works: two things run side by side, the boot VM towards its PARK and the work that digests
 * the images and opens the snapshot transaction. When both are done the VM is sent SNAPSHOT; after
 * SNAPSHOT_DONE it is killed and the transaction committed by another work. With a warm-up the VM
 * is woken at its first PARK, goes live, runs the command and parks again. boot_end is called once,
 * and the struct is freed when neither the process nor a work refers to it. */
#include "boot.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "boot_process.h"
#include "daemon.h"
#include "hosted.h"
#include "link.h"
#include "log.h"
#include "pool_disk.h"
#include "snapstore.h"
#include "warmup.h"
#include "work.h"

#define SNAPSHOT_TIMEOUT_MS 60000
/* For the progress display, where no boot of this kernel is known. */
#define BOOT_MS_EXPECTED 12000

struct boot {
    struct link link;
    struct hosted_pool *hosted;
    struct snapstore_job job;
    struct pool_disk disk; /* until the VM has it */
    struct vm_dir dir;     /* whose uid and id (for its control group) are the VM's */
    bool dir_taken;
    uv_timer_t timer;
    pid_t pid;                      /* 0: not running */
    bool begun, parked, committing; /* transaction open; VM parked; SNAPSHOT_DONE came */
    bool work_out, timer_open, link_open;
    bool ended, cancelled;
    bool warming;          /* woken for its warm-up, not parked again */
    struct warmup *warmup; /* its command runs */
    uint64_t began_ns, snapshot_began_ns, cold_boot_ms, stopped_ns;
    uint64_t expected_ms; /* for the boot, by an earlier one */
    int work_rc;
    struct err err;     /* why it failed; code 0: it did not */
    struct err job_err; /* the work's, read when it is done */
};

static void boot_maybe_free(struct boot *boot)
{
    struct hosted_pool *hosted = boot->hosted;

    if (!boot->ended || boot->work_out || boot->timer_open || boot->link_open)
        return;
    hosted->boot = NULL;
    if (boot->dir_taken) { /* with it go the uid and the control group */
        vm_dirs_give_back(&hosted->daemon->vm_dirs, &boot->dir);
        vm_dirs_pump(&hosted->daemon->vm_dirs);
    }
    if (!boot->cancelled) {
        if (boot->err.code)
            hosted_boot_failed(hosted, boot->err.msg);
        else
            hosted_snapshotted(hosted, boot->cold_boot_ms,
                               (now_ns() - boot->snapshot_began_ns) / NS_PER_MS);
    }
    free(boot);
    daemon_schedule(hosted->daemon);
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
    int rc = work_start(&boot->hosted->daemon->loop, run, done, boot);

    if (rc == 0) {
        boot->work_out = true;
        boot->hosted->works++;
    }
    return rc;
}

/* The end, good or bad (boot->err): everything is let go. */
static void boot_end(struct boot *boot)
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

static void boot_fail(struct boot *boot, int code, const char *what)
{
    if (!boot->ended) {
        err_set(&boot->err, code, "%s", what);
        boot_end(boot);
    }
}

static void on_timeout(uv_timer_t *timer)
{
    struct boot *boot = timer->data;

    boot_fail(boot, ETIMEDOUT,
              boot->parked ? "the VM did not write its snapshot in time"
              : boot->warming
                  ? "the warm-up command did not end in time"
                  : "the guest did not boot in time; its console log is in the run directory");
}

static void snapshot_send(struct boot *boot)
{
    int rc;

    /* Not before `begun`: until then the files are the work's. */
    if (!boot->begun || !boot->parked || boot->ended)
        return;
    uv_timer_start(&boot->timer, on_timeout, SNAPSHOT_TIMEOUT_MS, 0);
    hosted_set_state(boot->hosted, POOL_SNAPSHOTTING, NULL);
    boot->snapshot_began_ns = now_ns();
    rc = boot_process_snapshot(boot->link.fds[LINK_CONTROL], &boot->job.txn);
    if (rc < 0)
        boot_fail(boot, -rc, "the boot VM can't be given its snapshot's files");
}

/* ---- Warm-up ---- */

static int warmup_connect(void *owner, int fd)
{
    struct boot *boot = owner;
    struct control_msg msg = { .type = CONTROL_VSOCK_CONNECT };

    msg.u.vsock_connect.port = AGENT_VSOCK_PORT;
    return control_send(boot->link.fds[LINK_CONTROL], &msg, &fd, 1);
}

static void warmup_done(void *owner, const struct err *err)
{
    struct boot *boot = owner;

    boot->warmup = NULL;
    if (err)
        boot_fail(boot, err->code, err->msg);
    /* Else PARKED follows. */
}

static const struct warmup_ops boot_warmup_ops = {
    .connect = warmup_connect,
    .done = warmup_done,
};

static void warmup_wake(struct boot *boot)
{
    struct daemon *daemon = boot->hosted->daemon;
    const struct control_wake wake = { .op = DOORBELL_OP_LEASE, .flags = DOORBELL_FLAG_PARK_LATER };
    struct control_msg msg;
    int rc;

    control_wake_make(&msg, &wake, random_stock_draw, &daemon->random);
    boot->warming = true;
    uv_timer_start(&boot->timer, on_timeout, daemon->config.boot_timeout_ms, 0);
    rc = control_send(boot->link.fds[LINK_BELL], &msg, NULL, 0);
    if (rc < 0)
        boot_fail(boot, -rc, "the boot VM does not take messages");
}

static void on_awake(struct boot *boot)
{
    struct err err = { 0 };

    if (!boot->warming || boot->warmup)
        boot_fail(boot, EPROTO, "the boot VM sent a message out of place");
    else if (warmup_start(&boot->warmup, &boot->hosted->daemon->loop, boot->hosted->spec.warmup,
                          true, &boot_warmup_ops, boot, &err) < 0)
        boot_fail(boot, err.code, err.msg);
}

static void on_parked(struct boot *boot)
{
    if (boot->parked) {
        boot_fail(boot, EPROTO, "the boot VM sent a message out of place");
    } else if (boot->hosted->spec.warmup[0] && !boot->warming) {
        warmup_wake(boot);
    } else {
        boot->parked = true;
        snapshot_send(boot);
    }
}

static int boot_spawn(struct boot *boot, struct err *err);

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

    boot->work_rc = pool_disk_open(hosted->daemon, &hosted->spec, &boot->disk, &boot->job_err);
    if (boot->work_rc == 0)
        boot->work_rc = snapstore_begin(&boot->job, hosted->daemon->snapshots_fd, hosted->pool.name,
                                        &hosted->spec, &boot->job_err);
    if (boot->work_rc == 0)
        boot->work_rc = disk_begin(boot, &boot->job_err);
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
        snapshot_send(boot);
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

static void on_snapshot_done(struct boot *boot, const struct control_msg *msg)
{
    char what[ERR_MSG_BYTES];

    if (boot->committing || !boot->snapshot_began_ns) {
        boot_fail(boot, EPROTO, "the boot VM sent a message out of place");
        return;
    }
    if (msg->u.snapshot_done.error) {
        snprintf(what, sizeof what, "the VM could not write its snapshot: %.*s",
                 (int)sizeof msg->u.snapshot_done.detail - 1, msg->u.snapshot_done.detail);
        boot_fail(boot, EIO, what);
        return;
    }
    boot->committing = true;
    boot->stopped_ns = msg->u.snapshot_done.stopped_ns;
    uv_timer_stop(&boot->timer);
    link_kill(&boot->link);
    if (boot_work(boot, commit_run, commit_done) < 0)
        boot_fail(boot, ENOMEM, "out of memory");
}

static void on_exited_message(struct boot *boot, const struct control_msg *msg)
{
    uint32_t reason = msg->u.exited.reason;
    char what[ERR_MSG_BYTES];

    if (boot->committing)
        return;
    snprintf(what, sizeof what, "the boot VM ended (%s): %.*s",
             control_exit_reason_name((enum control_exit_reason)reason),
             (int)sizeof msg->u.exited.detail - 1, msg->u.exited.detail);
    boot_fail(boot, EIO, what);
}

static void on_message(struct link *link, enum link_channel channel, const struct control_msg *msg,
                       int *fds, unsigned fd_count)
{
    struct boot *boot = list_entry(link, struct boot, link);

    (void)channel;
    for (unsigned i = 0; i < fd_count; i++)
        close_fd(&fds[i]);
    if (boot->ended)
        return;
    switch (msg->type) {
    case CONTROL_HELLO:
        if (msg->u.hello.version != CONTROL_VERSION)
            boot_fail(boot, EPROTO, "volt-vmm and poold are of different builds");
        break;
    case CONTROL_BANNER:
        boot->cold_boot_ms = (msg->u.progress.setup_ns + msg->u.progress.run_ns) / NS_PER_MS;
        break;
    case CONTROL_PARKED:
        on_parked(boot);
        break;
    case CONTROL_AWAKE:
        on_awake(boot);
        break;
    case CONTROL_SNAPSHOT_DONE:
        on_snapshot_done(boot, msg);
        break;
    case CONTROL_EXITED:
        on_exited_message(boot, msg);
        break;
    default:
        boot_fail(boot, EPROTO, "the boot VM sent a message out of place");
        break;
    }
}

static void on_closed(struct link *link, enum link_channel channel, int error)
{
    (void)channel;
    (void)error;
    link_kill(link); /* `exited` follows */
}

static void on_text(struct link *link, const char *line)
{
    const struct boot *boot = list_entry(link, struct boot, link);

    log_warn("pool '%s': the boot VM's process says: %s", boot->hosted->pool.name, line);
}

static void on_exited(struct link *link)
{
    struct boot *boot = list_entry(link, struct boot, link);
    int status = 0;

    waitpid(boot->pid, &status, WNOHANG);
    boot->pid = 0;
    if (!boot->committing && !boot->ended) {
        char what[96];

        snprintf(what, sizeof what, "the boot VM's process ended without a word (%s %d)",
                 WIFSIGNALED(status) ? "signal" : "status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        boot_fail(boot, EIO, what);
    }
    link_close(link);
}

static void on_released(struct link *link)
{
    struct boot *boot = list_entry(link, struct boot, link);

    boot->link_open = false;
    boot_maybe_free(boot);
}

static const struct link_ops boot_link_ops = {
    .message = on_message,
    .closed = on_closed,
    .text = on_text,
    .exited = on_exited,
    .released = on_released,
};

static int boot_spawn(struct boot *boot, struct err *err)
{
    struct boot_process process;
    int rc = vm_dirs_take(&boot->hosted->daemon->vm_dirs, &boot->dir);

    if (rc < 0)
        return err_set_errno(err, -rc, "can't make a folder for the boot VM");
    boot->dir_taken = true;
    rc = boot_process_start(boot->hosted, &boot->disk, boot->job.txn.disk_fd, &boot->dir, &process,
                            err);
    if (rc < 0)
        return rc;
    boot->pid = process.pid;
    /* All, as the link takes over what it is given even when it fails. */
    bool attached = link_attach(&boot->link, LINK_CONTROL, process.control_fd) == 0;
    attached &= link_attach(&boot->link, LINK_BELL, process.bell_fd) == 0;
    attached &= link_attach(&boot->link, LINK_PIDFD, process.pidfd) == 0;
    attached &= link_attach(&boot->link, LINK_TEXT, process.text_fd) == 0;
    if (!attached) {
        kill(boot->pid, SIGKILL);
        waitpid(boot->pid, NULL, 0);
        boot->pid = 0;
        return err_set(err, ENOMEM, "can't watch the boot VM");
    }
    return 0;
}

/* How long this kernel took to boot the last time, as far as the pools there are tell. */
static uint64_t boot_expect_ms(const struct hosted_pool *hosted)
{
    uint64_t ms = 0;

    LIST_FOR_EACH(at, &hosted->daemon->pools)
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
    struct daemon *daemon = hosted->daemon;
    struct boot *boot = calloc(1, sizeof *boot);
    struct err err = { 0 };

    if (!boot) {
        hosted_boot_failed(hosted, "out of memory");
        return;
    }
    hosted->boot = boot;
    boot->hosted = hosted;
    boot->began_ns = now_ns();
    boot->expected_ms = boot_expect_ms(hosted);
    boot->job.txn =
        (struct snapshot_txn){ .dir_fd = -1, .state_fd = -1, .memory_fd = -1, .disk_fd = -1 };
    boot->disk = POOL_DISK_INIT;
    link_init(&boot->link, &daemon->loop, &boot_link_ops);
    boot->link_open = true;
    uv_timer_init(&daemon->loop, &boot->timer);
    boot->timer.data = boot;
    boot->timer_open = true;
    uv_timer_start(&boot->timer, on_timeout, daemon->config.boot_timeout_ms, 0);
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
