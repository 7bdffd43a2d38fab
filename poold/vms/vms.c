/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what is asked of any pool by its name or struct alone; see vms.h. */
#include "vms/vms.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

bool hosted_is_current(const struct pool *pool)
{
    return ((const struct hosted_pool *)pool->owner)->role == HOSTED_CURRENT;
}

struct hosted_pool *hosted_find(const struct vms *vms, const char *name)
{
    LIST_FOR_EACH(at, &vms->pools)
    {
        struct pool *pool = list_entry(at, struct pool, node);

        if (hosted_is_current(pool) && strcmp(pool->name, name) == 0)
            return pool->owner;
    }
    return NULL;
}

void vms_clone_told(struct vms *vms, const struct pool *pool, int rc)
{
    if (rc < 0 && rc != vms->clone_error)
        log_warn("no VM of pool '%s' can be made for now: %s", pool->name, strerror(-rc));
    vms->clone_error = rc;
}

void vms_room_set(struct vms *vms)
{
    const struct vms_settings *settings = vms->settings;

    vms->env.room = (struct pool_room){
        .vms = settings->vms_max ? settings->vms_max : UINT32_MAX,
        .fds = fd_budget_of_vms(vms->fds, vms->pool_count),
        .bytes = settings->memory_max_mib ? settings->memory_max_mib << 20 : UINT64_MAX,
    };
    turn_schedule(vms->turn);
}

const char *hosted_console_name(const char *id, char ret[HOSTED_CONSOLE_BYTES])
{
    snprintf(ret, HOSTED_CONSOLE_BYTES, "%s.log", id);
    return ret;
}
