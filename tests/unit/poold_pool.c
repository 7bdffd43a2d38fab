/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a pool gives every VM to one acquire at most, serves in order, refills, shrinks and backs
 * off as its rules say, whatever its VMs do. Method: the pool's logic over a fake clock and fake
 * VMs. */
#include <check.h>
#include <stdlib.h>

#include "poold_fake.h"
#include "tap_main.h"

#define COUNT(host, state) ((host)->pool.counts[state])

static struct fake_host host;

START_TEST(moves_are_those_of_the_diagram)
{
    static const struct {
        enum slot_state from, to;
    } allowed[] = {
        { SLOT_PREPARING, SLOT_SHELL },  { SLOT_PREPARING, SLOT_PARKED },
        { SLOT_PREPARING, SLOT_WAKING }, { SLOT_PREPARING, SLOT_STOPPING },
        { SLOT_SHELL, SLOT_PREPARING },  { SLOT_SHELL, SLOT_WAKING },
        { SLOT_SHELL, SLOT_STOPPING },   { SLOT_PARKED, SLOT_WAKING },
        { SLOT_PARKED, SLOT_STOPPING },  { SLOT_WAKING, SLOT_LEASED },
        { SLOT_WAKING, SLOT_STOPPING },  { SLOT_LEASED, SLOT_STOPPING },
        { SLOT_STOPPING, SLOT_DEAD },
    };

    for (unsigned from = 0; from < SLOT_STATE_COUNT; from++) {
        for (unsigned to = 0; to < SLOT_STATE_COUNT; to++) {
            bool expected = false;

            for (unsigned i = 0; i < ARRAY_LEN(allowed); i++)
                expected |= allowed[i].from == from && allowed[i].to == to;
            ck_assert_msg(slot_may_move((enum slot_state)from, (enum slot_state)to) == expected,
                          "%s to %s", slot_state_name((enum slot_state)from),
                          slot_state_name((enum slot_state)to));
        }
    }
}
END_TEST

START_TEST(refill_keeps_min_and_shells)
{
    fake_host_init(&host, 3, 10, 2);
    ck_assert_uint_le(host.env.refilling, host.env.refill_max);
    fake_host_run(&host);
    ck_assert_uint_eq(COUNT(&host, SLOT_PARKED), 3);
    ck_assert_uint_eq(COUNT(&host, SLOT_SHELL), 2);
    ck_assert_uint_eq(host.pool.counters.restores, 3);
    fake_host_fini(&host);
}
END_TEST

START_TEST(a_half_full_stock_waits_for_calm)
{
    struct fake_acquire acquires[3];

    fake_host_init(&host, 4, 10, 0);
    fake_host_run(&host);
    host.now_ns += NS_PER_S;
    for (unsigned i = 0; i < 2; i++) {
        fake_acquire_start(&host, &acquires[i], 0);
        fake_host_settle(&host);
        pool_vm_awake(acquires[i].acquire.slot, 0);
        fake_host_settle(&host);
    }
    ck_assert_uint_eq(COUNT(&host, SLOT_PARKED), 2);
    ck_assert_uint_eq(host.env.refilling, 0);
    fake_host_pass(&host, 5 * NS_PER_MS);
    ck_assert_uint_eq(host.env.refilling, 0);
    fake_host_pass(&host, 6 * NS_PER_MS);
    ck_assert_uint_gt(host.env.refilling, 0);
    fake_host_run(&host);
    ck_assert_uint_eq(COUNT(&host, SLOT_PARKED), 4);
    /* Below the half nothing waits. */
    for (unsigned i = 0; i < 3; i++) {
        fake_acquire_start(&host, &acquires[i], 0);
        pool_vm_awake(acquires[i].acquire.slot, 0);
    }
    fake_host_settle(&host);
    ck_assert_uint_gt(host.env.refilling, 0);
    fake_host_run(&host);
    fake_host_fini(&host);
}
END_TEST

