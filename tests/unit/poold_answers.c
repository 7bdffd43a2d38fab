/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: answers come first. What a guest has left to do after its own waits while others' answers
 * are waited for, but never for long, and nobody is left behind. Method: the pool's logic over a
 * fake clock and fake VMs. */
#include <check.h>

#include "poold_fake.h"
#include "tap_main.h"

#define ACQUIRES 4u

static struct fake_host host;
static struct fake_acquire acquires[ACQUIRES];

static void acquire_start(unsigned index)
{
    fake_acquire_start(&host, &acquires[index], 0);
    fake_host_settle(&host);
}

static struct slot *slot_of(unsigned index)
{
    ck_assert_ptr_nonnull(acquires[index].acquire.slot);
    return acquires[index].acquire.slot;
}

static const struct fake_vm *vm_of(unsigned index)
{
    return slot_of(index)->vm;
}

/* A pool that keeps nothing, with an acquire whose VM is on its way to READY. */
static void begin(void)
{
    fake_host_init(&host, 0, ACQUIRES, 0);
    acquire_start(0);
    pool_vm_awake(slot_of(0), 100);
    ck_assert_uint_eq(host.gone_on, 1);
    ck_assert(!vm_of(0)->paused);
}

static void end(void)
{
    fake_host_fini(&host);
    ck_assert(list_empty(&host.env.held));
    ck_assert(list_empty(&host.env.readying));
    ck_assert_uint_eq(host.env.going, 0);
}

START_TEST(nobody_goes_on_before_all_have_answered)
{
    fake_host_init(&host, 0, ACQUIRES, 0);
    for (unsigned i = 0; i < ACQUIRES; i++)
        acquire_start(i);
    for (unsigned i = 0; i < ACQUIRES; i++) {
        ck_assert_uint_eq(vm_of(i)->flags, DOORBELL_FLAG_HOLD);
        ck_assert_uint_eq(host.gone_on, 0);
        pool_vm_awake(slot_of(i), 100);
    }
    ck_assert_uint_eq(host.gone_on, host.env.going_max);
    pool_vm_ready(slot_of(1), 0, NULL);
    ck_assert(acquires[1].done);
    ck_assert_uint_eq(host.gone_on, host.env.going_max + 1);
    end();
}
END_TEST

START_TEST(who_others_are_held_behind_rests_after_ready)
{
    fake_host_init(&host, 0, ACQUIRES, 0);
    for (unsigned i = 0; i < ACQUIRES; i++)
        acquire_start(i);
    for (unsigned i = 0; i < ACQUIRES; i++)
        pool_vm_awake(slot_of(i), 100);
    for (unsigned ready = 0; host.gone_on < ACQUIRES; ready++) {
        ck_assert_uint_eq(host.rest_ms, POOL_REST_MS);
        pool_vm_ready(slot_of(ready), 0, NULL);
    }
    ck_assert_uint_eq(host.rest_ms, 0); /* the last one's */
    end();
}
END_TEST

START_TEST(an_acquire_pauses_who_has_answered)
{
    begin();
    acquire_start(1);
    ck_assert(vm_of(0)->paused);
    acquire_start(2);
    pool_vm_awake(slot_of(1), 100);
    ck_assert_msg(vm_of(0)->paused, "the third acquire still waits");
    ck_assert_uint_eq(host.gone_on, 1);
    pool_vm_awake(slot_of(2), 100);
    ck_assert(!vm_of(0)->paused);
    ck_assert_uint_eq(host.gone_on, host.env.going_max);
    end();
}
END_TEST

START_TEST(refills_are_paused_too)
{
    struct slot *refill;

    fake_host_init(&host, 1, ACQUIRES, 0);
    ck_assert_uint_eq(COUNT(&host, SLOT_PREPARING), 1);
    refill = list_entry(host.pool.slots[SLOT_PREPARING].next, struct slot, node);
    pool_vm_awake(refill, 100);
    acquire_start(0);
    ck_assert(((const struct fake_vm *)refill->vm)->paused);
    pool_vm_awake(slot_of(0), 100);
    ck_assert(!((const struct fake_vm *)refill->vm)->paused);
    end();
}
END_TEST

START_TEST(no_pause_is_long)
{
    begin();
    acquire_start(1);
    fake_host_pass(&host, POOL_HELD_NS_MAX - NS_PER_MS);
    ck_assert(vm_of(0)->paused);
    fake_host_pass(&host, 2 * NS_PER_MS);
    ck_assert(!vm_of(0)->paused);
    acquire_start(2);
    ck_assert_msg(!vm_of(0)->paused, "it has waited long enough");
    end();
}
END_TEST

