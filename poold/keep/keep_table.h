/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors by kind, index and role: what a keeper holds, and what the next poold gets of it. */
#ifndef VOLT_POOLD_KEEP_TABLE_H
#define VOLT_POOLD_KEEP_TABLE_H

#include <stdbool.h>

#include "keep/keeper.h"

struct keep_entry {
    uint64_t value;
    int fds[KEEP_ROLES_MAX]; /* owned; -1: none */
};

/* Zeroes: empty. */
struct keep_table {
    struct {
        struct keep_entry *entry;
        uint32_t room;
    } kinds[KEEP_KIND_COUNT];
};

/* NULL: nothing was ever put there. */
struct keep_entry *keep_table_at(struct keep_table *table, uint32_t kind, uint32_t index);
/* Those of msg->roles, which are taken, in place of those that are there. False: there is no memory,
 * and what the table has no place for stays the caller's. */
bool keep_table_put(struct keep_table *table, const struct keep_msg *msg, int fds[KEEP_ROLES_MAX]);
uint32_t keep_entry_roles(const struct keep_entry *entry);
void keep_fds_close(int fds[KEEP_ROLES_MAX], uint32_t roles);
/* Closes all, and frees it: it is empty then. */
void keep_table_close(struct keep_table *table);

#endif
