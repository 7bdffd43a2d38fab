/* SPDX-License-Identifier: Apache-2.0 */
/* Owns gates and passt processes; see net_gate.h. */
#include "net/net_gate_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "base/log.h"
#include "base/process.h"
#include "base/util.h"
#include "base/work.h"
#include "host/link.h"
#include "host/rights.h"
#include "net/gate/gate.h"
#include "net/net_kernel.h"
#include "net/net_passt.h"

#define FRAMES_BYTES (1 << 20) /* that wait in a stream */
#define PAUSE_MS_LEAST 100u
#define PAUSE_MS_MOST 10000u
#define SOON_NS (30 * NS_PER_S) /* a passt that ends within it is waited for longer */

static int spawn_start(struct net_gate *gate, struct gate_shared *start, int vm_fd);

/* ---- On the thread pool: starting ---- */

struct spawn_work {
    struct net_gate *gate;     /* of which nothing is written here */
    struct gate_shared *start; /* owned; NULL: the gate is there, only passt is to be started */
    int vm_fd, control_fd,
        shared_fd;                /* owned, but for the control socket of a gate that is there */
    struct spawned filter, passt; /* pid 0: not started */
    struct err err;
};

static int stream_make(int ret_pair[2], struct err *err)
{
    int bytes = FRAMES_BYTES;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_pair) < 0)
        return err_set_errno(err, errno, "making a stream");
    for (unsigned i = 0; i < 2; i++)
        setsockopt(ret_pair[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    return 0;
}

static int shared_make(struct spawn_work *work)
{
    work->shared_fd = memfd_create("volt-gate", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (work->shared_fd < 0 ||
        pwrite_all(work->shared_fd, work->start, sizeof *work->start, 0) < 0 ||
        fcntl(work->shared_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return err_set_errno(&work->err, errno, "making what a gate is started with");
    return 0;
}

static int filter_spawn(struct spawn_work *work)
{
    const struct net_walls *walls = work->gate->walls;
    char *argv[] = { (char *)(uintptr_t)walls->gate_path, (char[]){ "pass" }, NULL };
    _cleanup_close_ int host_fd = net_walls_open_host(walls), control_end = -1;
    int pair[2], rc = shared_make(work);

    if (rc < 0)
        return rc;
    if (host_fd < 0)
        return err_set_errno(&work->err, -host_fd, "opening the host's addresses");
    rc = link_socketpair(pair, false);
    if (rc < 0)
        return err_set_errno(&work->err, -rc, "making a socket pair");
    work->control_fd = pair[0];
    control_end = pair[1];
    /* In the order of enum gate_fd. */
    const int fds[] = { control_end, work->vm_fd, work->shared_fd, host_fd };
    rc = spawn_process(argv, fds, ARRAY_LEN(fds), &work->filter, &work->err);
    if (rc == 0)
        rights_oom_adjust(work->filter.pid, work->filter.pidfd, RIGHTS_OOM_VM);
    return rc;
}

/* Hands passt's end of a new stream to the gate. */
static int stream_send(int control_fd, int stream_fd, struct err *err)
{
    char byte = 0;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { .header = { .cmsg_level = SOL_SOCKET,
                              .cmsg_type = SCM_RIGHTS,
                              .cmsg_len = CMSG_LEN(sizeof(int)) } };
    struct iovec iov = { &byte, 1 };
    const struct msghdr msg = { .msg_iov = &iov,
                                .msg_iovlen = 1,
                                .msg_control = &control,
                                .msg_controllen = sizeof control.space };

    memcpy(CMSG_DATA(&control.header), &stream_fd, sizeof stream_fd);
    if (sendmsg(control_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return err_set_errno(err, errno, "telling the gate of passt");
    return 0;
}

static void on_resolver(void *data, uint32_t address)
{
    net_kernel_put_resolver(data, address);
}

static int passt_spawn(struct spawn_work *work)
{
    const struct net_gate *gate = work->gate;
    const struct net_walls *walls = gate->walls;
    const struct net_passt passt = { .gate_path = walls->gate_path,
                                     .uid = gate->spec.uid,
                                     .grouped = walls->procs_fd >= 0,
                                     .address = gate->spec.address,
                                     .gateway = gate->spec.gateway,
                                     .prefix_bits = gate->spec.prefix_bits,
                                     .publish = &gate->publish };
    struct net_passt_args args;
    int pair[2], rc = stream_make(pair, &work->err);

    if (rc < 0)
        return rc;
    _cleanup_close_ int own = pair[0], end = pair[1];
    if (passt.grouped)
        net_passt_resolvers(on_resolver, walls->kernel);
    net_passt_args(&passt, &args);
    const int fds[] = { end, walls->procs_fd };
    rc = spawn_process(args.argv, fds, passt.grouped ? 2 : 1, &work->passt, &work->err);
    if (rc == 0)
        rights_oom_adjust(work->passt.pid, work->passt.pidfd, RIGHTS_OOM_VM);
    return rc < 0 ? rc : stream_send(work->control_fd, own, &work->err);
}

static void spawn_run(void *data)
{
    struct spawn_work *work = data;

    if (!work->start || filter_spawn(work) == 0)
        passt_spawn(work);
    close_fd(&work->vm_fd);
}

/* ---- The end ---- */

/* Frees it once nothing is under way any more. */
static void try_free(struct net_gate *gate)
{
    if (!gate->ended || gate->working || gate->filter.linked || gate->passt.linked ||
        gate->timer_open)
        return;
    net_publish_release(&gate->publish);
    /* Not before: the ends of its connections are to come to where they lead. */
    if (gate->spec.uid != VM_UIDS_NONE && gate->walls->kernel)
        net_kernel_remove_passt(gate->walls->kernel, gate->spec.uid);
    if (gate->walls->uids)
        vm_uids_drop(gate->walls->uids, gate->spec.uid);
    close_fd(&gate->control_fd);
    close_fd(&gate->shared_fd);
    struct net_walls *walls = gate->walls;
    walls->gates--;
    free(gate);
    if (walls->gate_gone)
        walls->gate_gone(walls->gate_gone_data);
}

static void on_pause_closed(uv_handle_t *handle)
{
    struct net_gate *gate = handle->data;

    gate->timer_open = false;
    try_free(gate);
}

void net_gate_end(struct net_gate *gate)
{
    if (!gate)
        return;
    gate->ended = true;
    link_kill(&gate->filter.link);
    link_kill(&gate->passt.link);
    uv_close((uv_handle_t *)&gate->pause, on_pause_closed);
}

/* The gate is there no more. why NULL: as the VM has closed its card, which is the VM's to tell. */
static void lose(struct net_gate *gate, const char *why)
{
    if (gate->lost || gate->ended)
        return;
    gate->lost = true;
    link_kill(&gate->passt.link);
    if (why)
        gate->spec.lost(gate->spec.data, why);
}

/* ---- Their lives ---- */

static void status_text(int status, const struct child *child, char *text, size_t bytes)
{
    const char *colon = child->said[0] ? ": " : "";

    if (WIFSIGNALED(status))
        snprintf(text, bytes, "signal %d (%s)%s%s", WTERMSIG(status), strsignal(WTERMSIG(status)),
                 colon, child->said);
    else
        snprintf(text, bytes, "status %d%s%s", WEXITSTATUS(status), colon, child->said);
}

static void on_pause_over(uv_timer_t *timer);

/* passt has ended, or could not be started. */
void net_gate_passt_pause(struct net_gate *gate, const char *what, const char *why)
{
    if (gate->ended || gate->lost)
        return;
    if (now_ns() - gate->started_ns >= SOON_NS)
        gate->pause_ms = 0;
    gate->pause_ms = gate->pause_ms ? MIN_OF(2 * gate->pause_ms, PAUSE_MS_MOST) : PAUSE_MS_LEAST;
    snprintf(gate->error, sizeof gate->error, "%s %s", what, why);
    log_warn("VM %s has no network for %u ms: %s", gate->spec.vm_id, gate->pause_ms, gate->error);
    uv_timer_start(&gate->pause, on_pause_over, gate->pause_ms, 0);
}

static void on_pause_over(uv_timer_t *timer)
{
    struct net_gate *gate = timer->data;

    gate->restarts++;
    gate->walls->passt_restarts++;
    if (spawn_start(gate, NULL, -1) < 0)
        net_gate_passt_pause(gate, NET_GATE_NOT_STARTED, "out of memory");
}

static void on_exited(struct link *link)
{
    struct child *child = (struct child *)link;
    struct net_gate *gate = child->gate;
    char text[LINK_LINE_BYTES + 64];
    int status = 0;

    bool known = child->pid > 0 && waitpid(child->pid, &status, WNOHANG) == child->pid;
    child->pid = 0;
    if (known)
        status_text(status, child, text, sizeof text);
    else
        snprintf(text, sizeof text, "a status that an earlier poold would know");
    if (child == &gate->filter && known && WIFEXITED(status) && WEXITSTATUS(status) == EX_PROTOCOL)
        snprintf(text, sizeof text, "what the VM's process sends are no frames");
    if (child == &gate->passt)
        net_gate_passt_pause(gate, "passt ended with", text);
    else
        lose(gate, known && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? NULL : text);
    link_close(link);
}

static void on_released(struct link *link)
{
    struct child *child = (struct child *)link;

    child->linked = false;
    try_free(child->gate);
}

static void on_text(struct link *link, const char *line)
{
    struct child *child = (struct child *)link;

    snprintf(child->said, sizeof child->said, "%s", line);
    log_debug("VM %s: %s says: %s", child->gate->spec.vm_id,
              child == &child->gate->passt ? "passt" : "volt-gate", line);
}

const struct link_ops net_gate_child_ops = {
    .text = on_text,
    .exited = on_exited,
    .released = on_released,
};

static int child_watch(struct net_gate *gate, struct child *child, struct spawned *spawned)
{
    link_init(&child->link, gate->walls->loop, &net_gate_child_ops);
    child->gate = gate;
    child->pid = spawned->pid;
    child->linked = true;
    child->said[0] = '\0';
    /* Both, as the link takes over what it is given even when it fails. */
    bool attached = link_attach(&child->link, LINK_PIDFD, spawned->pidfd) == 0;
    attached &= link_attach(&child->link, LINK_TEXT, spawned->text_fd) == 0;
    if (attached)
        return 0;
    kill(child->pid, SIGKILL);
    waitpid(child->pid, NULL, 0);
    child->pid = 0;
    link_close(&child->link);
    return -ENOMEM;
}

static void spawn_done(void *data)
{
    struct spawn_work *work = data;
    struct net_gate *gate = work->gate;

    gate->working = false;
    gate->started_ns = now_ns();
    gate->control_fd = work->control_fd;
    if (work->start)
        gate->shared_fd = work->shared_fd;
    if (work->filter.pid > 0 && child_watch(gate, &gate->filter, &work->filter) < 0)
        err_set(&work->err, ENOMEM, "can't watch it");
    if (work->passt.pid > 0 && child_watch(gate, &gate->passt, &work->passt) < 0)
        err_set(&work->err, ENOMEM, "can't watch it");
    if (!gate->filter.linked)
        lose(gate, work->err.msg);
    else if (!gate->passt.linked)
        net_gate_passt_pause(gate, NET_GATE_NOT_STARTED, work->err.msg);
    else
        gate->error[0] = '\0';
    if (gate->ended || gate->lost) {
        link_kill(&gate->filter.link);
        link_kill(&gate->passt.link);
    }
    free(work->start);
    free(work);
    if (!gate->ended && gate->spec.started)
        gate->spec.started(gate->spec.data);
    try_free(gate);
}

/* Takes both. 0 or -ENOMEM. */
static int spawn_start(struct net_gate *gate, struct gate_shared *start, int vm_fd)
{
    struct spawn_work *work = calloc(1, sizeof *work);

    process_environment(); /* made by its first caller, on this thread */
    if (work) {
        *work = (struct spawn_work){ .gate = gate,
                                     .start = start,
                                     .vm_fd = vm_fd,
                                     .control_fd = gate->control_fd,
                                     .shared_fd = -1 };
        gate->working = work_start(gate->walls->loop, spawn_run, spawn_done, work) == 0;
    }
    if (gate->working)
        return 0;
    free(work);
    free(start);
    close_fd(&vm_fd);
    return -ENOMEM;
}

static struct gate_shared *shared_of(const struct net_gate_start *start)
{
    struct gate_shared *shared = calloc(1, sizeof *shared);

    if (!shared)
        return NULL;
    *shared = (struct gate_shared){
        .version = GATE_SHARED_VERSION, .uid = start->uid, .vm = start->vm, .rules = *start->rules
    };
    shared->datagrams.gateway = ntohl(start->gateway);
    for (unsigned i = 0; i < start->publish->count; i++) {
        if (start->publish->port[i].udp)
            shared->datagrams.published[i] = start->publish->port[i].guest;
    }
    return shared;
}

void net_gate_init(struct net_gate *gate, struct net_walls *walls,
                   const struct net_gate_start *start)
{
    *gate = (struct net_gate){ .walls = walls, .spec = *start, .control_fd = -1, .shared_fd = -1 };
    link_init(&gate->filter.link, walls->loop, &net_gate_child_ops);
    link_init(&gate->passt.link, walls->loop, &net_gate_child_ops);
    net_publish_move(start->publish, &gate->publish);
    if (walls->uids)
        vm_uids_hold(walls->uids, start->uid);
    uv_timer_init(walls->loop, &gate->pause);
    gate->pause.data = gate;
    gate->timer_open = true;
    walls->gates++;
}

struct net_gate *net_gate_start(struct net_walls *walls, const struct net_gate_start *start)
{
    struct net_gate *gate = calloc(1, sizeof *gate);
    struct gate_shared *shared = shared_of(start);
    int vm_fd = start->vm_fd;

    if (!gate || !shared) {
        free(shared);
        free(gate);
        close_fd(&vm_fd);
        net_publish_release(start->publish);
        return NULL;
    }
    net_gate_init(gate, walls, start);
    if (spawn_start(gate, shared, vm_fd) == 0)
        return gate;
    net_gate_end(gate);
    return NULL;
}

void net_gate_drops(const struct net_gate *gate, struct net_drops *ret_drops)
{
    *ret_drops = (struct net_drops){ .denied_address = 0 };
    if (gate->shared_fd >= 0)
        pread_all(gate->shared_fd, ret_drops, sizeof *ret_drops,
                  offsetof(struct gate_shared, drops));
    for (unsigned i = 0; i < NET_VERDICT_COUNT; i++) /* it may say anything: JSON has no more */
        ret_drops->count[i] = MIN_OF(ret_drops->count[i], (uint64_t)INT64_MAX);
}

struct net_gate_state net_gate_state(const struct net_gate *gate)
{
    return (struct net_gate_state){ .restarts = gate->restarts,
                                    .error = gate->error[0] ? gate->error : NULL };
}
