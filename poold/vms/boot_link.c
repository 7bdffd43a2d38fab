/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the process of a VM that boots, from its start to its end, and what is done about what it
 * says; see boot.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/text.h"
#include "vms/boot_internal.h"
#include "vms/boot_process.h"
#include "vms/warmup.h"

#define CONSOLE_BYTES_MAX (1u << 20)

#define TAIL_BYTES 4096u
#define TOLD_BYTES 256u

/* What of it says most, of `count` bytes: a kernel's panic, whose trace comes after it, else the end. */
static const char *telling(const char *tail, size_t *count)
{
    static const char panic[] = "Kernel panic";
    const char *from = memmem(tail, *count, panic, sizeof panic - 1);

    if (!from)
        from = tail + *count - MIN_OF(*count, TOLD_BYTES);
    *count = MIN_OF((size_t)(tail + *count - from), TOLD_BYTES);
    return from;
}

void boot_fail_console(struct boot *boot, int code, const char *what)
{
    char tail[TAIL_BYTES], clean[TOLD_BYTES + 16], text[ERR_MSG_BYTES];
    uint32_t kept = MIN_OF(boot->console_bytes, TAIL_BYTES);
    ssize_t got =
        boot->console_fd < 0 ? -1 : pread(boot->console_fd, tail, kept, boot->console_bytes - kept);

    while (got > 0 && strchr(" \r\n", tail[got - 1]))
        got--;
    if (got <= 0) {
        boot_fail(boot, code, what);
        return;
    }
    size_t count = (size_t)got;
    const char *from = telling(tail, &count);
    text_clean(clean, sizeof clean, from, count);
    snprintf(text, sizeof text, "%.200s; its console: \"%s\"", what, clean);
    boot_fail(boot, code, text);
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
    struct vms *vms = boot->hosted->vms;
    const struct control_wake wake = { .op = DOORBELL_OP_LEASE, .flags = DOORBELL_FLAG_PARK_LATER };
    struct control_msg msg;
    int rc;

    control_wake_make(&msg, &wake, random_stock_draw, &vms->random);
    boot_step_to(boot, BOOT_WAKING);
    boot_timer_start(boot, vms->settings->boot_timeout_ms);
    rc = control_send(boot->link.fds[LINK_BELL], &msg, NULL, 0);
    if (rc < 0)
        boot_fail(boot, -rc, "the boot VM does not take messages");
}

/* Shorter than the step's own limit, so that what the service wrote is told. */
static uint64_t boot_service_ms(const struct boot *boot)
{
    return MAX_OF(boot->hosted->vms->settings->boot_timeout_ms * 3 / 4, 1);
}

static void on_awake(struct boot *boot)
{
    struct err err = { 0 };

    boot_step_to(boot, BOOT_WARMING);
    if (warmup_start(&boot->warmup, boot->hosted->vms->loop, boot->hosted->pool.name,
                     &boot->hosted->spec, boot->image_config, true, boot_service_ms(boot),
                     &boot_warmup_ops, boot, &err) < 0)
        boot_fail(boot, err.code, err.msg);
}

static void on_parked(struct boot *boot)
{
    if (boot->step == BOOT_BOOTING && warmup_wanted(&boot->hosted->spec)) {
        warmup_wake(boot);
        return;
    }
    boot_step_to(boot, BOOT_PARKED);
    boot_snapshot(boot);
}

/* ---- What the VM says ---- */

static void on_snapshot_done(struct boot *boot, const struct control_msg *msg)
{
    char what[ERR_MSG_BYTES];

    if (msg->u.snapshot_done.error) {
        snprintf(what, sizeof what, "the VM could not write its snapshot: %.*s",
                 (int)sizeof msg->u.snapshot_done.detail - 1, msg->u.snapshot_done.detail);
        boot_fail(boot, EIO, what);
        return;
    }
    boot->stopped_ns = msg->u.snapshot_done.stopped_ns;
    link_kill(&boot->link);
    boot_commit(boot);
}

/* By the VM's own clock, which is better than ours, but not longer than we have seen it run. */
static void on_banner(struct boot *boot, const struct control_msg *msg)
{
    const uint64_t seen_ns = now_ns() - boot->began_ns;

    boot->cold_boot_ms =
        (MIN_OF(msg->u.progress.setup_ns, seen_ns) + MIN_OF(msg->u.progress.run_ns, seen_ns)) /
        NS_PER_MS;
}

