/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the set of inode numbers: open addressing, at most half full. */
#include "inode_set.h"

#include <errno.h>
#include <stdlib.h>

#define ROOM_FIRST 1024u

/* The slot that the inode has or would have. */
static size_t slot_of(const uint64_t *slots, size_t room, uint64_t inode)
{
    size_t at = (size_t)(inode * 0x9e3779b97f4a7c15ull >> 20) & (room - 1);

    while (slots[at] != 0 && slots[at] != inode)
        at = (at + 1) & (room - 1);
    return at;
}

static int set_grow(struct inode_set *set)
{
    size_t room = set->room ? 2 * set->room : ROOM_FIRST;
    uint64_t *slots = calloc(room, sizeof *slots);

    if (!slots)
        return -ENOMEM;
    for (size_t i = 0; i < set->room; i++) {
        if (set->slots[i])
            slots[slot_of(slots, room, set->slots[i])] = set->slots[i];
    }
    free(set->slots);
    set->slots = slots;
    set->room = room;
    return 0;
}

int inode_set_add(struct inode_set *set, uint64_t inode)
{
    if (2 * (set->used + 1) > set->room && set_grow(set) < 0)
        return -ENOMEM;
    size_t at = slot_of(set->slots, set->room, inode);
    set->used += set->slots[at] == 0;
    set->slots[at] = inode;
    return 0;
}

bool inode_set_has(const struct inode_set *set, uint64_t inode)
{
    return set->room > 0 && set->slots[slot_of(set->slots, set->room, inode)] == inode;
}

void inode_set_fini(struct inode_set *set)
{
    free(set->slots);
    *set = (struct inode_set){ 0 };
}
