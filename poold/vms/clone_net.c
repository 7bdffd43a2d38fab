/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a clone's network while it is leased; see clone.h. */
#include <stdio.h>

#include "vms/clone_internal.h"

const struct vm_net *clone_net(const struct slot *slot)
{
    const struct clone *clone = slot->vm;

    return &clone->net;
}

/* Nothing holds what it sends any more. */
static void on_net_lost(void *data, const char *why)
{
    struct clone *clone = data;
    char detail[CONTROL_DETAIL_BYTES];

    snprintf(detail, sizeof detail, "its network's gate ended: %s", why);
    clone_fail(clone, FAILURE_NETWORK, detail);
}

int clone_net_lease(struct slot *slot, struct net_publish *publish)
{
    struct clone *clone = slot->vm;
    const struct hosted_pool *hosted = slot->pool->owner;
    const struct vm_net_lease lease = { .vm_id = slot->id,
                                        .uid = clone->dir.uid,
                                        .publish = publish,
                                        .lost = on_net_lost,
                                        .data = clone };

    return vm_net_lease(&clone->net, &hosted->net, &clone->vms->walls, &lease);
}
