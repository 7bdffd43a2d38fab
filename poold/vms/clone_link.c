/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what a clone's process says, and how that becomes events of its pool; see clone.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "vms/clone_keep.h"

static const enum failure exit_failures[EXIT_REASON_COUNT] = {
    [EXIT_REASON_NONE] = FAILURE_PROTOCOL,
    [EXIT_REASON_STOPPED] = FAILURE_PROTOCOL,
    [EXIT_REASON_GUEST_POWEROFF] = FAILURE_POWEROFF,
    [EXIT_REASON_TRIPLE_FAULT] = FAILURE_TRIPLE_FAULT,
    [EXIT_REASON_INTERNAL_ERROR] = FAILURE_INTERNAL_ERROR,
    [EXIT_REASON_ENTRY_FAILED] = FAILURE_ENTRY_FAILED,
    [EXIT_REASON_BAD_ANSWER] = FAILURE_BAD_ANSWER,
    [EXIT_REASON_GUEST_MISBEHAVED] = FAILURE_GUEST_MISBEHAVED,
    [EXIT_REASON_HOST_ERROR] = FAILURE_HOST_ERROR,
    [EXIT_REASON_POOLD_GONE] = FAILURE_PROTOCOL,
};

void clone_fail(struct clone *clone, enum failure failure, const char *detail)
{
    if (!clone->slot || clone->slot->state == SLOT_STOPPING)
        return;
    log_warn("VM %s of pool '%s' (%s) failed: %s: %s", clone->slot->id, clone->slot->pool->name,
             slot_state_name(clone->slot->state), failure_name(failure), detail);
    pool_vm_failed(clone->slot, failure, detail);
}

static void on_exited_message(struct clone *clone, const struct control_msg *msg)
{
    uint32_t reason = msg->u.exited.reason;
    char detail[CONTROL_DETAIL_BYTES];

    snprintf(detail, sizeof detail, "%.*s", (int)sizeof detail - 1, msg->u.exited.detail);
    if (reason == EXIT_REASON_GUEST_POWEROFF && clone->slot && clone->slot->state == SLOT_LEASED)
        pool_vm_failed(clone->slot, FAILURE_POWEROFF, detail);
    else
        clone_fail(clone, reason < EXIT_REASON_COUNT ? exit_failures[reason] : FAILURE_PROTOCOL,
                   detail);
}

/* Each thing is said once, when it is time: what comes again, a VM's process that was taken over would
 * keep the loop busy with, or take back what it has said of its layers. */
static void on_hello(struct clone *clone, const struct control_msg *msg)
{
    if (clone->introduced)
        clone_fail(clone, FAILURE_PROTOCOL, "it sent a message out of place");
    else if (msg->u.hello.version != CONTROL_VERSION)
        clone_fail(clone, FAILURE_PROTOCOL, "its control protocol is of another version");
    else
        pool_vm_hello(clone->slot,
                      msg->u.hello.layers | (clone->in_group ? CONTROL_LAYER_CGROUP : 0),
                      msg->u.hello.landlock_abi);
    clone->introduced = true;
}

/* The READY that it is said of ends the VM. */
static void on_trouble(struct clone *clone, const struct control_msg *msg)
{
    if (clone->trouble)
        clone_fail(clone, FAILURE_PROTOCOL, "it sent a message out of place");
    else
        clone->trouble = strndup(msg->u.trouble.text, sizeof msg->u.trouble.text - 1);
}

/* Its lease's time may begin anew. */
static void on_stats(struct clone *clone, const struct control_msg *msg)
{
    struct slot *slot = clone->slot;

    if (!pool_vm_streams(slot, msg->u.stats.vsock_connections + msg->cookie))
        clone_fail(clone, FAILURE_PROTOCOL, "it sent a message out of place");
    else if (slot->state == SLOT_LEASED)
        clone_lease_renewed(slot);
}

static void on_message(struct link *link, enum link_channel channel, const struct control_msg *msg,
                       int *fds, unsigned fd_count)
{
    struct clone *clone = list_entry(link, struct clone, link);
    struct slot *slot = clone->slot;

    for (unsigned i = 0; i < fd_count; i++)
        close_fd(&fds[i]);
    if (!slot)
        return;
    switch (msg->type) {
    case CONTROL_AWAKE:
        pool_vm_awake(slot, msg->u.progress.run_ns);
        break;
    case CONTROL_TROUBLE:
        on_trouble(clone, msg);
        break;
    case CONTROL_READY:
        pool_vm_ready(slot, msg->u.progress.ready_status, clone->trouble);
        break;
    case CONTROL_PARKED:
        pool_vm_parked(slot);
        clone_prompt(clone);
        break;
    case CONTROL_HELLO:
        on_hello(clone, msg);
        break;
    case CONTROL_STATS:
        on_stats(clone, msg);
        break;
    case CONTROL_EXITED:
        on_exited_message(clone, msg);
        break;
    case CONTROL_ANSWER:
        clone_call_answered(clone, msg, link->payload);
        break;
    default:
        clone_fail(clone, FAILURE_PROTOCOL, "it sent a message out of place");
        break;
    }
    /* A client may wait for what this changed: its reply goes out before anything else is done. */
    if (channel == LINK_BELL)
        clone->vms->told(clone->vms->told_data);
    if (msg->type == CONTROL_AWAKE || msg->type == CONTROL_ANSWER)
        prompt_vm_end(&clone->prompt);
}

static void on_closed(struct link *link, enum link_channel channel, int error)
{
    struct clone *clone = list_entry(link, struct clone, link);

    clone_keep_closed(clone, channel);
    /* Whether it was born at all, or why not, is the template's to say, and is on its way. */
    if (!list_empty(&clone->child.node))
        return;
    if (error == -ENOTCONN)
        clone_fail_silently(clone, "it closed its socket without a word");
    else
        clone_fail(clone, FAILURE_PROTOCOL, "it sent a malformed message");
}

static void on_exited(struct link *link)
{
    struct clone *clone = list_entry(link, struct clone, link);

    prompt_vm_forget(&clone->prompt);
    clone_fail_silently(clone, "its process ended without a word");
    if (clone->slot)
        pool_vm_gone(clone->slot);
}

static void on_released(struct link *link)
{
    struct clone *clone = list_entry(link, struct clone, link);

    prompt_vm_forget(&clone->prompt);
    free(clone->trouble);
    free(clone);
}

const struct link_ops clone_link_ops = {
    .message = on_message,
    .closed = on_closed,
    .exited = on_exited,
    .released = on_released,
};
