/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the chain of pools of which each has taken another's place; see pool.h. */
#include <assert.h>

#include "pool/pool_internal.h"

static void figures_take(struct pool *pool, struct pool *from)
{
    pool_counters_add(&pool->counters, &from->counters);
    for (unsigned i = 0; i < LEASE_END_COUNT; i++)
        pool->lease_ends[i] += from->lease_ends[i];
}

static void waiters_take(struct pool *pool, struct pool *from)
{
    assert(list_empty(&pool->waiters));
    list_take_all(&pool->waiters, &from->waiters);
    pool->waiting = from->waiting;
    from->waiting = 0;
    LIST_FOR_EACH(at, &pool->waiters)
    {
        list_entry(at, struct acquire, node)->pool = pool;
    }
}

void pool_succeed(struct pool *pool, struct pool *from)
{
    assert(!pool->before && !from->after);
    pool->before = from;
    from->after = pool;
    figures_take(pool, from);
    pool_excess_stop(pool); /* before those that wait take them */
    waiters_take(pool, from);
    pool_schedule(pool);
}
