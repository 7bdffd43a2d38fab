/* SPDX-License-Identifier: Apache-2.0 */
/* Owns clones: how pool.h's vm_ops become messages and kills; see clone.h. */
#include "vms/clone_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/process.h"
#include "vms/clone_keep.h"
#include "vms/trial.h"

static int trial_connect(void *owner, int fd)
{
    struct clone *clone = owner;
    struct control_msg msg = { .type = CONTROL_VSOCK_CONNECT };

    msg.u.vsock_connect.port = AGENT_VSOCK_PORT;
    return clone_connect(clone->slot, &msg, fd);
}

static int trial_pid(void *owner)
{
    return clone_pid(((struct clone *)owner)->slot);
}

static void trial_over(void *owner, const struct err *err)
{
    struct clone *clone = owner;
    const char *pool = clone->slot->pool->name;

    clone->trial = NULL;
    if (err && clone->slot->state != SLOT_STOPPING)
        log_pool(LOG_LEVEL_WARN, pool, "pool '%s': its clones' working set was not recorded: %s",
                 pool, err->msg);
    pool_trial_over(clone->slot, !err);
}

static const struct trial_ops clone_trial_ops = {
    .connect = trial_connect,
    .pid = trial_pid,
    .over = trial_over,
};

/* Its READY and its pidfd come over two sockets, in any order. */
static void trial_begin(struct clone *clone)
{
    if (!clone->trial_due || clone->link.fds[LINK_PIDFD] < 0)
        return;
    clone->trial_due = false;
    clone->trial = trial_start(clone->slot->pool->owner, &clone_trial_ops, clone);
}

/* It has no process, and never will. */
static void clone_unborn(struct clone *clone, const char *detail)
{
    clone_fail(clone, FAILURE_CLONE, detail);
    if (clone->slot)
        pool_vm_gone(clone->slot);
}

static void on_born(struct template_child *child, int pidfd)
{
    struct clone *clone = list_entry(child, struct clone, child);

    if (link_attach(&clone->link, LINK_PIDFD, pidfd) < 0) {
        /* Its sockets' closing ends it. */
        clone_unborn(clone, "can't watch its process");
        return;
    }
    if (clone->kill_wanted)
        link_kill(&clone->link);
    else if (clone->slot)
        clone_group_join(clone, pidfd);
    if (clone->slot)
        clone_keep_soon(clone);
    if (clone->slot && clone->slot->state != SLOT_STOPPING)
        trial_begin(clone);
}

static void on_unborn(struct template_child *child, const char *detail)
{
    clone_unborn(list_entry(child, struct clone, child), detail);
}

static const struct template_child_ops clone_child_ops = {
    .born = on_born,
    .unborn = on_unborn,
};

static void wake_make(struct vms *vms, const struct slot *slot, enum doorbell_op op, uint32_t flags,
                      struct control_msg *ret_msg)
{
    const struct clone *clone = slot->vm;
    struct control_network network;
    const struct control_wake wake = {
        .op = op,
        .flags = flags | (vms->settings->skip_guest_work ? DOORBELL_FLAG_SKIP_KERNEL_WORK : 0) |
                 (slot->pool->at_bell && !slot->trial ? DOORBELL_FLAG_FUNCTION : 0),
        .generation_id = slot->generation_id,
        .hostname = slot->hostname,
        .network = op == DOORBELL_OP_RESTORE && clone->net.on ? &network : NULL,
    };

    if (wake.network)
        vm_net_tell(&clone->net, &network);
    control_wake_make(ret_msg, &wake, random_stock_draw, &vms->random);
}

static int ops_wake(void *context, struct slot *slot, enum doorbell_op op, uint32_t flags)
{
    struct clone *clone = slot->vm;
    struct control_msg msg;
    int rc;

    if (op == DOORBELL_OP_LEASE)
        clone_keep_busy(clone);
    if (op == DOORBELL_OP_LEASE && slot->pool->at_bell)
        return 0; /* its call wakes it */
    wake_make(context, slot, op, flags, &msg);
    prompt_vm_wake(&clone->prompt);
    rc = control_send(clone->link.fds[LINK_BELL], &msg, NULL, 0);
    control_wake_wipe(&msg);
    return rc;
}

static const enum link_channel clone_channels[2] = { LINK_CONTROL, LINK_BELL };

static void ops_go(void *context, struct slot *slot, uint32_t rest_ms)
{
    struct clone *clone = slot->vm;
    struct control_msg msg = { .type = CONTROL_GO };

    (void)context;
    if (!clone->net.on) /* its card's interrupts, which are KVM's, would not end the rest */
        msg.u.go.rest_ms = rest_ms;
    (void)control_send(clone->link.fds[LINK_BELL], &msg, NULL, 0);
}

