/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what is asked of any pool by its name or struct alone; see vms.h. */
#include "vms/vms.h"

#include <stdio.h>
#include <string.h>

struct hosted_pool *hosted_find(const struct vms *vms, const char *name)
{
    LIST_FOR_EACH(at, &vms->pools)
    {
        struct pool *pool = list_entry(at, struct pool, node);

        if (strcmp(pool->name, name) == 0)
            return pool->owner;
    }
    return NULL;
}

const char *hosted_console_name(const struct hosted_pool *hosted, char ret[HOSTED_CONSOLE_BYTES])
{
    snprintf(ret, HOSTED_CONSOLE_BYTES, "%s.log", hosted->pool.name);
    return ret;
}
