/* SPDX-License-Identifier: Apache-2.0 */
/* Owns who makes room when pools want more VMs than the host may have; see pool.h. */
#include "pool/pool_internal.h"

/* VMs that nobody has asked for; but not those that end or prove by themselves. */
static uint32_t idle_count(const struct pool *pool)
{
    return pool->counts[SLOT_SHELL] + pool->counts[SLOT_PARKED] + pool->counts[SLOT_PREPARING] -
           (pool->trial != NULL) - (pool->proof != NULL);
}

/* The pool with the most of them, where no acquire waits. */
static struct pool *richest(const struct pool_env *env)
{
    struct pool *found = NULL;

    LIST_FOR_EACH(at, env->pools)
    {
        struct pool *pool = list_entry(at, struct pool, node);

        if (pool->waiting == 0 && idle_count(pool) > (found ? idle_count(found) : 0))
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

void pool_room_make(struct pool_env *env)
{
    struct pool *pool;

    /* Each round ends a VM or the loop. */
    while (!env->stopping && pool_room_is_short(env)) {
        pool = richest(env);
        if (!pool)
            return;
        idle_stop(pool);
    }
}