START_TEST(best_tier_first)
{
    static const enum tier tiers[] = { TIER_PARKED, TIER_SHELL, TIER_COLD };
    struct fake_acquire acquires[3];

    fake_host_init(&host, 1, 10, 1);
    fake_host_run(&host);
    /* The first is not answered yet: nothing is refilled meanwhile. */
    for (unsigned i = 0; i < 3; i++)
        fake_acquire_start(&host, &acquires[i], 0);
    fake_host_settle(&host);
    ck_assert_uint_eq(host.env.refilling, 0);
    fake_host_run(&host);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(acquires[i].done && acquires[i].result == ACQUIRE_OK);
        ck_assert_uint_eq(acquires[i].slot->tier, tiers[i]);
        for (unsigned j = 0; j < i; j++)
            ck_assert_ptr_ne(acquires[i].slot, acquires[j].slot);
    }
    ck_assert_uint_eq(host.pool.counters.missed, 2);
    ck_assert_uint_eq(COUNT(&host, SLOT_PARKED), 1);
    ck_assert_uint_eq(COUNT(&host, SLOT_SHELL), 1);
    fake_host_fini(&host);
}
END_TEST

START_TEST(timings_are_disjoint_and_add_up)
{
    struct fake_acquire acquire;
    struct timings *t;
    uint64_t began;

    fake_host_init(&host, 0, 10, 0);
    fake_host_run(&host);
    began = host.now_ns;
    fake_acquire_start(&host, &acquire, 0);
    host.now_ns += 1000;
    pool_vm_awake(host.vms[0].slot, 300);
    host.now_ns += 50;
    pool_vm_ready(host.vms[0].slot, 0);
    ck_assert(acquire.done);
    t = &acquire.slot->timings;
    ck_assert_uint_eq(t->queue_ns, 0);
    ck_assert_uint_eq(t->load_ns, 700);
    ck_assert_uint_eq(t->awake_ns, 300);
    ck_assert_uint_eq(t->ready_ns, 50);
    ck_assert_uint_eq(t->queue_ns + t->load_ns + t->awake_ns + t->ready_ns, host.now_ns - began);
    host.vms[0].woken = false;
    fake_host_fini(&host);
}
END_TEST

START_TEST(queue_is_fair_at_max)
{
    struct fake_acquire acquires[8];

    fake_host_init(&host, 0, 3, 0);
    for (unsigned i = 0; i < 8; i++)
        fake_acquire_start(&host, &acquires[i], 60000);
    fake_host_run(&host);
    for (unsigned i = 0; i < 8; i++) {
        ck_assert_msg(acquires[i].done == (i < 3), "acquire %u", i);
        ck_assert_uint_le(pool_live_count(&host.pool), 3);
    }
    /* Each release serves exactly the next one. */
    for (unsigned i = 0; i < 5; i++) {
        pool_release(acquires[i].slot);
        fake_host_run(&host);
        ck_assert(acquires[i + 3].done && acquires[i + 3].result == ACQUIRE_OK);
        ck_assert(i + 4 >= 8 || !acquires[i + 4].done);
        ck_assert_uint_gt(acquires[i + 3].order, acquires[i + 2].order);
    }
    fake_host_fini(&host);
}
END_TEST

START_TEST(waiting_ends_in_time)
{
    struct fake_acquire holder, at_once, patient;

    fake_host_init(&host, 0, 1, 0);
    fake_acquire_start(&host, &holder, 0);
    fake_host_run(&host);
    ck_assert(holder.done && holder.result == ACQUIRE_OK);
    fake_acquire_start(&host, &at_once, 0);
    ck_assert(at_once.done && at_once.result == ACQUIRE_NO_VM_FREE);
    fake_acquire_start(&host, &patient, 500);
    fake_host_pass(&host, 499 * NS_PER_MS);
    ck_assert(!patient.done);
    fake_host_pass(&host, 2 * NS_PER_MS);
    ck_assert(patient.done && patient.result == ACQUIRE_NO_VM_FREE);
    ck_assert_uint_eq(host.pool.waiting, 0);
    fake_host_fini(&host);
}
END_TEST

START_TEST(cancelled_acquires_leave_nothing)
{
    struct fake_acquire holder, queued, waking;

    fake_host_init(&host, 1, 2, 0);
    fake_host_run(&host);
    fake_acquire_start(&host, &waking, 0);
    ck_assert_ptr_nonnull(waking.acquire.slot);
    pool_acquire_cancel(&waking.acquire);
    fake_host_run(&host);
    ck_assert(!waking.done);
    ck_assert_uint_eq(COUNT(&host, SLOT_LEASED), 0);
    fake_acquire_start(&host, &holder, 0);
    fake_host_run(&host);
    pool_set_limits(&host.pool, 0, 1, 0);
    fake_host_run(&host);
    fake_acquire_start(&host, &queued, 1000);
    pool_acquire_cancel(&queued.acquire);
    ck_assert_uint_eq(host.pool.waiting, 0);
    pool_release(holder.slot);
    fake_host_run(&host);
    ck_assert(!queued.done);
    fake_host_fini(&host);
}
END_TEST

