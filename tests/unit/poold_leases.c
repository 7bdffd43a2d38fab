/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a lease ends when its time is over, unless streams keep it, and each end has its reason. Method:
 * a pool with a fake clock and fake VMs. */
#include <check.h>

#include "poold_fake.h"
#include "tap_main.h"

#define TTL_NS (600 * NS_PER_S)

static struct fake_host host;
static struct fake_acquire acquire;

static struct slot *lease(bool kept_by_streams)
{
    fake_host_init(&host, 1, 4, 0);
    fake_host_run(&host);
    fake_acquire_start(&host, &acquire, 0);
    acquire.acquire.ttl_ms = TTL_NS / NS_PER_MS;
    acquire.acquire.kept_by_streams = kept_by_streams;
    fake_host_run(&host);
    ck_assert(acquire.done && acquire.result == ACQUIRE_OK);
    return acquire.slot;
}

static unsigned asked(const struct slot *slot)
{
    return ((const struct fake_vm *)slot->vm)->asked;
}

/* All leases that ended did so for that reason. */
static void expect_ends(enum lease_end end, unsigned count)
{
    for (unsigned i = 0; i < LEASE_END_COUNT; i++)
        ck_assert_uint_eq(host.pool.lease_ends[i], i == end ? count : 0);
    ck_assert_uint_eq(COUNT(&host, SLOT_LEASED), 0);
    fake_host_fini(&host);
}

START_TEST(a_ttl_that_was_asked_for_ends_it)
{
    const struct slot *slot = lease(false);

    fake_host_pass(&host, TTL_NS - NS_PER_MS);
    ck_assert_int_eq(slot->state, SLOT_LEASED);
    fake_host_pass(&host, NS_PER_MS);
    expect_ends(LEASE_END_EXPIRED, 1);
}
END_TEST

START_TEST(open_streams_keep_it)
{
    struct slot *slot = lease(true);

    for (unsigned i = 1; i <= 3; i++) {
        fake_host_pass(&host, TTL_NS);
        ck_assert_uint_eq(asked(slot), i);
        ck_assert_int_eq(slot->state, SLOT_LEASED);
        ck_assert(pool_vm_streams(slot, 2));
    }
    fake_host_pass(&host, TTL_NS - NS_PER_MS);
    ck_assert_uint_eq(asked(slot), 3);
    fake_host_pass(&host, NS_PER_MS);
    ck_assert(pool_vm_streams(slot, 0));
    expect_ends(LEASE_END_EXPIRED, 1);
}
END_TEST

START_TEST(a_vm_that_says_nothing_keeps_nothing)
{
    const struct slot *slot = lease(true);

    fake_host_pass(&host, TTL_NS + POOL_ASK_NS - NS_PER_MS);
    ck_assert_int_eq(slot->state, SLOT_LEASED);
    fake_host_pass(&host, NS_PER_MS);
    expect_ends(LEASE_END_EXPIRED, 1);
}
END_TEST

START_TEST(a_vm_that_cant_be_asked_keeps_nothing)
{
    lease(true);
    host.ask_fails = true;
    fake_host_pass(&host, TTL_NS);
    host.ask_fails = false;
    expect_ends(LEASE_END_EXPIRED, 1);
}
END_TEST

START_TEST(a_renewal_comes_before_the_answer)
{
    struct slot *slot = lease(true);

    fake_host_pass(&host, TTL_NS);
    pool_renew(slot, TTL_NS / NS_PER_MS);
    ck_assert(pool_vm_streams(slot, 0));
    ck_assert_int_eq(slot->state, SLOT_LEASED);
    fake_host_pass(&host, TTL_NS - NS_PER_MS);
    ck_assert_int_eq(slot->state, SLOT_LEASED);
    fake_host_pass(&host, NS_PER_MS);
    ck_assert_uint_eq(asked(slot), 2);
    ck_assert(pool_vm_streams(slot, 0));
    expect_ends(LEASE_END_EXPIRED, 1);
}
END_TEST

START_TEST(answers_without_a_question_are_out_of_place)
{
    struct slot *slot = lease(true);

    ck_assert(!pool_vm_streams(slot, 1));
    fake_host_pass(&host, TTL_NS);
    ck_assert(pool_vm_streams(slot, 1));
    ck_assert(!pool_vm_streams(slot, 1));
    ck_assert_int_eq(slot->state, SLOT_LEASED);
    pool_release(slot, LEASE_END_RELEASED);
    ck_assert(pool_vm_streams(slot, 1)); /* which may have been on its way */
    expect_ends(LEASE_END_RELEASED, 1);
}
END_TEST

START_TEST(what_fails_is_a_reason)
{
    pool_vm_failed(lease(true), (enum failure)_i, "in a test");
    expect_ends(lease_end_of((enum failure)_i), 1);
}
END_TEST

START_TEST(all_leases_of_a_pool_have_its_end)
{
    static const enum lease_end ends[] = { LEASE_END_POOLD_STOPPED, LEASE_END_POOL_DELETED };

    lease(false);
    pool_stop_all(&host.pool, _i == 0 ? ACQUIRE_SHUTTING_DOWN : ACQUIRE_DRAINING);
    expect_ends(ends[_i], 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("poold-leases");
    TCase *tcase = tcase_create("leases");

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, a_ttl_that_was_asked_for_ends_it);
    tcase_add_test(tcase, open_streams_keep_it);
    tcase_add_test(tcase, a_vm_that_says_nothing_keeps_nothing);
    tcase_add_test(tcase, a_vm_that_cant_be_asked_keeps_nothing);
    tcase_add_test(tcase, a_renewal_comes_before_the_answer);
    tcase_add_test(tcase, answers_without_a_question_are_out_of_place);
    tcase_add_loop_test(tcase, what_fails_is_a_reason, 0, FAILURE_COUNT);
    tcase_add_loop_test(tcase, all_leases_of_a_pool_have_its_end, 0, 2);
    return tap_main(suite);
}
