/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the call that a clone is at; see clone_call.h. */
#include "vms/clone_call.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "vms/clone_internal.h"

/* A new number, not 0 and not the last one's. */
static uint32_t number_draw(struct clone *clone)
{
    uint32_t number;

    do
        random_stock_take(&clone->vms->random, &number, sizeof number);
    while (number == 0 || number == clone->call.number);
    return number;
}

int clone_call(struct slot *slot, const void *request, uint32_t bytes,
               const struct clone_call_ops *ops, void *owner)
{
    struct clone *clone = slot->vm;
    struct control_msg msg;
    int rc;

    assert(!clone->call.ops);
    if (clone->foreign)
        return -EPROTONOSUPPORT;
    if (clone->link.fds[LINK_BELL] < 0)
        return -ENOTCONN;
    memset(&msg, 0, sizeof msg);
    msg.type = CONTROL_CALL;
    msg.u.call.call = clone->call.number = number_draw(clone);
    prompt_vm_wake(&clone->prompt);
    rc = control_send_payload(clone->link.fds[LINK_BELL], &msg, request, bytes);
    if (rc == 0) {
        clone->call.ops = ops;
        clone->call.owner = owner;
    }
    return rc;
}

void clone_call_answered(struct clone *clone, const struct control_msg *msg, const void *payload)
{
    const struct clone_call_ops *ops = clone->call.ops;

    if (!ops || msg->u.answer.call != clone->call.number) {
        clone_fail(clone, FAILURE_PROTOCOL, "it sent a message out of place");
        return;
    }
    clone->call.ops = NULL;
    ops->answered(clone->call.owner, msg->u.answer.kind, payload, msg->u.answer.payload_bytes);
}

void clone_call_ended(struct clone *clone)
{
    const struct clone_call_ops *ops = clone->call.ops;

    clone->call.ops = NULL;
    if (ops)
        ops->ended(clone->call.owner);
}