START_TEST(leases_end_by_ttl_and_not_before)
{
    struct fake_acquire acquire;

    fake_host_init(&host, 0, 4, 0);
    fake_acquire_start(&host, &acquire, 0);
    fake_host_run(&host);
    fake_host_pass(&host, 59 * NS_PER_S);
    ck_assert_uint_eq(COUNT(&host, SLOT_LEASED), 1);
    pool_renew(acquire.slot, 100000);
    fake_host_pass(&host, 99 * NS_PER_S);
    ck_assert_uint_eq(COUNT(&host, SLOT_LEASED), 1);
    fake_host_pass(&host, 2 * NS_PER_S);
    ck_assert_uint_eq(COUNT(&host, SLOT_LEASED), 0);
    fake_host_fini(&host);
}
END_TEST

START_TEST(released_vms_are_never_reused)
{
    struct fake_acquire acquire;

    fake_host_init(&host, 2, 4, 0);
    fake_host_run(&host);
    for (unsigned i = 0; i < 50; i++) {
        fake_acquire_start(&host, &acquire, 0);
        fake_host_run(&host);
        ck_assert(acquire.done && acquire.result == ACQUIRE_OK);
        pool_release(acquire.slot);
        fake_host_run(&host);
    }
    /* 50 leases and the two that are parked now: 52 VMs were made. */
    ck_assert_uint_eq(host.vm_count, 52);
    fake_host_fini(&host);
}
END_TEST

START_TEST(a_silent_parked_vm_is_replaced_for_its_acquire)
{
    struct fake_acquire acquire;

    fake_host_init(&host, 1, 4, 0);
    fake_host_run(&host);
    fake_acquire_start(&host, &acquire, 0);
    ck_assert_uint_eq(acquire.acquire.slot->tier, TIER_PARKED);
    host.vms[0].woken = false; /* it says nothing */
    fake_host_pass(&host, 2 * NS_PER_S + 1);
    ck_assert_uint_eq(host.pool.counters.failures[FAILURE_AWAKE_TIMEOUT], 1);
    fake_host_run(&host);
    ck_assert(acquire.done && acquire.result == ACQUIRE_OK);
    ck_assert_ptr_ne(acquire.slot->vm, &host.vms[0]);
    fake_host_fini(&host);
}
END_TEST

/* What goes wrong at each phase of a refill, and how it is counted. */
static const struct {
    enum failure failure;
    bool says_hello, says_awake, says_ready;
    uint32_t ready_status;
} refill_failures[] = {
    { FAILURE_AWAKE_TIMEOUT, true, false, false, 0 },
    { FAILURE_READY_TIMEOUT, true, true, false, 0 },
    { FAILURE_READY_TIMEOUT, true, true, true, 0 },
    { FAILURE_READY_STATUS, true, true, true, DOORBELL_READY_FAILED_CLOCK },
};

START_TEST(refill_failures_are_counted)
{
    fake_host_init(&host, 1, 4, 0);
    struct fake_vm *vm = &host.vms[0];

    vm->woken = false;
    if (refill_failures[_i].says_hello)
        pool_vm_hello(vm->slot, 0, 0);
    if (refill_failures[_i].says_awake)
        pool_vm_awake(vm->slot, 0);
    if (refill_failures[_i].says_ready)
        pool_vm_ready(vm->slot, refill_failures[_i].ready_status);
    fake_host_pass(&host, 20 * NS_PER_S);
    ck_assert_uint_ge(host.pool.counters.failures[refill_failures[_i].failure], 1);
    ck_assert(vm->killed);
    fake_host_run(&host);
    fake_host_fini(&host);
}
END_TEST

