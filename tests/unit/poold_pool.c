/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a pool keeps the stock of VMs that it is told to, whatever these do: it refills, backs off,
 * shrinks, drains, and tries a VM out beside it. Method: the pool's logic over a fake clock and
 * fake VMs. */
#include <check.h>

#include "poold_fake.h"
#include "tap_main.h"

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
        pool_vm_ready(vm->slot, refill_failures[_i].ready_status, NULL);
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
    pool_release(acquire.slot, LEASE_END_RELEASED);
    fake_host_run(&host);
    ck_assert_uint_eq(COUNT(&host, SLOT_PARKED), 1);
    pool_trial_over(trial_vm()->slot, true);
    fake_host_run(&host);
    ck_assert_uint_eq(pool_vm_count(&host.pool), 1);
    ck_assert_uint_eq(host.pool.counters.restores, 2);
    ck_assert_uint_eq(host.pool.counters.load.count, 2);
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

int main(void)
{
    const TTest *const tests[] = {
        moves_are_those_of_the_diagram,       refill_keeps_min_and_shells,
        a_half_full_stock_waits_for_calm,     failing_refills_back_off,
        pools_shrink_after_a_burst,           a_lower_max_stops_unleased_vms_at_once,
        a_trial_costs_no_place_and_no_figure, a_trial_that_fails_is_tried_once_more,
        draining_spares_leases_only,
    };
    Suite *suite = suite_create("poold-pool");
    TCase *tcase = tap_case(suite, "pool");

    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    tcase_add_loop_test(tcase, refill_failures_are_counted, 0, (int)ARRAY_LEN(refill_failures));
    return tap_main(suite);
}