START_TEST(an_acquire_that_ends_without_an_answer_resumes_them)
{
    begin();
    acquire_start(1);
    pool_acquire_cancel(&acquires[1].acquire);
    ck_assert(!vm_of(0)->paused);
    acquire_start(2);
    ck_assert(vm_of(0)->paused);
    host.clone_fails = true; /* nor is there another VM for it */
    pool_vm_gone(slot_of(2));
    fake_host_settle(&host);
    ck_assert(acquires[2].done);
    ck_assert(!vm_of(0)->paused);
    host.clone_fails = false;
    end();
}
END_TEST

START_TEST(a_word_that_was_on_its_way_counts)
{
    const struct fake_vm *vm;

    begin();
    acquire_start(1);
    vm = vm_of(0);
    ck_assert(vm->paused);
    pool_vm_ready(slot_of(0), 0, NULL);
    ck_assert(acquires[0].done);
    ck_assert_msg(!vm->paused, "a lease must run");
    end();
}
END_TEST

START_TEST(a_paused_vm_may_be_ended)
{
    begin();
    acquire_start(1);
    pool_acquire_cancel(&acquires[0].acquire);
    fake_host_settle(&host);
    ck_assert_uint_eq(COUNT(&host, SLOT_STOPPING), 1);
    pool_vm_awake(slot_of(1), 100);
    end();
}
END_TEST

START_TEST(a_paused_vm_may_die_by_itself)
{
    begin();
    acquire_start(1);
    pool_vm_gone(slot_of(0)); /* its acquire gets another, for which nobody is left to pause */
    fake_host_settle(&host);
    ck_assert_uint_eq(host.env.demanded, 2);
    fake_host_run(&host);
    ck_assert(acquires[0].done && acquires[1].done);
    end();
}
END_TEST

START_TEST(what_can_not_be_paused_runs_on)
{
    begin();
    host.freeze_fails = true;
    acquire_start(1);
    ck_assert(!vm_of(0)->paused);
    pool_vm_awake(slot_of(1), 100);
    pool_vm_ready(slot_of(0), 0, NULL);
    ck_assert(acquires[0].done);
    end();
}
END_TEST

/* Two VMs: the second waits to be told to go on until the first is through, and has ended by then, which
 * is not heard of yet. */
static void begin_with_a_dead_one(bool answered)
{
    fake_host_init(&host, 0, ACQUIRES, 0);
    host.env.going_max = 1;
    acquire_start(0);
    if (answered)
        pool_vm_awake(slot_of(0), 100);
    acquire_start(1);
    pool_vm_awake(slot_of(1), 100);
    ck_assert_int_eq(slot_of(1)->phase, SLOT_PHASE_HELD);
}

START_TEST(one_that_died_while_it_was_held_ends_with_the_others)
{
    begin_with_a_dead_one(false);
    pool_dismiss(&host.pool, ACQUIRE_SHUTTING_DOWN);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert(acquires[i].done);
        ck_assert_int_eq(acquires[i].result, ACQUIRE_SHUTTING_DOWN);
    }
    ck_assert_uint_eq(COUNT(&host, SLOT_WAKING), 0);
    end();
}
END_TEST

START_TEST(one_that_died_while_it_was_held_ends_as_another_is_late)
{
    struct slot *dead;

    begin_with_a_dead_one(true);
    dead = slot_of(1);
    fake_host_pass(&host, host.env.timeouts.ready_ns + NS_PER_MS);
    ck_assert_uint_eq(host.pool.counters.failures[FAILURE_READY_TIMEOUT], 1);
    pool_vm_gone(dead);
    ck_assert_uint_eq(host.pool.counters.failures[FAILURE_CRASHED], 1);
    fake_host_run(&host);
    for (unsigned i = 0; i < 2; i++)
        ck_assert(acquires[i].done && acquires[i].result == ACQUIRE_OK);
    end();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        nobody_goes_on_before_all_have_answered,
        who_others_are_held_behind_rests_after_ready,
        an_acquire_pauses_who_has_answered,
        refills_are_paused_too,
        no_pause_is_long,
        an_acquire_that_ends_without_an_answer_resumes_them,
        a_word_that_was_on_its_way_counts,
        a_paused_vm_may_be_ended,
        a_paused_vm_may_die_by_itself,
        what_can_not_be_paused_runs_on,
        one_that_died_while_it_was_held_ends_with_the_others,
        one_that_died_while_it_was_held_ends_as_another_is_late,
    };
    Suite *suite = suite_create("poold-answers");
    TCase *tcase = tap_case(suite, "answers");

    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    return tap_main(suite);
}
