/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what VM an acquire gets: one that is parked, a shell, or a new clone; see pool.h. */
#include <stdio.h>
#include <string.h>

#include "pool/pool_internal.h"

/* The state of a slot whose WAKE(RESTORE) is on its way. */
static void restore_begin(struct slot *slot, struct acquire *acquire, uint64_t patience_ns)
{
    struct pool_env *env = slot->pool->env;

    slot->acquire = acquire;
    pool_slot_enter(slot, acquire ? SLOT_PHASE_DEMANDED : SLOT_PHASE_RESTORING);
    if (acquire) {
        acquire->slot = slot;
        pool_readying_pause(env);
    }
    pool_slot_deadline(slot, slot->begun_ns + patience_ns);
}

bool pool_clone_start(struct pool *pool, struct acquire *acquire, enum clone_use use)
{
    const struct pool_timeouts *t = &pool->env->timeouts;
    struct slot *slot = pool_slot_create(pool, use == CLONE_TRIAL);
    char detail[96];
    int rc;

    if (!slot) {
        if (acquire)
            pool_acquire_retry(acquire);
        return false;
    }
    if (use == CLONE_PROOF) {
        slot->proof = true;
        pool->proof = slot;
    }
    slot->tier = TIER_COLD;
    slot->begun_ns = pool_now(pool);
    rc = pool->env->ops->clone(pool->env->context, slot, use != CLONE_SHELL,
                               acquire       ? DOORBELL_FLAG_HOLD
                               : slot->trial ? 0
                                             : DOORBELL_FLAG_PARK_AGAIN);
    if (rc < 0) {
        /* No process, so no event will come: it is dead on the spot. */
        slot->acquire = acquire;
        snprintf(detail, sizeof detail, "a VM can't be asked for: %s", strerror(-rc));
        pool_slot_fail(slot, FAILURE_CLONE, detail);
        pool_vm_gone(slot);
        return false;
    }
    if (use == CLONE_SHELL) {
        pool_slot_enter(slot, SLOT_PHASE_CLONING);
        pool_slot_deadline(slot, slot->begun_ns + t->setup_ns);
    } else {
        restore_begin(slot, acquire, t->setup_ns + t->awake_ns);
    }
    return true;
}

void pool_shell_restore(struct slot *slot, struct acquire *acquire)
{
    struct pool *pool = slot->pool;
    uint32_t flags = acquire ? DOORBELL_FLAG_HOLD : DOORBELL_FLAG_PARK_AGAIN;

    slot->tier = TIER_SHELL;
    slot->begun_ns = pool_now(pool);
    restore_begin(slot, acquire, pool->env->timeouts.awake_ns);
    if (pool->env->ops->wake(pool->env->context, slot, DOORBELL_OP_RESTORE, flags) < 0)
        pool_slot_fail(slot, FAILURE_CRASHED, "its bell does not take a message");
}

/* Gives a parked VM its lease message. False when the VM failed at once. */
static bool parked_wake(struct slot *slot, struct acquire *acquire)
{
    struct pool *pool = slot->pool;
    int rc = pool->env->ops->wake(pool->env->context, slot, DOORBELL_OP_LEASE, 0);

    if (rc < 0) {
        pool_slot_fail(slot, FAILURE_CRASHED, "its bell does not take a message");
        return false;
    }
    /* The message is out: what follows runs while the guest does. */
    acquire->slot = slot;
    slot->acquire = acquire;
    slot->tier = TIER_PARKED;
    slot->begun_ns = pool_now(pool);
    pool_slot_enter(slot, SLOT_PHASE_LEASING);
    pool_slot_deadline(slot, slot->begun_ns + pool->env->timeouts.awake_ns);
    return true;
}

bool pool_parked_take(struct pool *pool, struct acquire *acquire)
{
    /* The youngest has the warmest caches, and shrinking takes the oldest. */
    while (!list_empty(&pool->slots[SLOT_PARKED])) {
        if (parked_wake(list_entry(pool->slots[SLOT_PARKED].prev, struct slot, node), acquire))
            return true;
    }
    return false;
}