/* Makes both socket pairs; poold's ends go to the link, unwatched yet, the clone's to ret_ends. */
static int clone_sockets(struct clone *clone, int ret_ends[2])
{
    for (unsigned i = 0; i < ARRAY_LEN(clone_channels); i++) {
        int pair[2];
        int rc = link_socketpair(pair, false);

        if (rc < 0)
            return rc;
        clone->link.fds[clone_channels[i]] = pair[0];
        ret_ends[i] = pair[1];
    }
    return 0;
}

/* After a failure the clone, if it was asked for, sees its sockets closed and ends. */
int clone_watch(struct clone *clone)
{
    int rc = 0;

    for (unsigned i = 0; i < ARRAY_LEN(clone_channels) && rc == 0; i++)
        rc = link_attach(&clone->link, clone_channels[i], clone->link.fds[clone_channels[i]]);
    return rc;
}

static void slot_identify(struct vms *vms, struct slot *slot, const struct vm_dir *dir)
{
    memcpy(slot->id, dir->id, sizeof slot->id);
    random_stock_take(&vms->random, slot->generation_id, sizeof slot->generation_id);
    snprintf(slot->hostname, sizeof slot->hostname, "volt-%.12s", slot->id);
}

static int clone_request(struct clone *clone, struct slot *slot, bool wake, uint32_t wake_flags)
{
    struct hosted_pool *hosted = slot->pool->owner;
    int ends[2] = { -1, -1 };
    int rc = clone_sockets(clone, ends);

    if (rc == 0)
        rc = vm_net_make(&clone->net, &hosted->net, &hosted->spec.net, &clone->vms->walls,
                         &clone->vms->taps);
    /* The WAKE is in the bell before the clone exists: it needs no second round trip. */
    if (rc == 0 && wake)
        rc = ops_wake(clone->vms, slot, DOORBELL_OP_RESTORE, wake_flags);
    const struct template_gifts gifts = {
        .control_fd = ends[0], .bell_fd = ends[1], .dir = &clone->dir, .net = &clone->net
    };
    if (rc == 0)
        rc = hosted->template ? template_clone(hosted->template, &clone->child, &gifts) : -ENOTCONN;
    /* libuv takes several calls for each: they run while the template forks. */
    if (rc == 0)
        rc = clone_watch(clone);
    close_fd(&ends[0]);
    close_fd(&ends[1]);
    close_fd(&clone->dir.fd);
    close_fd(&clone->dir.listen_fd);
    vm_net_handed(&clone->net);
    return rc;
}

struct clone *clone_create(struct vms *vms, struct slot *slot)
{
    struct clone *clone = calloc(1, sizeof *clone);

    if (!clone)
        return NULL;
    link_init(&clone->link, vms->loop, &clone_link_ops);
    list_init(&clone->child.node);
    clone->child.ops = &clone_child_ops;
    prompt_vm_init(&clone->prompt);
    list_init(&clone->due.node);
    clone->vms = vms;
    clone->connection_fd = -1;
    clone->slot = slot;
    clone->record = clone->child.template_record = LEDGER_NONE;
    slot->vm = clone;
    return clone;
}

static int clone_make(struct vms *vms, struct slot *slot, bool wake, uint32_t wake_flags)
{
    struct vm_dir dir;
    int rc = vm_dirs_take(&vms->vm_dirs, &dir);
    struct clone *clone = rc == 0 ? clone_create(vms, slot) : NULL;

    if (!clone) {
        if (rc == 0)
            vm_dirs_give_back(&vms->vm_dirs, &dir);
        return rc < 0 ? rc : -ENOMEM;
    }
    clone->dir = dir;
    slot_identify(vms, slot, &clone->dir);
    return clone_request(clone, slot, wake, wake_flags);
}

static int ops_clone(void *context, struct slot *slot, bool wake, uint32_t wake_flags)
{
    int rc = clone_make(context, slot, wake, wake_flags);

    vms_clone_told(context, slot->pool, rc);
    return rc;
}

static int ops_pause(void *context, struct slot *slot)
{
    struct clone *clone = slot->vm;

    (void)context;
    /* A VM that is stopped hears of no end of poold's. */
    if (!list_empty(&clone->due.node))
        clone_keep(clone);
    return link_freeze(&clone->link);
}

static void ops_resume(void *context, struct slot *slot)
{
    struct clone *clone = slot->vm;

    (void)context;
    link_thaw(&clone->link);
}

