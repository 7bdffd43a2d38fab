/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the queue of a pool's acquires: who waits, until when, and what they are told; see pool.h. */
#include "pool/pool_internal.h"

void pool_acquire_finish(struct acquire *acquire, enum acquire_result result, struct slot *slot)
{
    struct pool *pool = pool_newest(acquire->pool);

    acquire->slot = NULL;
    if (result == ACQUIRE_OK)
        pool->counters.acquires++;
    pool->counters.answers[slot ? slot->tier : TIER_COLD][result]++;
    acquire->done(acquire, result, slot);
}

void pool_waiter_unlink(struct acquire *acquire)
{
    list_remove(&acquire->node);
    acquire->queued = false;
    acquire->pool->waiting--;
}

void pool_waiters_dismiss(struct pool *pool, enum acquire_result result)
{
    while (!list_empty(&pool->waiters)) {
        struct acquire *acquire = list_entry(pool->waiters.next, struct acquire, node);

        pool_waiter_unlink(acquire);
        pool_acquire_finish(acquire, result, NULL);
    }
}

uint64_t pool_making_ns(const struct pool *pool)
{
    const struct pool_timeouts *t = &pool->env->timeouts;

    return t->setup_ns + t->awake_ns + t->ready_ns;
}

static void waiter_linked(struct acquire *acquire, uint64_t deadline_ns)
{
    struct pool *pool = acquire->pool;

    acquire->deadline_ns = deadline_ns;
    acquire->queued = true;
    pool->waiting++;
    pool->env->ops->arm(pool->env->context, deadline_ns);
}

void pool_acquire_wait(struct acquire *acquire, uint64_t deadline_ns)
{
    list_append(&acquire->pool->waiters, &acquire->node);
    waiter_linked(acquire, deadline_ns);
}

void pool_acquire_retry(struct acquire *acquire)
{
    struct pool *pool = pool_newest(acquire->pool);

    acquire->pool = pool;
    list_prepend(&pool->waiters, &acquire->node);
    waiter_linked(acquire, MAX_OF(acquire->deadline_ns, pool_now(pool) + pool_making_ns(pool)));
}

enum acquire_result pool_shortage(const struct pool *pool)
{
    if (pool->state != POOL_READY)
        return ACQUIRE_NOT_READY;
    return pool_live_count(pool) < pool->max && pool_room_lack(pool) ? ACQUIRE_NO_ROOM
                                                                     : ACQUIRE_NO_VM_FREE;
}