void pool_lease_begin(struct slot *slot, uint64_t now)
{
    struct acquire *acquire = slot->acquire;
    struct pool_counters *counters = &pool_newest(slot->pool)->counters;
    const struct timings *t = &slot->timings;

    slot->acquire = NULL;
    pool_slot_enter(slot, SLOT_PHASE_LEASED);
    slot->leased_ns = now;
    slot->ttl_ms = acquire->ttl_ms;
    slot->kept_by_streams = acquire->kept_by_streams;
    if (slot->ttl_ms)
        pool_slot_deadline(slot, now + slot->ttl_ms * NS_PER_MS);
    histogram_add(&counters->acquire, t->queue_ns + t->load_ns + t->awake_ns + t->ready_ns);
    pool_acquire_finish(acquire, ACQUIRE_OK, slot);
    pool_schedule(slot->pool);
}

void pool_parked_taken(struct acquire *acquire)
{
    struct slot *slot = acquire->slot;

    if (!slot->pool->at_bell)
        return;
    slot->awake_ns = slot->begun_ns;
    slot->timings.queue_ns = slot->begun_ns - MIN_OF(acquire->asked_ns, slot->begun_ns);
    pool_lease_begin(slot, slot->begun_ns);
}

/* Starts the best VM there is for the first waiter. False: nothing can be done for it now. */
static bool serve_one(struct pool *pool, struct acquire *acquire)
{
    struct pool_env *env = pool->env;

    if (pool_parked_take(pool, acquire)) {
        pool_waiter_unlink(acquire);
        pool_parked_taken(acquire);
        return true;
    }
    if (env->demanded >= env->demand_max)
        return false;
    if (!list_empty(&pool->slots[SLOT_SHELL])) {
        pool_waiter_unlink(acquire);
        pool_shell_restore(list_entry(pool->slots[SLOT_SHELL].prev, struct slot, node), acquire);
        return true;
    }
    if (pool->state != POOL_READY || pool_live_count(pool) >= pool->max || !pool_room_has(pool))
        return false;
    pool_waiter_unlink(acquire);
    return pool_clone_start(pool, acquire, CLONE_PARKED);
}

void pool_serve(struct pool *pool)
{
    /* A VM that fails at once puts its acquire back to the head: bounded by its attempts. */
    while (!list_empty(&pool->waiters) &&
           serve_one(pool, list_entry(pool->waiters.next, struct acquire, node)))
        ;
}

/* Whether the first waiter of a is served before that of b (NULL: there is none). */
static bool goes_first(const struct pool *a, const struct pool *b, uint64_t now)
{
    if (!b)
        return true;
    uint64_t a_ns = list_entry(a->waiters.next, struct acquire, node)->asked_ns;
    uint64_t b_ns = list_entry(b->waiters.next, struct acquire, node)->asked_ns;
    bool a_is_late = a_ns + POOL_YIELD_NS <= now, b_is_late = b_ns + POOL_YIELD_NS <= now;

    if (a_is_late != b_is_late)
        return a_is_late;
    return a_is_late || a->priority == b->priority ? a_ns < b_ns : a->priority > b->priority;
}

static struct pool *first_waiting(const struct pool_env *env)
{
    const uint64_t now = env->ops->now(env->context);
    struct pool *found = NULL;

    LIST_FOR_EACH(at, env->pools)
    {
        struct pool *pool = list_entry(at, struct pool, node);

        if (!pool->passed_over && !list_empty(&pool->waiters) && goes_first(pool, found, now))
            found = pool;
    }
    return found;
}

void pool_serve_all(struct pool_env *env)
{
    struct pool *pool;

    while ((pool = first_waiting(env)))
        pool->passed_over = !serve_one(pool, list_entry(pool->waiters.next, struct acquire, node));
    LIST_FOR_EACH(at, env->pools)
    list_entry(at, struct pool, node)->passed_over = false;
}
