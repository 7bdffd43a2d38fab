/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: every VM goes to one acquire at most, acquires are served in order and end in time, and
 * what a VM or its template does wrong costs an acquire a VM, not an answer. Method: the pool's
 * logic over a fake clock and fake VMs. */
#include <check.h>
#include <stdlib.h>

#include "poold_fake.h"
#include "tap_main.h"

static struct fake_host host;

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
    pool_vm_ready(host.vms[0].slot, 0, NULL);
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
        pool_release(acquires[i].slot, LEASE_END_RELEASED);
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
    pool_release(holder.slot, LEASE_END_RELEASED);
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
        pool_release(acquire.slot, LEASE_END_RELEASED);
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
                pool_vm_ready(vm->slot, rand() % 4 == 0, NULL);
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
                pool_release(vm->slot, LEASE_END_RELEASED);
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
        best_tier_first,
        timings_are_disjoint_and_add_up,
        queue_is_fair_at_max,
        waiting_ends_in_time,
        cancelled_acquires_leave_nothing,
        leases_end_by_ttl_and_not_before,
        released_vms_are_never_reused,
        a_silent_parked_vm_is_replaced_for_its_acquire,
        an_acquire_gives_up_after_some_vms,
        a_template_that_takes_nothing_fails_acquires,
        a_bell_that_is_gone_costs_one_vm,
        a_pool_that_is_not_ready_queues_or_refuses,
        any_message_in_any_state_is_survived,
    };
    Suite *suite = suite_create("poold-acquires");
    TCase *tcase = tap_case(suite, "acquires");

    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    return tap_main(suite);
}
