/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a pool's state, and what is asked of it; see pool.h. */
#include "pool/pool.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "pool/pool_internal.h"

#define TRIAL_ATTEMPTS 2

static const char *const pool_state_names[] = {
    [POOL_BOOTING] = "booting",   [POOL_SNAPSHOTTING] = "snapshotting",
    [POOL_LOADING] = "loading",   [POOL_PROVING] = "proving",
    [POOL_READY] = "ready",       [POOL_FAILED] = "failed",
    [POOL_DRAINING] = "draining",
};
static_assert(ARRAY_LEN(pool_state_names) == POOL_STATE_COUNT, "every state has a name");

static const char *const result_names[] = {
    [ACQUIRE_OK] = "ok",
    [ACQUIRE_NO_VM_FREE] = "no_vm_free",
    [ACQUIRE_NO_ROOM] = "no_room",
    [ACQUIRE_NOT_READY] = "pool_not_ready",
    [ACQUIRE_DRAINING] = "pool_draining",
    [ACQUIRE_RESTORE_FAILED] = "restore_failed",
    [ACQUIRE_SHUTTING_DOWN] = "shutting_down",
};
static_assert(ARRAY_LEN(result_names) == ACQUIRE_RESULT_COUNT, "every result has a name");
static_assert(ACQUIRE_RESULT_COUNT <= ACQUIRE_RESULTS_MAX, "metrics have room");

const char *pool_state_name(enum pool_state state)
{
    return pool_state_names[state];
}

const char *acquire_result_name(enum acquire_result result)
{
    return result_names[result];
}

void pool_init(struct pool *pool, struct pool_env *env, const char *name)
{
    memset(pool, 0, sizeof *pool);
    list_init(&pool->node);
    list_init(&pool->waiters);
    for (unsigned i = 0; i < SLOT_STATE_COUNT; i++)
        list_init(&pool->slots[i]);
    pool->env = env;
    snprintf(pool->name, sizeof pool->name, "%s", name);
}

static enum acquire_result acquire_refusal(const struct pool *pool, const struct acquire *acquire)
{
    if (pool->env->stopping || pool->env->draining)
        return ACQUIRE_SHUTTING_DOWN;
    if (pool->state == POOL_DRAINING)
        return ACQUIRE_DRAINING;
    if (pool->state == POOL_FAILED)
        return ACQUIRE_NOT_READY;
    if (pool->state != POOL_READY && acquire->wait_ns == 0 && !pool->counts[SLOT_PARKED] &&
        !pool->counts[SLOT_SHELL])
        return ACQUIRE_NOT_READY;
    return ACQUIRE_OK;
}

/* A place under `max` is there for it: every VM that no one else has or waits for can serve it. */
static bool place_is_free(const struct pool *pool)
{
    uint32_t taken = pool->counts[SLOT_WAKING] + pool->counts[SLOT_LEASED] +
                     (pool->counts[SLOT_STOPPING] - pool->vacated) + pool_taken_before(pool);

    return taken + pool->waiting < pool->max && pool_room_comes(pool);
}

static void acquire_enqueue(struct pool *pool, struct acquire *acquire)
{
    uint64_t patience_ns = acquire->wait_ns;

    /* With a place free it waits for its own VM being made, not for others to release theirs, nor for
     * a pool that makes none yet. */
    if (pool->state == POOL_READY && place_is_free(pool))
        patience_ns = MAX_OF(patience_ns, pool_making_ns(pool));
    if (patience_ns == 0) {
        pool_acquire_finish(acquire, pool_shortage(pool), NULL);
        return;
    }
    pool_acquire_wait(acquire, acquire->asked_ns + patience_ns);
    pool_serve(pool);
    if (!pool_room_has(pool))
        pool_room_make(pool->env);
}

