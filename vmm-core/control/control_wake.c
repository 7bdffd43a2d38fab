/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what is in a WAKE; see control.h. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "control/control.h"

static void draw_from_kernel(void *context, void *ret_bytes, size_t bytes)
{
    (void)context;
    random_bytes(ret_bytes, bytes);
}

void control_wake_make(struct control_msg *ret_msg, const struct control_wake *wake,
                       control_random_fn *random, void *context)
{
    control_random_fn *draw = random ? random : draw_from_kernel;
    __auto_type body = &ret_msg->u.wake;

    memset(ret_msg, 0, control_msg_bytes(CONTROL_WAKE));
    ret_msg->type = CONTROL_WAKE;
    body->op = wake->op;
    body->flags = wake->flags;
    draw(context, &body->nonce, sizeof body->nonce);
    if (wake->generation_id)
        memcpy(body->generation_id, wake->generation_id, sizeof body->generation_id);
    else
        draw(context, body->generation_id, sizeof body->generation_id);
    if (wake->op == DOORBELL_OP_RESTORE)
        draw(context, body->entropy, sizeof body->entropy);
    if (wake->hostname)
        snprintf(body->hostname, sizeof body->hostname, "%s", wake->hostname);
    else
        snprintf(body->hostname, sizeof body->hostname, "volt-%02x%02x%02x%02x",
                 body->generation_id[0], body->generation_id[1], body->generation_id[2],
                 body->generation_id[3]);
    if (wake->network) {
        body->flags |= DOORBELL_FLAG_NETWORK;
        body->network = *wake->network;
    }
}

void control_wake_wipe(struct control_msg *msg)
{
    explicit_bzero(msg->u.wake.entropy, sizeof msg->u.wake.entropy);
}