static void on_exited_message(struct boot *boot, const struct control_msg *msg)
{
    uint32_t reason = msg->u.exited.reason;
    char what[ERR_MSG_BYTES];

    if (boot->step == BOOT_COMMITTING)
        return;
    snprintf(what, sizeof what, "the boot VM ended (%s): %.*s",
             control_exit_reason_name((enum control_exit_reason)reason),
             (int)sizeof msg->u.exited.detail - 1, msg->u.exited.detail);
    boot_fail_console(boot, EIO, what);
}

/* Some words have their step; two come over either socket, so at any time, but once. */
static bool in_place(struct boot *boot, uint32_t type)
{
    switch (type) {
    case CONTROL_PARKED:
    case CONTROL_AWAKE:
    case CONTROL_SNAPSHOT_DONE:
        return boot_expects(boot, type);
    case CONTROL_HELLO:
    case CONTROL_BANNER:
        if (boot->said & 1u << type)
            return false;
        boot->said |= 1u << type;
        return true;
    default:
        return true;
    }
}

static void on_message(struct link *link, enum link_channel channel, const struct control_msg *msg,
                       int *fds, unsigned fd_count)
{
    struct boot *boot = list_entry(link, struct boot, link);

    (void)channel;
    for (unsigned i = 0; i < fd_count; i++)
        close_fd(&fds[i]);
    if (boot->step == BOOT_ENDED)
        return;
    if (!in_place(boot, msg->type)) {
        boot_fail(boot, EPROTO, "the boot VM sent a message out of place");
        return;
    }
    switch (msg->type) {
    case CONTROL_HELLO:
        if (msg->u.hello.version != CONTROL_VERSION)
            boot_fail(boot, EPROTO, "volt-vmm and poold are of different builds");
        break;
    case CONTROL_TROUBLE: /* it has booted, but a pool of it would be one that lies */
        boot_fail(boot, EIO, msg->u.trouble.text);
        break;
    case CONTROL_BANNER:
        on_banner(boot, msg);
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

/* The guest's console, as it comes: the first CONSOLE_BYTES_MAX of it. */
static bool on_console(struct link *link, const char *bytes, size_t count)
{
    static const char cut[] = "\n(more than that is not kept)\n";
    struct boot *boot = list_entry(link, struct boot, link);
    size_t room = CONSOLE_BYTES_MAX - boot->console_bytes;

    if (boot->console_fd < 0)
        return false;
    pwrite_all(boot->console_fd, bytes, MIN_OF(count, room), boot->console_bytes);
    boot->console_bytes += (uint32_t)MIN_OF(count, room);
    if (count < room)
        return true;
    pwrite_all(boot->console_fd, cut, sizeof cut - 1, boot->console_bytes);
    return false;
}

static void on_exited(struct link *link)
{
    struct boot *boot = list_entry(link, struct boot, link);
    int status = 0;

    waitpid(boot->pid, &status, WNOHANG);
    boot->pid = 0;
    if (boot->step < BOOT_COMMITTING) {
        char what[96];

        snprintf(what, sizeof what, "the boot VM's process ended without a word (%s %d)",
                 WIFSIGNALED(status) ? "signal" : "status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        boot_fail_console(boot, EIO, what);
    }
    link_close(link);
}

static void on_released(struct link *link)
{
    boot_unref(list_entry(link, struct boot, link));
}

const struct link_ops boot_link_ops = {
    .message = on_message,
    .closed = on_closed,
    .text = on_text,
    .console = on_console,
    .exited = on_exited,
    .released = on_released,
};

/* Without it the VM boots all the same. */
static int console_open(const struct hosted_pool *hosted)
{
    char name[HOSTED_CONSOLE_BYTES];
    int fd = openat(hosted->vms->consoles_fd, hosted_console_name(hosted->id, name),
                    O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        log_warn("pool '%s': no file for the console of its VM that boots: %s", hosted->pool.name,
                 strerror(errno));
    return fd;
}

int boot_spawn(struct boot *boot, struct err *err)
{
    struct boot_process process;
    int rc = vm_dirs_take(&boot->hosted->vms->vm_dirs, &boot->dir);

    if (rc < 0)
        return err_set_errno(err, -rc, "can't make a folder for the boot VM");
    boot->dir_taken = true;
    boot->console_fd = console_open(boot->hosted);
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
    attached &= link_attach(&boot->link, LINK_CONSOLE, process.console_fd) == 0;
    if (!attached) {
        kill(boot->pid, SIGKILL);
        waitpid(boot->pid, NULL, 0);
        boot->pid = 0;
        return err_set(err, ENOMEM, "can't watch the boot VM");
    }
    boot_step_to(boot, BOOT_BOOTING);
    return 0;
}
