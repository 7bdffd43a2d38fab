/* SPDX-License-Identifier: Apache-2.0 */
/* Owns template processes: their start, their death, and which CLONE each CLONED answers. What of
 * them outlives poold: template_keep.c. */
#include "vms/template_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/process.h"
#include "base/work.h"
#include "host/rights.h"
#include "vms/snapstore.h"

#define TEMPLATE_ARGS 8 /* before those of disk and network */

static void template_free(struct link *link)
{
    struct template *template = list_entry(link, struct template, link);

    close_fd(&template->snapshot_fd);
    pool_disk_close(&template->disk);
    free(template);
}

/* The end of a template, whatever its cause. */
static void template_end(struct template *template)
{
    struct hosted_pool *hosted = template->hosted;
    char detail[ERR_MSG_BYTES];
    bool was_ready = template->ready, said_why = template->said_why;

    while (!list_empty(&template->unborn)) {
        struct template_child *child =
            list_entry(template->unborn.next, struct template_child, node);

        list_remove(&child->node);
        child->ops->unborn(child, "the template process ended");
    }
    snprintf(detail, sizeof detail, "%s", template->detail);
    template_record_end(template);
    close_fd(&template->snapshot_fd);
    if (template->retired) {
        list_remove(&template->node);
        link_close(&template->link);
        turn_schedule(hosted->vms->turn);
        return;
    }
    hosted->template = NULL;
    link_close(&template->link);
    hosted->vms->hosted_ops->template_ended(hosted, was_ready, said_why, detail);
}

static void on_hello(struct template *template, const struct control_msg *msg)
{
    struct hosted_pool *hosted = template->hosted;

    if (msg->u.hello.version != CONTROL_VERSION) {
        snprintf(template->detail, sizeof template->detail,
                 "volt-vmm speaks version %u of the control protocol, poold %u: they are of "
                 "different builds",
                 msg->u.hello.version, CONTROL_VERSION);
        template_kill(template);
        return;
    }
    template->ready = true;
    template_record_fill(template);
    template_keep(template);
    hosted->vms->hosted_ops->template_ready(hosted, template->has_working_set);
}

static void on_cloned(struct template *template, const struct control_msg *msg, int *pidfd)
{
    LIST_FOR_EACH(at, &template->unborn)
    {
        struct template_child *child = list_entry(at, struct template_child, node);
        char detail[128];

        if (child->cookie != msg->cookie)
            continue;
        list_remove(&child->node);
        if (*pidfd >= 0) {
            child->ops->born(child, take_fd(pidfd));
            return;
        }
        if (msg->u.cloned.error)
            snprintf(detail, sizeof detail, "the template could not fork: %s",
                     strerror(msg->u.cloned.error));
        else
            snprintf(detail, sizeof detail, "poold has no file descriptor left for its process");
        child->ops->unborn(child, detail);
        return;
    }
    /* One that an earlier poold asked for, which did not live to get it. */
    if (*pidfd >= 0)
        syscall(SYS_pidfd_send_signal, *pidfd, SIGKILL, NULL, 0);
}

