/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: where pools together want more than there is, those of a higher priority come first, and none
 * is starved for more than a second. Method: poold_fake.h. */
#include <check.h>

#include "poold_fake.h"
#include "tap_main.h"

static struct fake_host host;
static struct pool high;

/* host.pool is of priority 0. */
static void begin(uint32_t min, uint32_t high_min, uint32_t priority)
{
    fake_host_init(&host, min, 100, 0);
    fake_host_run(&host);
    fake_host_add(&host, &high, 0, 100);
    high.priority = priority;
    pool_set_limits(&high, high_min, 100, 0);
}

START_TEST(stock_goes_to_the_higher_priority)
{
    begin(4, 0, 5);
    host.env.room.vms = 4;
    pool_set_limits(&high, 3, 100, 0);
    fake_host_run(&host);
    ck_assert_uint_eq(high.counts[SLOT_PARKED], 3);
    ck_assert_uint_eq(COUNT(&host, SLOT_PARKED), 1);
    /* And stays there. */
    unsigned made = host.vm_count;
    for (unsigned i = 0; i < 20; i++) {
        fake_host_pass(&host, NS_PER_S);
        fake_host_run(&host);
    }
    ck_assert_uint_eq(host.vm_count, made);
    ck_assert_uint_eq(high.counts[SLOT_PARKED], 3);
    /* The lower one has the room that comes. */
    host.env.room.vms = 6;
    pool_set_limits(&host.pool, 4, 100, 0);
    fake_host_run(&host);
    ck_assert_uint_eq(COUNT(&host, SLOT_PARKED), 3);
    fake_host_fini(&host);
}
END_TEST

START_TEST(nothing_is_taken_from_an_equal)
{
    begin(4, 0, 0);
    host.env.room.vms = 4;
    pool_set_limits(&high, 3, 100, 0);
    fake_host_run(&host);
    fake_host_pass(&host, 5 * NS_PER_S);
    ck_assert_uint_eq(COUNT(&host, SLOT_PARKED), 4);
    ck_assert_uint_eq(pool_vm_count(&high), 0);
    fake_host_fini(&host);
}
END_TEST

/* One that can make none must not cost others theirs. */
START_TEST(who_fails_takes_nothing)
{
    begin(4, 0, 5);
    host.env.room.vms = 5;
    host.clone_fails = true;
    pool_set_limits(&high, 3, 100, 0);
    fake_host_settle(&host);
    ck_assert_uint_eq(high.backoff.failures, 1);
    unsigned parked = COUNT(&host, SLOT_PARKED);
    fake_host_settle(&host);
    ck_assert_uint_eq(COUNT(&host, SLOT_PARKED), parked);
    ck_assert_uint_ge(parked, 2);
    host.clone_fails = false;
    fake_host_fini(&host);
}
END_TEST

/* What somebody waits for goes before any stock. */
START_TEST(an_acquire_of_the_lower_one_is_served)
{
    struct fake_acquire acquires[3];

    begin(0, 3, 5);
    host.env.room.vms = 3;
    fake_host_run(&host);
    ck_assert_uint_eq(high.counts[SLOT_PARKED], 3);
    for (unsigned i = 0; i < 3; i++) {
        fake_acquire_start(&host, &acquires[i], 0);
        fake_host_run(&host);
        ck_assert(acquires[i].done);
        ck_assert_int_eq(acquires[i].result, ACQUIRE_OK);
    }
    fake_host_fini(&host);
}
END_TEST

START_TEST(refills_are_in_its_order_but_for_a_second)
{
    begin(0, 90, 5);
    host.env.refill_max = 1;
    pool_set_limits(&host.pool, 1, 100, 0);
    for (unsigned i = 0; i < 40; i++)
        fake_host_step(&host);
    ck_assert_uint_gt(high.counts[SLOT_PARKED], 5);
    ck_assert_uint_eq(pool_vm_count(&host.pool), 0);
    host.now_ns += NS_PER_S;
    for (unsigned i = 0; i < 10; i++)
        fake_host_step(&host);
    ck_assert_uint_eq(pool_vm_count(&host.pool), 1);
    ck_assert_uint_lt(high.counts[SLOT_PARKED], 90);
    fake_host_run(&host);
    ck_assert_uint_eq(high.counts[SLOT_PARKED], 90);
    fake_host_fini(&host);
}
END_TEST

static void expect_first(uint64_t before_ns, bool lower_is_first)
{
    struct fake_acquire busy, lower, higher;

    begin(0, 0, 5);
    host.env.demand_max = 1;
    fake_acquire_start(&host, &busy, 60000);
    fake_acquire_start(&host, &lower, 60000);
    host.now_ns += before_ns;
    fake_acquire_from(&host, &high, &higher, 60000);
    fake_host_run(&host);
    ck_assert(lower.done && higher.done);
    ck_assert(lower_is_first == (lower.order < higher.order));
    fake_host_fini(&host);
}

START_TEST(acquires_are_in_its_order_but_for_a_second)
{
    expect_first(NS_PER_MS, false);
    expect_first(NS_PER_S, true);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        stock_goes_to_the_higher_priority,
        nothing_is_taken_from_an_equal,
        who_fails_takes_nothing,
        an_acquire_of_the_lower_one_is_served,
        refills_are_in_its_order_but_for_a_second,
        acquires_are_in_its_order_but_for_a_second,
    };
    Suite *suite = suite_create("poold-priority");
    TCase *tcase = tap_case(suite, "priority");

    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    return tap_main(suite);
}
