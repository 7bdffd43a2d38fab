/* SPDX-License-Identifier: Apache-2.0 */
/* The leases of all pools: leased slots, and whose they are. Loop thread only. */
#ifndef VOLT_POOLD_LEASES_H
#define VOLT_POOLD_LEASES_H

#include <sys/types.h>

#include "http/access.h"
#include "vms/vms.h"

/* NULL: there is none; no other. */
struct slot *lease_first(const struct vms *vms);
struct slot *lease_next(const struct vms *vms, const struct slot *slot);

/* Visits every lease; the body may end `slot`'s. */
#define LEASE_FOR_EACH(slot, vms)                                                                  \
    for (struct slot *slot = lease_first(vms), *slot##_next; slot; slot = slot##_next)             \
        if ((slot##_next = lease_next(vms, slot)), true)

/* Whether a client may see and end it: its own, or any for an administrator. */
bool lease_visible(const struct slot *slot, const struct peer *peer);

/* The lease of that whole id; NULL: it has ended. */
struct slot *lease_find(const struct vms *vms, const char *id);
/* How many of those that peer may see have an id that begins so; ret_slot: the last of them. */
unsigned leases_match(const struct vms *vms, const struct peer *peer, const char *prefix,
                      struct slot **ret_slot);

/* How many they are, and their guests' memory. */
struct pool_room leases_of_user(const struct vms *vms, uid_t uid);
/* Ends them, as their owner wants it; how many there were. */
uint32_t leases_release_user(const struct vms *vms, uid_t uid);

/* Of those that are bound to a connection (slot->owner_connection). */
bool leases_bound(const struct vms *vms, const void *connection);
void leases_release_bound(const struct vms *vms, const void *connection);

#endif
