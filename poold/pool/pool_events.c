/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what happens to a slot when its VM says something, or its process does; see pool.h. */
#include <stdio.h>

#include "pool/pool_internal.h"

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
    struct pool_counters *counters = &pool_newest(slot->pool)->counters;
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
        pool_lease_begin(slot, now);
        return;
    }
    t->awake_ns = MIN_OF(run_ns, took_ns);
    t->load_ns = took_ns - t->awake_ns;
    if (!slot->trial) {
        histogram_add(&counters->load, t->load_ns);
        histogram_add(&counters->awake, t->awake_ns);
    }
    if (slot->phase == SLOT_PHASE_RESTORING) {
        pool_ready_expect(slot, SLOT_PHASE_SETTLING, now);
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
    pool_slot_resume(slot); /* its word was on the way when it was paused */
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
    histogram_add(&pool_newest(pool)->counters.ready, slot->timings.ready_ns);
    pool_newest(pool)->counters.restores++;
    if (slot->acquire)
        pool_lease_begin(slot, now);
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
