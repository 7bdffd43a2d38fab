/* SPDX-License-Identifier: Apache-2.0 */
/* Owns who makes room when pools want more VMs than the host may have, or a client has no descriptor;
 * see pool.h. */
#include "base/log.h"
#include "pool/pool_internal.h"

/* VMs that nobody has asked for; but not those that end or prove by themselves. */
static uint32_t idle_count(const struct pool *pool)
{
    return pool->counts[SLOT_SHELL] + pool->counts[SLOT_PARKED] + pool->counts[SLOT_PREPARING] -
           (pool->trial != NULL) - (pool->proof != NULL);
}

/* Whose VM is stopped first: of the lowest priority, the pool with the most of them; none where an
 * acquire waits. */
static struct pool *first_to_give(const struct pool_env *env)
{
    struct pool *found = NULL;

    LIST_FOR_EACH(at, env->pools)
    {
        struct pool *pool = list_entry(at, struct pool, node);

        if (pool->waiting || idle_count(pool) == 0)
            continue;
        if (!found || pool->priority < found->priority ||
            (pool->priority == found->priority && idle_count(pool) > idle_count(found)))
            found = pool;
    }
    return found;
}

static void idle_stop(struct pool *pool)
{
    static const enum slot_state order[] = { SLOT_SHELL, SLOT_PREPARING, SLOT_PARKED };

    for (unsigned i = 0; i < ARRAY_LEN(order); i++) {
        LIST_FOR_EACH(at, &pool->slots[order[i]])
        {
            struct slot *slot = list_entry(at, struct slot, node);

            if (!slot->trial && !slot->proof) {
                pool_slot_stop(slot);
                return;
            }
        }
    }
}

/* One after another: the descriptors of one are free when it is gone. */
static void client_room_make(struct pool_env *env)
{
    static struct log_share lines = { .what = "VMs stopped for clients", .most = 1 };
    struct pool *pool = env->ending.vms == 0 ? first_to_give(env) : NULL;

    if (!pool)
        return;
    if (log_share_allows(&lines))
        log_warn("a VM of pool '%s' that nobody has asked for is stopped for a client: there is no "
                 "descriptor",
                 pool->name);
    idle_stop(pool);
}

void pool_room_make(struct pool_env *env)
{
    struct pool *pool;

    if (env->cramped && !env->stopping)
        client_room_make(env);
    /* Each round ends a VM or the loop. */
    while (!env->stopping && (pool = first_to_give(env)) && pool_room_is_short(env, pool->priority))
        idle_stop(pool);
}
