/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the room that all pools share; see pool.h. */
#include "pool/pool_internal.h"

static struct pool_room room_sum(struct pool_room a, struct pool_room b)
{
    return (struct pool_room){ a.vms + b.vms, a.fds + b.fds, a.bytes + b.bytes };
}

static bool room_fits(struct pool_room all, struct pool_room within)
{
    return all.vms <= within.vms && all.fds <= within.fds && all.bytes <= within.bytes;
}

static struct pool_room room_of(const struct pool *pool, uint32_t vms)
{
    return (struct pool_room){ vms, vms * pool->vm_fds, vms * pool->vm_bytes };
}

/* That of the VMs which acquires wait for, and which their pools may make; and of pools' proofs. */
static struct pool_room room_wanted(const struct pool_env *env)
{
    struct pool_room wanted = { 0 };

    LIST_FOR_EACH(at, env->pools)
    {
        const struct pool *pool = list_entry(at, struct pool, node);

        if (pool->state == POOL_PROVING && !pool->proof && !pool->proven)
            wanted = room_sum(wanted, room_of(pool, 1));
        if (pool->waiting && pool->state == POOL_READY) {
            uint32_t places = pool->max - MIN_OF(pool->max, pool_live_count(pool));

            wanted = room_sum(wanted, room_of(pool, MIN_OF(pool->waiting, places)));
        }
    }
    return wanted;
}

/* VMs for its stock that it is short of, and may make. */
static uint32_t short_by(const struct pool *pool)
{
    const uint32_t wanted = pool->min + pool->shells, live = pool_live_count(pool);
    const uint32_t stock = pool->counts[SLOT_PARKED] + pool->counts[SLOT_SHELL] +
                           pool->counts[SLOT_PREPARING] - (pool->trial != NULL);

    if (pool->state != POOL_READY || backoff_active(&pool->backoff, pool_now(pool)))
        return 0;
    return MIN_OF(wanted - MIN_OF(wanted, stock), pool->max - MIN_OF(pool->max, live));
}

/* That which pools of a higher priority are short of, too. */
static struct pool_room room_due(const struct pool_env *env, uint32_t priority)
{
    struct pool_room due = room_wanted(env);

    LIST_FOR_EACH(at, env->pools)
    {
        const struct pool *pool = list_entry(at, struct pool, node);

        if (pool->priority > priority)
            due = room_sum(due, room_of(pool, short_by(pool)));
    }
    return due;
}

bool pool_room_has(const struct pool *pool)
{
    const struct pool_env *env = pool->env;

    return room_fits(room_sum(env->made, room_of(pool, 1)), env->room);
}

bool pool_room_has_spare(const struct pool *pool)
{
    const struct pool_env *env = pool->env;

    return room_fits(room_sum(env->made, room_sum(room_due(env, pool->priority), room_of(pool, 1))),
                     env->room);
}

bool pool_room_comes(const struct pool *pool)
{
    const struct pool_env *env = pool->env;

    return room_fits(room_sum(env->claimed, room_sum(room_wanted(env), room_of(pool, 1))),
                     env->room);
}

bool pool_room_is_short(const struct pool_env *env, uint32_t priority)
{
    struct pool_room staying = { env->made.vms - env->ending.vms, env->made.fds - env->ending.fds,
                                 env->made.bytes - env->ending.bytes };

    return !room_fits(room_sum(staying, room_due(env, priority)), env->room);
}

enum pool_lack pool_room_lack(const struct pool *pool)
{
    const struct pool_env *env = pool->env;

    if (env->made.vms >= env->room.vms)
        return POOL_LACKS_VMS;
    if (env->made.fds + pool->vm_fds > env->room.fds)
        return POOL_LACKS_FDS;
    return env->made.bytes + pool->vm_bytes > env->room.bytes ? POOL_LACKS_BYTES : POOL_LACKS_NONE;
}
