/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: VMs die in good order: few at a time, and not in the middle of a busy moment, for which
 * they are frozen; but none is kept for long, nor when its place or its memory is wanted. Method:
 * the pool's logic over a fake clock and fake VMs. */
#include <check.h>

#include "poold_fake.h"
#include "tap_main.h"

#define LEASES 12u

static struct fake_host host;
static struct fake_acquire leases[LEASES];

static unsigned killed_count(void)
{
    unsigned killed = 0;

    for (unsigned i = 0; i < FAKE_VMS_MAX; i++)
        killed += host.vms[i].slot && host.vms[i].killed;
    return killed;
}

/* Leases of count VMs of a pool that keeps none, and room for as many frozen ones. */
static void leases_make(unsigned count, uint32_t max, unsigned frozen_max)
{
    fake_host_init(&host, 0, max, 0);
    host.env.frozen_bytes_max = frozen_max * (uint64_t)FAKE_VM_BYTES;
    host.env.dying_max = LEASES;
    for (unsigned i = 0; i < count; i++)
        fake_acquire_start(&host, &leases[i], 0);
    fake_host_run(&host);
}

static void leases_release(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        pool_release(leases[i].slot, LEASE_END_RELEASED);
    fake_host_settle(&host);
}

/* An acquire was asked for now. */
static void acquire_come(void)
{
    host.env.acquired_ns = host.now_ns;
}

static unsigned stopped_count(void)
{
    unsigned stopped = 0;

    for (unsigned i = 0; i < FAKE_VMS_MAX; i++)
        stopped +=
            host.vms[i].slot && !host.vms[i].killed && (host.vms[i].paused || host.vms[i].frozen);
    return stopped;
}

/* And those that wait for it run no more. */
START_TEST(few_vms_die_at_a_time)
{
    leases_make(LEASES, LEASES, 0);
    host.env.dying_max = 3;
    leases_release(LEASES);
    ck_assert_uint_eq(killed_count(), 3);
    ck_assert_uint_eq(stopped_count(), LEASES - 3);
    ck_assert_uint_eq(pool_live_count(&host.pool), LEASES - 3);
    fake_host_run(&host);
    ck_assert_uint_eq(pool_vm_count(&host.pool), 0);
    fake_host_fini(&host);
}
END_TEST

START_TEST(kills_wait_until_no_acquire_comes)
{
    leases_make(5, LEASES, LEASES);
    acquire_come();
    leases_release(5);
    ck_assert_uint_eq(killed_count(), 0);
    ck_assert_uint_eq(host.env.frozen, 5);
    ck_assert_uint_eq(pool_live_count(&host.pool), 0);
    fake_host_pass(&host, POOL_CALM_NS / 2);
    acquire_come();
    fake_host_pass(&host, POOL_CALM_NS - 1);
    ck_assert_uint_eq(killed_count(), 0);
    fake_host_pass(&host, 2);
    ck_assert_uint_eq(killed_count(), 5);
    ck_assert_uint_eq(host.env.frozen, 0);
    fake_host_run(&host);
    ck_assert_uint_eq(pool_vm_count(&host.pool), 0);
    fake_host_fini(&host);
}
END_TEST

START_TEST(in_a_calm_moment_nothing_is_frozen)
{
    leases_make(2, LEASES, LEASES);
    fake_host_pass(&host, POOL_CALM_NS);
    leases_release(2);
    ck_assert_uint_eq(killed_count(), 2);
    fake_host_fini(&host);
}
END_TEST

START_TEST(no_kill_waits_for_long)
{
    leases_make(2, LEASES, LEASES);
    acquire_come();
    leases_release(2);
    for (unsigned i = 0; i < 19; i++) {
        fake_host_pass(&host, POOL_CALM_NS / 2);
        acquire_come();
    }
    ck_assert_uint_eq(killed_count(), 0);
    fake_host_pass(&host, POOL_CALM_NS / 2);
    ck_assert_uint_eq(killed_count(), 2);
    fake_host_fini(&host);
}
END_TEST

START_TEST(only_so_much_memory_is_frozen)
{
    leases_make(5, LEASES, 3);
    acquire_come();
    leases_release(5);
    ck_assert_uint_eq(host.env.frozen, 3);
    ck_assert_uint_eq(killed_count(), 2);
    fake_host_fini(&host);
}
END_TEST

START_TEST(whoever_wants_the_place_gets_it)
{
    struct fake_acquire next[2];

    leases_make(3, 3, 3);
    acquire_come();
    leases_release(3);
    ck_assert_uint_eq(host.env.frozen, 3);
    /* Without waiting, as if they were gone; and then `max` is kept to. */
    fake_acquire_start(&host, &next[0], 0);
    fake_acquire_start(&host, &next[1], 0);
    fake_host_run(&host);
    ck_assert_uint_le(pool_vm_count(&host.pool), 3);
    ck_assert(next[0].done && next[0].result == ACQUIRE_OK);
    ck_assert(next[1].done && next[1].result == ACQUIRE_OK);
    fake_host_fini(&host);
}
END_TEST

START_TEST(what_can_not_be_frozen_is_killed)
{
    leases_make(2, LEASES, LEASES);
    host.freeze_fails = true;
    acquire_come();
    leases_release(2);
    ck_assert_uint_eq(killed_count(), 2);
    ck_assert_uint_eq(host.env.frozen, 0);
    fake_host_fini(&host);
}
END_TEST

START_TEST(a_frozen_vm_may_die_by_itself)
{
    leases_make(2, LEASES, LEASES);
    acquire_come();
    leases_release(2);
    pool_vm_gone(leases[0].slot);
    ck_assert_uint_eq(host.env.frozen, 1);
    ck_assert_uint_eq(pool_vm_count(&host.pool), 1);
    fake_host_fini(&host);
}
END_TEST

START_TEST(an_end_of_the_pool_waits_for_nothing)
{
    leases_make(3, LEASES, LEASES);
    acquire_come();
    leases_release(2);
    ck_assert_uint_eq(host.env.frozen, 2);
    pool_set_state(&host.pool, POOL_DRAINING, NULL);
    fake_host_settle(&host);
    ck_assert_uint_eq(killed_count(), 2);
    fake_host_fini(&host);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        few_vms_die_at_a_time,
        kills_wait_until_no_acquire_comes,
        in_a_calm_moment_nothing_is_frozen,
        no_kill_waits_for_long,
        only_so_much_memory_is_frozen,
        whoever_wants_the_place_gets_it,
        what_can_not_be_frozen_is_killed,
        a_frozen_vm_may_die_by_itself,
        an_end_of_the_pool_waits_for_nothing,
    };
    Suite *suite = suite_create("poold-kills");
    TCase *tcase = tap_case(suite, "kills");

    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    return tap_main(suite);
}
