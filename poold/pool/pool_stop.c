/* SPDX-License-Identifier: Apache-2.0 */
/* Owns how slots end, by a word or by a fault, and who goes on in their place: VMs that others' answers
 * have held or paused between their own answer and READY; see pool.h. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "pool/pool_internal.h"

/* ---- Between answer and READY ---- */

/* Whether others' answers still come before what this VM's guest has left to do. */
static bool must_wait(const struct slot *slot, uint64_t now)
{
    return slot->pool->env->demanded > 0 && now - slot->awake_ns < POOL_HELD_NS_MAX;
}

void pool_ready_expect(struct slot *slot, enum slot_phase phase, uint64_t now)
{
    pool_slot_enter(slot, phase);
    pool_slot_deadline(slot, now + slot->pool->env->timeouts.ready_ns);
}

/* An acquire waits for an answer: whoever is past its own makes room. */
void pool_readying_pause(struct pool_env *env)
{
    LIST_FOR_EACH(at, &env->readying)
    {
        struct slot *slot = list_entry(at, struct slot, ready_node);

        if (slot->paused || !must_wait(slot, pool_now(slot->pool)))
            continue;
        slot->paused = env->ops->pause(env->context, slot) == 0;
        env->ops->arm(env->context, slot->awake_ns + POOL_HELD_NS_MAX);
    }
}

void pool_slot_resume(struct slot *slot)
{
    if (slot->paused)
        slot->pool->env->ops->resume(slot->pool->env->context, slot);
    slot->paused = false;
}

static void readying_resume(struct pool_env *env)
{
    LIST_FOR_EACH(at, &env->readying)
    {
        struct slot *slot = list_entry(at, struct slot, ready_node);

        if (!slot->paused)
            continue;
        if (must_wait(slot, pool_now(slot->pool)))
            env->ops->arm(env->context, slot->awake_ns + POOL_HELD_NS_MAX);
        else
            pool_slot_resume(slot);
    }
}

void pool_held_release(struct pool_env *env)
{
    readying_resume(env);
    while (!list_empty(&env->held) && env->going < env->going_max) {
        struct slot *slot = list_entry(env->held.next, struct slot, ready_node);
        uint64_t now = pool_now(slot->pool);

        if (must_wait(slot, now)) {
            env->ops->arm(env->context, slot->awake_ns + POOL_HELD_NS_MAX);
            return;
        }
        pool_ready_expect(slot, SLOT_PHASE_GOING, now);
        env->ops->go(env->context, slot, list_empty(&env->held) ? 0 : POOL_REST_MS);
    }
}

/* ---- The ends ---- */

void pool_proof_end(struct slot *slot, bool parked)
{
    struct pool *pool = slot->pool;

    slot->proof = false;
    pool->proof = NULL;
    pool->proven |= parked;
    pool->proof_failures += !parked;
    pool_schedule(pool);
}

void pool_slot_stop(struct slot *slot)
{
    bool leased = slot->state == SLOT_LEASED;

    assert(!slot->acquire);
    if (slot->proof)
        pool_proof_end(slot, false);
    pool_slot_kill(slot, leased);
    if (slot->trial)
        slot->pool->trial = NULL; /* its place is free from here on: not by way of the queue */
    pool_held_release(slot->pool->env);
    pool_schedule(slot->pool);
}

void pool_lease_end(struct slot *slot, enum lease_end why, const char *detail)
{
    pool_newest(slot->pool)->lease_ends[why]++;
    slot->end = why;
    slot->end_detail = detail;
    pool_slot_stop(slot);
    slot->end_detail = "";
}

void pool_slot_fail(struct slot *slot, enum failure failure, const char *detail)
{
    struct pool *pool = slot->pool, *newest = pool_newest(pool);
    struct acquire *acquire = slot->acquire;

    if (slot->trial) {
        pool_slot_stop(slot);
        return;
    }
    newest->counters.failures[failure]++;
    snprintf(newest->last_failure, sizeof newest->last_failure, "%s: %s", failure_name(failure),
             detail);
    if (slot->state == SLOT_PREPARING) {
        backoff_failure(&pool->backoff, pool_now(pool));
        pool->env->ops->arm(pool->env->context, pool->backoff.until_ns);
    }
    slot->acquire = NULL;
    if (slot->state == SLOT_LEASED)
        pool_lease_end(slot, lease_end_of(failure), detail);
    else
        pool_slot_stop(slot);
    if (!acquire)
        return;
    acquire->slot = NULL;
    if (++acquire->attempts >= ACQUIRE_ATTEMPTS) {
        pool_acquire_finish(acquire, ACQUIRE_RESTORE_FAILED, NULL);
        return;
    }
    pool_acquire_retry(acquire);
}

void pool_vm_gone(struct slot *slot)
{
    struct pool *pool = slot->pool;
    struct pool_env *env = pool->env;

    if (slot->state != SLOT_STOPPING)
        pool_slot_fail(slot, FAILURE_CRASHED, "its process ended without a word");
    list_remove(&slot->kill_node);
    pool_slot_enter(slot, SLOT_PHASE_DEAD);
    env->ops->forget(env->context, slot);
    free(slot);
    pool_kill_queue(env);
    pool_schedule(pool);
}

void pool_release(struct slot *slot, enum lease_end why)
{
    if (slot->state == SLOT_LEASED)
        pool_lease_end(slot, why, "");
}

void pool_stop_down_to(struct pool *pool, enum slot_state state, uint32_t keep)
{
    while (pool->counts[state] > keep)
        pool_slot_stop(list_entry(pool->slots[state].next, struct slot, node));
}