START_TEST(failing_refills_back_off)
{
    unsigned tried;

    fake_host_init(&host, 1, 4, 0);
    for (unsigned i = 0; i < 600; i++) {
        for (unsigned v = 0; v < FAKE_VMS_MAX; v++) {
            if (host.vms[v].slot && !host.vms[v].killed)
                pool_vm_failed(host.vms[v].slot, FAILURE_CRASHED, "crash");
            if (host.vms[v].slot)
                pool_vm_gone(host.vms[v].slot);
        }
        fake_host_settle(&host);
        fake_host_pass(&host, 100 * NS_PER_MS);
    }
    tried = host.vm_count;
    /* 60 s: 0.1 0.2 0.4 ... 25.6 s apart, and the first. */
    ck_assert_uint_ge(tried, 8);
    ck_assert_uint_le(tried, 12);
    /* It is forgotten once one succeeds. */
    for (unsigned i = 0; i < 31 && host.vm_count == tried; i++)
        fake_host_pass(&host, NS_PER_S);
    fake_host_run(&host);
    ck_assert_uint_eq(COUNT(&host, SLOT_PARKED), 1);
    ck_assert_uint_eq(host.pool.backoff.failures, 0);
    fake_host_fini(&host);
}
END_TEST

START_TEST(an_acquire_gives_up_after_some_vms)
{
    struct fake_acquire acquire;

    fake_host_init(&host, 0, 4, 0);
    fake_acquire_start(&host, &acquire, 0);
    for (unsigned i = 0; i < ACQUIRE_ATTEMPTS; i++) {
        ck_assert(!acquire.done);
        pool_vm_failed(host.vms[i].slot, FAILURE_TRIPLE_FAULT, "it fell over");
        fake_host_settle(&host);
    }
    ck_assert(acquire.done && acquire.result == ACQUIRE_RESTORE_FAILED);
    ck_assert_uint_eq(host.pool.counters.failures[FAILURE_TRIPLE_FAULT], ACQUIRE_ATTEMPTS);
    fake_host_fini(&host);
}
END_TEST

START_TEST(a_template_that_takes_nothing_fails_acquires)
{
    struct fake_acquire acquire;

    fake_host_init(&host, 0, 4, 0);
    host.clone_fails = true;
    fake_acquire_start(&host, &acquire, 0);
    fake_host_settle(&host);
    fake_host_pass(&host, NS_PER_S);
    ck_assert(acquire.done && acquire.result == ACQUIRE_RESTORE_FAILED);
    ck_assert_uint_eq(pool_vm_count(&host.pool), 0);
    ck_assert_uint_eq(host.env.dying, 0);
    fake_host_fini(&host);
}
END_TEST

START_TEST(a_bell_that_is_gone_costs_one_vm)
{
    struct fake_acquire acquire;

    fake_host_init(&host, 2, 4, 1);
    fake_host_run(&host);
    host.wake_fails = true;
    fake_acquire_start(&host, &acquire, 0);
    host.wake_fails = false;
    fake_host_run(&host);
    ck_assert(acquire.done && acquire.result == ACQUIRE_OK);
    ck_assert_uint_eq(host.pool.counters.failures[FAILURE_CRASHED], 3);
    fake_host_fini(&host);
}
END_TEST

START_TEST(pools_shrink_after_a_burst)
{
    fake_host_init(&host, 8, 16, 2);
    fake_host_run(&host);
    pool_set_limits(&host.pool, 2, 16, 0);
    fake_host_settle(&host);
    fake_host_pass(&host, 9 * NS_PER_S);
    ck_assert_uint_eq(COUNT(&host, SLOT_PARKED), 8);
    fake_host_pass(&host, 2 * NS_PER_S);
    fake_host_run(&host);
    ck_assert_uint_eq(COUNT(&host, SLOT_PARKED), 2);
    ck_assert_uint_eq(COUNT(&host, SLOT_SHELL), 0);
    /* And then nothing ticks any more. */
    fake_host_pass(&host, 60 * NS_PER_S);
    ck_assert_uint_eq(host.armed_ns, UINT64_MAX);
    fake_host_fini(&host);
}
END_TEST

START_TEST(a_lower_max_stops_unleased_vms_at_once)
{
    struct fake_acquire acquires[2];

    fake_host_init(&host, 4, 8, 2);
    fake_host_run(&host);
    fake_acquire_start(&host, &acquires[0], 0);
    fake_acquire_start(&host, &acquires[1], 0);
    fake_host_run(&host);
    pool_set_limits(&host.pool, 1, 3, 0);
    fake_host_run(&host);
    ck_assert_uint_eq(COUNT(&host, SLOT_LEASED), 2);
    ck_assert_uint_eq(COUNT(&host, SLOT_PARKED), 1);
    ck_assert_uint_eq(pool_vm_count(&host.pool), 3);
    fake_host_fini(&host);
}
END_TEST

