/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what happens to a slot when its VM is started, says something, fails or is gone; see pool.h.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool/pool_internal.h"

/* ---- Between answer and READY ---- */

/* Whether others' answers still come before what this VM's guest has left to do. */
static bool must_wait(const struct slot *slot, uint64_t now)
{
    return slot->pool->env->demanded > 0 && now - slot->awake_ns < POOL_HELD_NS_MAX;
}

static void ready_expect(struct slot *slot, enum slot_phase phase, uint64_t now)
{
    pool_slot_enter(slot, phase);
    pool_slot_deadline(slot, now + slot->pool->env->timeouts.ready_ns);
}

/* An acquire waits for an answer: whoever is past its own makes room. */
static void readying_pause(struct pool_env *env)
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

static void slot_resume(struct slot *slot)
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
            slot_resume(slot);
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
        ready_expect(slot, SLOT_PHASE_GOING, now);
        if (env->ops->go(env->context, slot) < 0)
            pool_slot_fail(slot, FAILURE_CRASHED, "its bell does not take a message");
    }
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
    slot->pool->lease_ends[why]++;
    slot->end = why;
    slot->end_detail = detail;
    pool_slot_stop(slot);
    slot->end_detail = "";
}

void pool_slot_fail(struct slot *slot, enum failure failure, const char *detail)
{
    struct pool *pool = slot->pool;
    struct acquire *acquire = slot->acquire;

    if (slot->trial) {
        pool_slot_stop(slot);
        return;
    }
    pool->counters.failures[failure]++;
    snprintf(pool->last_failure, sizeof pool->last_failure, "%s: %s", failure_name(failure),
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

/* The state of a slot whose WAKE(RESTORE) is on its way. */
static void restore_begin(struct slot *slot, struct acquire *acquire, uint64_t patience_ns)
{
    struct pool_env *env = slot->pool->env;

    slot->acquire = acquire;
    pool_slot_enter(slot, acquire ? SLOT_PHASE_DEMANDED : SLOT_PHASE_RESTORING);
    if (acquire) {
        acquire->slot = slot;
        readying_pause(env);
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

static void lease_begin(struct slot *slot, uint64_t now)
{
    struct acquire *acquire = slot->acquire;
    struct pool_counters *counters = &slot->pool->counters;
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

void pool_vm_hello(struct slot *slot, uint32_t layers, uint32_t landlock_abi)
{
    slot->layers = layers;
    slot->landlock_abi = landlock_abi;
    if (!(slot_rule(slot->phase)->expects & SLOT_SAYS_HELLO))
        return;
    backoff_success(&slot->pool->backoff);
    pool_slot_enter(slot, SLOT_PHASE_SHELL);
    pool_schedule(slot->pool);
}

static bool slot_expects(struct slot *slot, enum slot_word word, const char *what)
{
    char detail[96];

    if (slot->state == SLOT_STOPPING)
        return false;
    if (slot_rule(slot->phase)->expects & word)
        return true;
    snprintf(detail, sizeof detail, "the VM said %s while its slot was %s", what,
             slot_state_name(slot->state));
    pool_slot_fail(slot, FAILURE_PROTOCOL, detail);
    return false;
}

void pool_vm_awake(struct slot *slot, uint64_t run_ns)
{
    struct pool_counters *counters = &slot->pool->counters;
    struct timings *t = &slot->timings;

    if (!slot_expects(slot, SLOT_SAYS_AWAKE, "AWAKE"))
        return;
    uint64_t now = pool_now(slot->pool);
    uint64_t took_ns = now - slot->begun_ns;
    slot->awake_ns = now;
    if (slot->acquire)
        t->queue_ns = slot->begun_ns - MIN_OF(slot->acquire->asked_ns, slot->begun_ns);
    if (slot->phase == SLOT_PHASE_LEASING) {
        t->awake_ns = took_ns;
        histogram_add(&counters->awake, took_ns);
        lease_begin(slot, now);
        return;
    }
    t->awake_ns = MIN_OF(run_ns, took_ns);
    t->load_ns = took_ns - t->awake_ns;
    if (!slot->trial) {
        histogram_add(&counters->load, t->load_ns);
        histogram_add(&counters->awake, t->awake_ns);
    }
    if (slot->phase == SLOT_PHASE_RESTORING) {
        ready_expect(slot, SLOT_PHASE_SETTLING, now);
        return;
    }
    pool_slot_enter(slot, SLOT_PHASE_HELD);
    pool_slot_deadline(slot, 0);
    /* The next ones first: their answers are what this one waits for. */
    pool_serve_all(slot->pool->env);
    pool_held_release(slot->pool->env);
    pool_schedule(slot->pool);
}

void pool_vm_ready(struct slot *slot, uint32_t ready_status, const char *trouble)
{
    struct pool *pool = slot->pool;
    char detail[96 + CONTROL_DETAIL_BYTES];

    if (!slot_expects(slot, SLOT_SAYS_READY, "READY"))
        return;
    slot_resume(slot); /* its word was on the way when it was paused */
    if (ready_status) {
        snprintf(detail, sizeof detail, "the guest could not make itself unique: %s (status 0x%x)",
                 trouble && *trouble ? trouble : "it does not say why", ready_status);
        pool_slot_fail(slot, FAILURE_READY_STATUS, detail);
        return;
    }
    uint64_t now = pool_now(pool);
    if (slot->trial) {
        pool_slot_enter(slot, SLOT_PHASE_TRIAL);
        pool_slot_deadline(slot, now + pool->env->timeouts.trial_ns);
        pool->env->ops->trial(pool->env->context, slot);
        return;
    }
    slot->timings.ready_ns = now - slot->awake_ns;
    histogram_add(&pool->counters.ready, slot->timings.ready_ns);
    pool->counters.restores++;
    if (slot->acquire)
        lease_begin(slot, now);
    else
        pool_slot_enter(slot, SLOT_PHASE_PARKING);
    pool_held_release(pool->env);
}

void pool_vm_parked(struct slot *slot)
{
    if (!slot_expects(slot, SLOT_SAYS_PARKED, "PARKED"))
        return;
    backoff_success(&slot->pool->backoff);
    if (slot->proof)
        pool_proof_end(slot, true);
    slot->timings = (struct timings){ 0 };
    pool_slot_enter(slot, SLOT_PHASE_PARKED);
    if (slot->pool->waiting)
        pool_serve(slot->pool);
    pool_schedule(slot->pool);
}

bool pool_vm_streams(struct slot *slot, uint64_t open_count)
{
    if (slot->answers_due == 0)
        return slot->state == SLOT_STOPPING;
    slot->answers_due--;
    if (slot->asked && open_count == 0)
        pool_release(slot, LEASE_END_EXPIRED);
    else if (slot->asked)
        pool_renew(slot, slot->ttl_ms);
    return true;
}

void pool_vm_failed(struct slot *slot, enum failure failure, const char *detail)
{
    if (slot->state == SLOT_STOPPING)
        return;
    /* A guest may power itself off: that ends its lease and is nobody's failure. */
    if (slot->state == SLOT_LEASED && failure == FAILURE_POWEROFF) {
        pool_lease_end(slot, LEASE_END_GUEST_POWEROFF, "");
        return;
    }
    pool_slot_fail(slot, failure, detail);
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