static void on_child_exited(const struct control_msg *msg)
{
    int status = msg->u.child_exited.wait_status;

    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
        log_warn("a VM's process (pid %d) was ended by signal %d (%s)", msg->u.child_exited.pid,
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
}

static void on_message(struct link *link, enum link_channel channel, const struct control_msg *msg,
                       int *fds, unsigned fd_count)
{
    struct template *template = list_entry(link, struct template, link);

    (void)channel;
    switch (msg->type) {
    case CONTROL_HELLO:
        on_hello(template, msg);
        break;
    case CONTROL_CLONED:
        on_cloned(template, msg, fd_count ? &fds[0] : &(int){ -1 });
        break;
    case CONTROL_CHILD_EXITED:
        on_child_exited(msg);
        break;
    case CONTROL_EXITED:
        template->said_why = true;
        snprintf(template->detail, sizeof template->detail, "%.*s",
                 (int)sizeof msg->u.exited.detail - 1, msg->u.exited.detail);
        break;
    default:
        log_warn("pool '%s': the template sent message %u out of place",
                 template->hosted->pool.name, msg->type);
        break;
    }
    for (unsigned i = 0; i < fd_count; i++)
        close_fd(&fds[i]);
}

static void on_closed(struct link *link, enum link_channel channel, int error)
{
    (void)channel;
    (void)error;
    /* Without its socket it is of no use; `exited` follows. */
    template_kill(list_entry(link, struct template, link));
}

static void on_text(struct link *link, const char *line)
{
    const struct template *template = list_entry(link, struct template, link);

    log_warn("pool '%s': the template process says: %s", template->hosted->pool.name, line);
}

static void on_exited(struct link *link)
{
    struct template *template = list_entry(link, struct template, link);
    int status = 0;

    if (template->pid > 0 && waitpid(template->pid, &status, WNOHANG) == template->pid &&
        !template->detail[0]) {
        if (WIFSIGNALED(status))
            snprintf(template->detail, sizeof template->detail,
                     "the template process was ended by signal %d", WTERMSIG(status));
        else
            snprintf(template->detail, sizeof template->detail,
                     "the template process ended with status %d", WEXITSTATUS(status));
    }
    if (!template->detail[0])
        snprintf(template->detail, sizeof template->detail, "an earlier poold would know why");
    template->pid = 0;
    template_end(template);
}

static const struct link_ops template_link_ops = {
    .message = on_message,
    .closed = on_closed,
    .text = on_text,
    .exited = on_exited,
    .released = template_free,
};

static int template_spawn(struct template *template, struct err *err)
{
    struct vms *vms = template->hosted->vms;
    char net_text[POOL_NET_OPTION_BYTES], control_text[16], snapshot_text[16], oom_text[16];
    char *argv[TEMPLATE_ARGS + 3 + POOL_DISK_ARGS_MAX] = {
        (char *)(uintptr_t)vms->settings->volt_vmm,
        (char[]){ "template" },
        (char[]){ "--control-fd" },
        control_text,
        (char[]){ "--snapshot-fd" },
        snapshot_text,
        (char[]){ "--oom-score-adj" },
        oom_text,
    };
    int pair[2], fds[2 + POOL_DISK_FDS_MAX], rc;
    struct pool_disk_args disk;
    struct spawned spawned;

    snprintf(control_text, sizeof control_text, "%d", SPAWN_FIRST_FD);
    snprintf(snapshot_text, sizeof snapshot_text, "%d", SPAWN_FIRST_FD + 1);
    snprintf(oom_text, sizeof oom_text, "%d", RIGHTS_OOM_TEMPLATE);
    rc = link_socketpair(pair, true);
    if (rc < 0)
        return err_set_errno(err, -rc, "can't make a socket pair");
    pool_disk_args(&template->hosted->spec, &template->disk, -1, SPAWN_FIRST_FD + 2, &disk);
    memcpy(argv + TEMPLATE_ARGS, disk.argv, disk.argc * sizeof argv[0]);
    if (template->hosted->spec.net.kind[0]) {
        pool_net_option(&template->hosted->spec.net, net_text);
        argv[TEMPLATE_ARGS + disk.argc] = (char *)(uintptr_t) "--net";
        argv[TEMPLATE_ARGS + 1 + disk.argc] = net_text;
    }
    fds[0] = pair[1];
    fds[1] = template->snapshot_fd;
    memcpy(fds + 2, disk.fds, disk.fd_count * sizeof fds[0]);
    template_note_program(vms->settings->volt_vmm, &template->entry);
    rc = spawn_process(argv, fds, 2 + disk.fd_count, &spawned, err);
    close(pair[1]);
    if (rc < 0) {
        close(pair[0]);
        return rc;
    }
    template->pid = spawned.pid;
    /* All, as the link takes over what it is given even when it fails. */
    bool attached = link_attach(&template->link, LINK_CONTROL, pair[0]) == 0;
    attached &= link_attach(&template->link, LINK_PIDFD, spawned.pidfd) == 0;
    attached &= link_attach(&template->link, LINK_TEXT, spawned.text_fd) == 0;
    if (!attached) {
        kill(template->pid, SIGKILL);
        waitpid(template->pid, NULL, 0);
        template->pid = 0;
        return err_set(err, ENOMEM, "can't watch the template process");
    }
    return 0;
}

static int open_all(struct template *template, struct err *err)
{
    struct hosted_pool *hosted = template->hosted;
    struct vms *vms = hosted->vms;
    int rc = snapstore_open(vms->snapshots_fd, hosted->id, &template->snapshot_fd,
                            &template->has_working_set, err);

    if (rc == 0)
        rc = pool_files_open_disk(&hosted->spec, hosted->maker, &hosted->files, err);
    if (rc == 0)
        rc = pool_disk_open(vms, &hosted->spec, &hosted->files, &template->disk, err);
    if (rc == 0)
        rc = pool_net_prepare(&hosted->net, &hosted->spec.net, &vms->walls, err);
    return rc;
}

static void open_run(void *data)
{
    struct template *template = data;
    struct err err = { 0 };

    if (open_all(template, &err) < 0) {
        close_fd(&template->snapshot_fd);
        template->said_why = true;
        snprintf(template->detail, sizeof template->detail, "%s", err.msg);
    }
}

static void open_done(void *data)
{
    struct template *template = data;
    struct err err = { 0 };

    template->hosted->works--;
    template->disk_writable = pool_disk_writable(&template->hosted->spec, &template->disk);
    free(template->hosted->image_config);
    template->hosted->image_config = take_pointer(&template->disk.image.config);
    if (template->killed || template->snapshot_fd < 0) {
        template_end(template);
        return;
    }
    if (template_spawn(template, &err) < 0) {
        snprintf(template->detail, sizeof template->detail, "%s", err.msg);
        template_end(template);
        return;
    }
    close_fd(&template->snapshot_fd);
    pool_disk_close(&template->disk);
}

struct template *template_create(struct hosted_pool *hosted)
{
    struct template *template = calloc(1, sizeof *template);

    if (!template)
        return NULL;
    link_init(&template->link, hosted->vms->loop, &template_link_ops);
    template->hosted = hosted;
    template->snapshot_fd = -1;
    template->disk = POOL_DISK_INIT;
    template->record = LEDGER_NONE;
    list_init(&template->unborn);
    list_init(&template->node);
    return template;
}

void template_start(struct hosted_pool *hosted)
{
    struct template *template = template_create(hosted);
    struct err err = { 0 };

    if (!template) {
        hosted->vms->hosted_ops->template_ended(hosted, false, false, "out of memory");
        return;
    }
    hosted->template = template;
    hosted->works++;
    if (hosted->spec.net.kind[0] && net_walls_watch(&hosted->vms->walls, &err) < 0)
        snprintf(template->detail, sizeof template->detail, "%s", err.msg);
    else if (work_start(hosted->vms->loop, open_run, open_done, template) < 0)
        snprintf(template->detail, sizeof template->detail, "out of memory");
    else
        return;
    open_done(template);
}

void template_kill(struct template *template)
{
    struct hosted_pool *hosted = template->hosted;

    template->killed = true;
    link_kill(&template->link);
    if (!template->retired)
        hosted->vms->hosted_ops->template_dying(hosted);
}

int template_clone(struct template *template, struct template_child *child,
                   const struct template_gifts *gifts)
{
    struct control_msg msg = { .cookie = ++template->next_cookie };
    struct control_clone_fds fds = CONTROL_CLONE_FDS_NONE;
    _cleanup_close_ int delta_fd = -1;
    int rc;

    if (!template->ready || template->killed)
        return -ENOTCONN;
    msg.u.clone.uid = msg.u.clone.gid = gifts->dir->uid;
    fds.control = gifts->control_fd;
    fds.bell = gifts->bell_fd;
    fds.vsock_dir = gifts->dir->fd;
    fds.vsock_listen = gifts->dir->listen_fd;
    if (template->disk_writable) {
        struct stock_item delta;

        rc = stock_take(&template->hosted->vms->deltas, &delta);
        if (rc < 0)
            return rc;
        delta_fd = delta.fds[0];
        fds.disk = delta_fd;
    }
    if (gifts->net->on) {
        memcpy(msg.u.clone.mac, gifts->net->mac, sizeof msg.u.clone.mac);
        fds.tap = gifts->net->vm_fd;
        fds.vhost = gifts->net->vhost ? gifts->net->vhost_fd : -1;
    }
    rc = control_clone_send(template->link.fds[LINK_CONTROL], &msg, &fds);
    if (rc < 0) {
        if (rc == -EPIPE || rc == -ECONNRESET || rc == -ENOTCONN)
            template_kill(template);
        return rc;
    }
    child->cookie = msg.cookie;
    child->template_record = template->record;
    list_append(&template->unborn, &child->node);
    return 0;
}

int template_working_set(struct template *template, int fd)
{
    struct control_msg msg = { .type = CONTROL_WORKING_SET };

    /* The snapshot has one now, whoever asks. */
    template->entry.has_working_set = true;
    ledger_template_write(template->hosted->vms->keep.ledger, template->record, &template->entry);
    return control_send(template->link.fds[LINK_CONTROL], &msg, &fd, 1);
}