void pool_acquire(struct pool *pool, struct acquire *acquire)
{
    enum acquire_result refusal = acquire_refusal(pool, acquire);

    pool->env->acquired_ns = acquire->asked_ns;
    acquire->pool = pool;
    acquire->slot = NULL;
    acquire->attempts = 0;
    acquire->deadline_ns = 0;
    acquire->queued = false;
    list_init(&acquire->node);
    if (refusal != ACQUIRE_OK) {
        pool_acquire_finish(acquire, refusal, NULL);
        return;
    }
    if (list_empty(&pool->waiters) && pool_parked_take(pool, acquire)) {
        pool_parked_taken(acquire);
        return;
    }
    pool->counters.missed++;
    acquire_enqueue(pool, acquire);
}

void pool_acquire_cancel(struct acquire *acquire)
{
    struct slot *slot = acquire->slot;

    if (acquire->queued)
        pool_waiter_unlink(acquire);
    if (slot) {
        acquire->slot = NULL;
        slot->acquire = NULL;
        pool_slot_stop(slot);
    }
}

void pool_trial_want(struct pool *pool)
{
    pool->trials_left = TRIAL_ATTEMPTS;
    pool_schedule(pool);
}

void pool_trial_over(struct slot *slot, bool success)
{
    if (success)
        slot->pool->trials_left = 0;
    if (slot->state != SLOT_STOPPING)
        pool_slot_stop(slot);
}

void pool_renew(struct slot *slot, uint64_t ttl_ms)
{
    slot->ttl_ms = ttl_ms;
    slot->asked = false;
    pool_slot_deadline(slot, ttl_ms ? pool_now(slot->pool) + ttl_ms * NS_PER_MS : 0);
}

static void unleased_stop(struct pool *pool)
{
    pool_stop_down_to(pool, SLOT_PREPARING, 0);
    pool_stop_down_to(pool, SLOT_SHELL, 0);
    pool_stop_down_to(pool, SLOT_PARKED, 0);
}

static void waking_stop(struct pool *pool, enum acquire_result result)
{
    LIST_FOR_EACH(at, &pool->slots[SLOT_WAKING])
    {
        struct slot *slot = list_entry(at, struct slot, node);
        struct acquire *acquire = slot->acquire;

        slot->acquire = NULL;
        pool_slot_stop(slot);
        pool_acquire_finish(acquire, result, NULL);
    }
}

void pool_dismiss(struct pool *pool, enum acquire_result result)
{
    pool_waiters_dismiss(pool, result);
    waking_stop(pool, result);
}

void pool_stop_all(struct pool *pool, enum acquire_result result)
{
    pool_dismiss(pool, result);
    unleased_stop(pool);
    while (!list_empty(&pool->slots[SLOT_LEASED]))
        pool_release(list_entry(pool->slots[SLOT_LEASED].next, struct slot, node),
                     result == ACQUIRE_SHUTTING_DOWN ? LEASE_END_POOLD_STOPPED
                                                     : LEASE_END_POOL_DELETED);
}

void pool_set_state(struct pool *pool, enum pool_state state, const char *error)
{
    /* A drained pool stays so, whatever its processes do, until pool_undrain. */
    if (pool->state == POOL_DRAINING)
        return;
    pool->state = state;
    snprintf(pool->error, sizeof pool->error, "%s", error ? error : "");
    if (state == POOL_FAILED || state == POOL_DRAINING) {
        pool_waiters_dismiss(pool, state == POOL_FAILED ? ACQUIRE_NOT_READY : ACQUIRE_DRAINING);
        unleased_stop(pool);
    }
    if (state == POOL_READY)
        backoff_success(&pool->backoff);
    pool_schedule(pool);
}

void pool_undrain(struct pool *pool)
{
    pool->state = POOL_FAILED;
    pool->error[0] = '\0';
}

void pool_set_limits(struct pool *pool, uint32_t min, uint32_t max, uint32_t shells)
{
    pool->min = min;
    pool->max = max;
    pool->shells = shells;
    pool_schedule(pool);
}