START_TEST(few_vms_die_at_a_time)
{
    struct fake_acquire acquires[12];
    unsigned killed = 0;

    fake_host_init(&host, 0, 12, 0);
    for (unsigned i = 0; i < 12; i++)
        fake_acquire_start(&host, &acquires[i], 0);
    fake_host_run(&host);
    for (unsigned i = 0; i < 12; i++)
        pool_release(acquires[i].slot);
    for (unsigned i = 0; i < FAKE_VMS_MAX; i++)
        killed += host.vms[i].slot && host.vms[i].killed;
    ck_assert_uint_eq(killed, host.env.dying_max);
    ck_assert_uint_eq(pool_live_count(&host.pool), 12 - host.env.dying_max);
    fake_host_run(&host);
    ck_assert_uint_eq(pool_vm_count(&host.pool), 0);
    fake_host_fini(&host);
}
END_TEST

/* The one trial VM of the pool; NULL when there is none READY. */
static struct fake_vm *trial_vm(void)
{
    for (unsigned i = 0; i < FAKE_VMS_MAX; i++) {
        if (host.vms[i].slot && host.vms[i].on_trial && !host.vms[i].killed)
            return &host.vms[i];
    }
    return NULL;
}

START_TEST(a_trial_costs_no_place_and_no_figure)
{
    struct fake_acquire acquire;

    fake_host_init(&host, 1, 1, 0);
    pool_trial_want(&host.pool);
    fake_host_settle(&host);
    ck_assert_msg(!host.pool.trial, "it comes after the refill");
    fake_host_run(&host);
    ck_assert_ptr_nonnull(trial_vm());
    ck_assert_uint_eq(COUNT(&host, SLOT_PARKED), 1);
    ck_assert_uint_eq(pool_live_count(&host.pool), 1);
    ck_assert_uint_eq(host.env.refilling, 0);
    /* With max 1, an acquire and the refill after its release find their place. */
    fake_acquire_start(&host, &acquire, 0);
    fake_host_run(&host);
    ck_assert(acquire.done && acquire.result == ACQUIRE_OK);
    ck_assert_uint_eq(acquire.slot->tier, TIER_PARKED);
    pool_release(acquire.slot);
    fake_host_run(&host);
    ck_assert_uint_eq(COUNT(&host, SLOT_PARKED), 1);
    pool_trial_over(trial_vm()->slot, true);
    fake_host_run(&host);
    ck_assert_uint_eq(pool_vm_count(&host.pool), 1);
    ck_assert_uint_eq(host.pool.counters.restores, 2);
    ck_assert_uint_eq(host.metrics.load.count, 2);
    ck_assert_uint_eq(host.pool.trials_left, 0);
    fake_host_fini(&host);
}
END_TEST

START_TEST(a_trial_that_fails_is_tried_once_more)
{
    fake_host_init(&host, 0, 2, 0);
    pool_trial_want(&host.pool);
    fake_host_settle(&host);
    ck_assert_ptr_nonnull(host.pool.trial);
    pool_vm_failed(host.pool.trial, FAILURE_CRASHED, "test");
    ck_assert_ptr_null(host.pool.trial);
    fake_host_run(&host);
    ck_assert_ptr_nonnull(trial_vm());
    fake_host_pass(&host, host.env.timeouts.trial_ns);
    ck_assert_msg(!trial_vm(), "its patience has an end");
    fake_host_run(&host);
    ck_assert_ptr_null(host.pool.trial);
    ck_assert_uint_eq(pool_vm_count(&host.pool), 0);
    ck_assert_uint_eq(host.pool.counters.failures[FAILURE_CRASHED], 0);
    ck_assert_msg(!backoff_active(&host.pool.backoff, host.now_ns),
                  "it does not hold up the refill");
    fake_host_fini(&host);
}
END_TEST

START_TEST(draining_spares_leases_only)
{
    struct fake_acquire leased, refused;

    fake_host_init(&host, 2, 8, 1);
    fake_host_run(&host);
    fake_acquire_start(&host, &leased, 0);
    fake_host_run(&host);
    pool_set_state(&host.pool, POOL_DRAINING, NULL);
    fake_host_run(&host);
    ck_assert_uint_eq(pool_vm_count(&host.pool), 1);
    fake_acquire_start(&host, &refused, 1000);
    ck_assert(refused.done && refused.result == ACQUIRE_DRAINING);
    pool_set_state(&host.pool, POOL_READY, NULL);
    ck_assert_uint_eq(host.pool.state, POOL_DRAINING);
    fake_host_fini(&host);
}
END_TEST

