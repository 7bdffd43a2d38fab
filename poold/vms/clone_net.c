/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a clone's network while it is leased; see clone.h. */
#include <stdio.h>

#include "vms/clone_keep.h"

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

static void on_net_started(void *data)
{
    clone_keep_gate(data);
}

int clone_net_lease_adopt(struct clone *clone, struct net_publish *publish, int fds[NET_GATE_FDS])
{
    const struct hosted_pool *hosted = clone->slot->pool->owner;
    const struct vm_net_lease lease = { .vm_id = clone->slot->id,
                                        .uid = clone->dir.uid,
                                        .publish = publish,
                                        .lost = on_net_lost,
                                        .started = on_net_started,
                                        .data = clone };

    if (fds && fds[NET_GATE_PIDFD] >= 0)
        return vm_net_lease_adopt(&clone->net, &hosted->net, &clone->vms->walls, &lease, fds);
    return vm_net_lease(&clone->net, &hosted->net, &clone->vms->walls, &lease);
}

int clone_net_lease(struct slot *slot, struct net_publish *publish)
{
    return clone_net_lease_adopt(slot->vm, publish, NULL);
}