static int ops_freeze(void *context, struct slot *slot, uint64_t *ret_bytes)
{
    const struct clone *clone = slot->vm;
    int rc;

    if (clone->net.gate) /* its passt has ports of the host, which the next lease may ask for */
        return -EBUSY;
    rc = ops_pause(context, slot);
    if (rc == 0)
        *ret_bytes = process_private_bytes(clone_pid(slot), slot->pool->vm_bytes);
    return rc;
}

static void ops_kill(void *context, struct slot *slot)
{
    struct vms *vms = context;
    struct clone *clone = slot->vm;
    struct hosted_pool *hosted = slot->pool->owner;

    clone->kill_wanted = true;
    prompt_vm_end(&clone->prompt);
    link_kill(&clone->link);
    /* A template that has not forked it in all this time hangs: its end is the end of its unborn.
     */
    if (!list_empty(&clone->child.node) && hosted->template &&
        now_ns() - slot->begun_ns >= vms->env.timeouts.setup_ns) {
        log_error("pool '%s': the template does not answer; it is started again", slot->pool->name);
        template_kill(hosted->template);
    }
}

static void ops_note(void *context, struct slot *slot)
{
    const struct vms *vms = context;

    if (slot->vm)
        clone_keep_state(slot->vm);
    if (slot->vm && slot->state == SLOT_STOPPING)
        clone_call_ended(slot->vm);
    if (slot->state == SLOT_STOPPING && slot->given)
        vms->lease_ended(vms->told_data, slot);
}

static void ops_forget(void *context, struct slot *slot)
{
    struct vms *vms = context;
    struct clone *clone = slot->vm;

    if (slot->given) {
        volumes_lease_over(vms, slot->id);
        vms->lease_forgotten(vms->told_data, slot);
    }
    if (!clone)
        return;
    list_remove(&clone->child.node);
    clone_keep_end(clone);
    trial_abandon(clone->trial);
    vm_groups_abandon(clone->group_job);
    clone->group_job = NULL;
    vm_dirs_give_back(&vms->vm_dirs, &clone->dir);
    vm_net_free(&clone->net, &((struct hosted_pool *)slot->pool->owner)->net, &vms->walls);
    clone->slot = NULL;
    slot->vm = NULL;
    link_close(&clone->link);
    templates_reap(slot->pool->owner, clone_template_has_vms);
}

static int ops_ask(void *context, struct slot *slot)
{
    struct clone *clone = slot->vm;
    struct control_msg msg = { .type = CONTROL_QUERY_STATS };

    (void)context;
    if (clone->foreign || clone->link.fds[LINK_CONTROL] < 0)
        return -ENOTCONN;
    return control_send(clone->link.fds[LINK_CONTROL], &msg, NULL, 0);
}

static void ops_trial(void *context, struct slot *slot)
{
    struct clone *clone = slot->vm;

    (void)context;
    clone->trial_due = true;
    trial_begin(clone);
}

static void ops_proved(void *context, struct pool *pool, const char *trouble)
{
    struct hosted_pool *hosted = pool->owner;

    (void)context;
    hosted->vms->hosted_ops->proved(hosted, trouble);
}

static uint64_t ops_now(void *context)
{
    (void)context;
    return now_ns();
}

static void ops_schedule(void *context)
{
    turn_schedule(((struct vms *)context)->turn);
}

static void ops_arm(void *context, uint64_t deadline_ns)
{
    turn_arm(((struct vms *)context)->turn, deadline_ns);
}

const struct vm_ops clone_ops = {
    .clone = ops_clone,
    .wake = ops_wake,
    .go = ops_go,
    .pause = ops_pause,
    .resume = ops_resume,
    .freeze = ops_freeze,
    .kill = ops_kill,
    .ask = ops_ask,
    .trial = ops_trial,
    .proved = ops_proved,
    .note = ops_note,
    .forget = ops_forget,
    .now = ops_now,
    .schedule = ops_schedule,
    .arm = ops_arm,
};

int clone_connect(struct slot *slot, struct control_msg *msg, int fd)
{
    return clone_send(slot, msg, &fd, 1);
}

int clone_send(struct slot *slot, struct control_msg *msg, const int *fds, unsigned fd_count)
{
    struct clone *clone = slot->vm;

    if (clone->link.fds[LINK_CONTROL] < 0)
        return -ENOTCONN;
    if (clone->foreign)
        return -EPROTONOSUPPORT;
    return control_send(clone->link.fds[LINK_CONTROL], msg, fds, fd_count);
}

int clone_pid(const struct slot *slot)
{
    const struct clone *clone = slot->vm;

    return process_of_pidfd(clone->link.fds[LINK_PIDFD]);
}
