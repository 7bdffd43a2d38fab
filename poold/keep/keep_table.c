/* SPDX-License-Identifier: Apache-2.0 */
/* Owns tables of descriptors; see keep_table.h. */
#include "keep/keep_table.h"

#include <stdlib.h>

#include "base/util.h"

#define INDEX_MAX 65536u /* of a kind */
#define ROOM_LEAST 16u

struct keep_entry *keep_table_at(struct keep_table *table, uint32_t kind, uint32_t index)
{
    return kind < KEEP_KIND_COUNT && index < table->kinds[kind].room
               ? &table->kinds[kind].entry[index]
               : NULL;
}

static bool grow(struct keep_table *table, uint32_t kind, uint32_t index)
{
    uint32_t old = table->kinds[kind].room, room = MAX_OF(2 * index, ROOM_LEAST);
    struct keep_entry *grown = reallocarray(table->kinds[kind].entry, room, sizeof *grown);

    if (!grown)
        return false;
    for (uint32_t i = old; i < room; i++) {
        grown[i].value = 0;
        for (unsigned role = 0; role < KEEP_ROLES_MAX; role++)
            grown[i].fds[role] = -1;
    }
    table->kinds[kind].entry = grown;
    table->kinds[kind].room = room;
    return true;
}

uint32_t keep_entry_roles(const struct keep_entry *entry)
{
    uint32_t roles = 0;

    for (unsigned role = 0; role < KEEP_ROLES_MAX; role++)
        roles |= entry->fds[role] >= 0 ? 1u << role : 0;
    return roles;
}

void keep_fds_close(int fds[KEEP_ROLES_MAX], uint32_t roles)
{
    for (unsigned role = 0; role < KEEP_ROLES_MAX; role++) {
        if (roles & 1u << role)
            close_fd(&fds[role]);
    }
}

bool keep_table_put(struct keep_table *table, const struct keep_msg *msg, int fds[KEEP_ROLES_MAX])
{
    struct keep_entry *entry = keep_table_at(table, msg->kind, msg->index);

    if (!entry) {
        if (msg->kind >= KEEP_KIND_COUNT || msg->index >= INDEX_MAX)
            return true;
        if (!grow(table, msg->kind, msg->index))
            return false;
        entry = keep_table_at(table, msg->kind, msg->index);
    }
    entry->value = msg->value;
    keep_fds_close(entry->fds, msg->roles);
    for (unsigned role = 0; role < KEEP_ROLES_MAX; role++) {
        if (msg->roles & 1u << role)
            entry->fds[role] = take_fd(&fds[role]);
    }
    return true;
}

void keep_table_close(struct keep_table *table)
{
    for (unsigned kind = 0; kind < KEEP_KIND_COUNT; kind++) {
        for (uint32_t i = 0; i < table->kinds[kind].room; i++)
            keep_fds_close(table->kinds[kind].entry[i].fds, KEEP_ALL_ROLES);
        free(table->kinds[kind].entry);
    }
    *table = (struct keep_table){ 0 };
}