START_TEST(a_pool_that_is_not_ready_queues_or_refuses)
{
    struct fake_acquire at_once, patient;

    fake_host_init(&host, 0, 4, 0);
    pool_set_state(&host.pool, POOL_LOADING, NULL);
    fake_acquire_start(&host, &at_once, 0);
    ck_assert(at_once.done && at_once.result == ACQUIRE_NOT_READY);
    fake_acquire_start(&host, &patient, 30000);
    fake_host_run(&host);
    ck_assert(!patient.done);
    pool_set_state(&host.pool, POOL_READY, NULL);
    fake_host_run(&host);
    ck_assert(patient.done && patient.result == ACQUIRE_OK);
    pool_set_state(&host.pool, POOL_FAILED, "broken");
    fake_acquire_start(&host, &at_once, 30000);
    ck_assert(at_once.done && at_once.result == ACQUIRE_NOT_READY);
    fake_host_fini(&host);
}
END_TEST

START_TEST(any_message_in_any_state_is_survived)
{
    /* A VM that says random things: it may be stopped for it, nothing else may happen. */
    struct fake_acquire acquires[400];
    unsigned count = 0;

    srand(7);
    fake_host_init(&host, 3, 12, 2);
    for (unsigned round = 0; round < 20000; round++) {
        struct fake_vm *vm = &host.vms[(unsigned)rand() % 24];

        switch (rand() % 9) {
        case 0:
            if (count < 400)
                fake_acquire_start(&host, &acquires[count++], (uint64_t)(rand() % 3) * 1000);
            break;
        case 1:
            fake_host_pass(&host, (uint64_t)(rand() % 500) * NS_PER_MS);
            break;
        case 2:
            if (vm->slot)
                pool_vm_hello(vm->slot, 0, 0);
            break;
        case 3:
            if (vm->slot)
                pool_vm_awake(vm->slot, (uint64_t)rand());
            break;
        case 4:
            if (vm->slot)
                pool_vm_ready(vm->slot, rand() % 4 == 0);
            break;
        case 5:
            if (vm->slot)
                pool_vm_parked(vm->slot);
            break;
        case 6:
            if (vm->slot && rand() % 4 == 0)
                pool_vm_gone(vm->slot);
            break;
        case 7:
            if (vm->slot && rand() % 4 == 0)
                pool_vm_failed(vm->slot, FAILURE_POWEROFF, "off");
            break;
        default:
            if (vm->slot && rand() % 4 == 0)
                pool_release(vm->slot);
            break;
        }
        fake_host_settle(&host);
        ck_assert_uint_le(pool_live_count(&host.pool), 12);
        if (round % 500 == 499)
            fake_host_run(&host);
    }
    fake_host_fini(&host);
    for (unsigned i = 0; i < count; i++)
        ck_assert_msg(acquires[i].done, "acquire %u was forgotten", i);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        moves_are_those_of_the_diagram,
        refill_keeps_min_and_shells,
        a_half_full_stock_waits_for_calm,
        best_tier_first,
        timings_are_disjoint_and_add_up,
        queue_is_fair_at_max,
        waiting_ends_in_time,
        cancelled_acquires_leave_nothing,
        leases_end_by_ttl_and_not_before,
        released_vms_are_never_reused,
        a_silent_parked_vm_is_replaced_for_its_acquire,
        failing_refills_back_off,
        an_acquire_gives_up_after_some_vms,
        a_template_that_takes_nothing_fails_acquires,
        a_bell_that_is_gone_costs_one_vm,
        pools_shrink_after_a_burst,
        a_lower_max_stops_unleased_vms_at_once,
        few_vms_die_at_a_time,
        a_trial_costs_no_place_and_no_figure,
        a_trial_that_fails_is_tried_once_more,
        draining_spares_leases_only,
        a_pool_that_is_not_ready_queues_or_refuses,
        any_message_in_any_state_is_survived,
    };
    Suite *suite = suite_create("poold-pool");
    TCase *tcase = tcase_create("pool");

    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    tcase_add_loop_test(tcase, refill_failures_are_counted, 0, (int)ARRAY_LEN(refill_failures));
    suite_add_tcase(suite, tcase);
    return tap_main(suite);
}
