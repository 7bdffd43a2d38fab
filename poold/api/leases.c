/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the way through all leases, and what is asked of them by owner or id; see leases.h. */
#include "api/leases.h"

#include <string.h>

/* The first lease of the pools from `at` on. */
static struct slot *first_from(const struct vms *vms, struct list *at)
{
    for (; at != &vms->pools; at = at->next) {
        const struct pool *pool = list_entry(at, struct pool, node);

        if (pool->counts[SLOT_LEASED])
            return list_entry(pool->slots[SLOT_LEASED].next, struct slot, node);
    }
    return NULL;
}

struct slot *lease_first(const struct vms *vms)
{
    return first_from(vms, vms->pools.next);
}

struct slot *lease_next(const struct vms *vms, const struct slot *slot)
{
    const struct pool *pool = slot->pool;

    if (slot->node.next != &pool->slots[SLOT_LEASED])
        return list_entry(slot->node.next, struct slot, node);
    return first_from(vms, pool->node.next);
}

bool lease_visible(const struct slot *slot, const struct peer *peer)
{
    return peer->rights & RIGHT_ADMIN || slot->owner_uid == peer->uid;
}

struct slot *lease_find(const struct vms *vms, const char *id)
{
    LEASE_FOR_EACH(slot, vms)
    {
        if (strcmp(slot->id, id) == 0)
            return slot;
    }
    return NULL;
}

unsigned leases_match(const struct vms *vms, const struct peer *peer, const char *prefix,
                      struct slot **ret_slot)
{
    const size_t bytes = strlen(prefix);
    unsigned count = 0;

    LEASE_FOR_EACH(slot, vms)
    {
        if (strncmp(slot->id, prefix, bytes) != 0 || !lease_visible(slot, peer))
            continue;
        *ret_slot = slot;
        count++;
    }
    return count;
}

struct pool_room leases_of_user(const struct vms *vms, uid_t uid)
{
    struct pool_room room = { 0 };

    LEASE_FOR_EACH(slot, vms)
    {
        if (slot->owner_uid != uid)
            continue;
        room.vms++;
        room.bytes += slot->pool->vm_bytes;
    }
    return room;
}

uint32_t leases_release_user(const struct vms *vms, uid_t uid)
{
    uint32_t count = 0;

    LEASE_FOR_EACH(slot, vms)
    {
        if (slot->owner_uid != uid)
            continue;
        pool_release(slot, LEASE_END_RELEASED);
        count++;
    }
    return count;
}

bool leases_bound(const struct vms *vms, const void *connection)
{
    LEASE_FOR_EACH(slot, vms)
    {
        if (slot->owner_connection == connection)
            return true;
    }
    return false;
}

void leases_release_bound(const struct vms *vms, const void *connection)
{
    LEASE_FOR_EACH(slot, vms)
    {
        if (slot->owner_connection == connection)
            pool_release(slot, LEASE_END_CLIENT_GONE);
    }
}
