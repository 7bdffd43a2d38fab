/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a pool is READY only when a VM of it has been, and says why when there can't be one. Method:
 * the pool's logic over a fake clock and fake VMs. */
#include <check.h>
#include <string.h>

#include "poold_fake.h"
#include "tap_main.h"

static struct fake_host host;

/* A pool whose template has just been loaded. */
static void proving(uint32_t min)
{
    fake_host_init(&host, 0, 4, 0);
    pool_set_limits(&host.pool, min, 4, 0);
    pool_set_state(&host.pool, POOL_PROVING, NULL);
    fake_host_settle(&host);
}

START_TEST(one_clone_comes_first)
{
    proving(3);
    ck_assert_uint_eq(host.vm_count, 1);
    ck_assert_uint_eq(host.pool.state, POOL_PROVING);
    fake_host_run(&host);
    ck_assert_uint_eq(host.proofs, 1);
    ck_assert_uint_eq(host.pool.state, POOL_READY);
    ck_assert_uint_eq(COUNT(&host, SLOT_PARKED), 3);
    ck_assert_uint_eq(host.pool.counters.restores, 3); /* the first one is kept */
    fake_host_fini(&host);
}
END_TEST

START_TEST(it_is_not_kept_where_nobody_wants_one)
{
    proving(0);
    fake_host_run(&host);
    ck_assert_uint_eq(host.pool.state, POOL_READY);
    ck_assert_uint_eq(pool_vm_count(&host.pool), 0);
    fake_host_fini(&host);
}
END_TEST

/* Who waits for a VM does not keep it from being made, and gets it. */
START_TEST(waiters_are_served_when_it_is_ready)
{
    struct fake_acquire acquire;

    proving(0);
    fake_acquire_start(&host, &acquire, 60000);
    ck_assert(!acquire.done);
    fake_host_run(&host);
    ck_assert(acquire.done);
    ck_assert_int_eq(acquire.result, ACQUIRE_OK);
    fake_host_fini(&host);
}
END_TEST

/* How a proof fails: it is said, never said, or the template does not even take it. */
enum { BY_STATUS, BY_SILENCE, BY_CLONE, WAYS };

START_TEST(it_is_given_up_after_some_tries)
{
    static const char *const says[WAYS] = { "not_unique: the guest could not make itself unique: "
                                            "it can't write '/etc/x'",
                                            "awake_timeout", "clone_failed" };
    struct fake_acquire acquire;

    fake_host_init(&host, 0, 4, 0);
    host.clone_fails = _i == BY_CLONE;
    pool_set_state(&host.pool, POOL_PROVING, NULL);
    fake_acquire_start(&host, &acquire, 600000);
    for (unsigned i = 0; i < 2 * PROOF_ATTEMPTS && host.pool.state == POOL_PROVING; i++) {
        fake_host_settle(&host);
        for (unsigned k = 0; k < FAKE_VMS_MAX && _i == BY_STATUS; k++) {
            struct fake_vm *vm = &host.vms[k];

            if (!vm->slot || vm->killed)
                continue;
            pool_vm_awake(vm->slot, 0);
            pool_vm_ready(vm->slot, 1, "it can't write '/etc/x'");
        }
        fake_host_pass(&host, 10 * NS_PER_S);
    }
    ck_assert_uint_eq(host.pool.state, POOL_FAILED);
    ck_assert_uint_eq(host.proofs, 1);
    ck_assert_msg(strstr(host.trouble, says[_i]) == host.trouble, "%s", host.trouble);
    ck_assert(acquire.done);
    ck_assert_int_eq(acquire.result, ACQUIRE_NOT_READY);
    ck_assert_uint_eq(host.vm_count, _i == BY_CLONE ? 0 : PROOF_ATTEMPTS);
    fake_host_fini(&host);
}
END_TEST

/* A moment's want of something is no reason to give a pool up. */
START_TEST(one_failure_is_not_the_end)
{
    proving(1);
    pool_vm_failed(host.vms[0].slot, FAILURE_CRASHED, "gone");
    fake_host_run(&host);
    ck_assert_uint_eq(host.pool.state, POOL_PROVING);
    fake_host_pass(&host, NS_PER_S);
    fake_host_run(&host);
    ck_assert_uint_eq(host.pool.state, POOL_READY);
    fake_host_fini(&host);
}
END_TEST

START_TEST(a_template_started_again_needs_none)
{
    proving(1);
    fake_host_run(&host);
    pool_set_state(&host.pool, POOL_LOADING, NULL);
    pool_set_state(&host.pool, POOL_PROVING, NULL);
    fake_host_settle(&host);
    ck_assert_uint_eq(host.pool.state, POOL_READY);
    ck_assert_uint_eq(host.vm_count, 1);
    fake_host_fini(&host);
}
END_TEST

/* The template ends while the proof is on its way. */
START_TEST(a_proof_may_come_while_the_pool_loads)
{
    proving(1);
    pool_set_state(&host.pool, POOL_LOADING, NULL);
    fake_host_run(&host);
    ck_assert_uint_eq(host.proofs, 0);
    pool_set_state(&host.pool, POOL_PROVING, NULL);
    fake_host_settle(&host);
    ck_assert_uint_eq(host.pool.state, POOL_READY);
    fake_host_fini(&host);
}
END_TEST

START_TEST(a_drained_pool_proves_nothing)
{
    proving(1);
    pool_set_state(&host.pool, POOL_DRAINING, NULL);
    fake_host_run(&host);
    fake_host_pass(&host, 60 * NS_PER_S);
    ck_assert_uint_eq(host.pool.state, POOL_DRAINING);
    ck_assert_uint_eq(host.vm_count, 1);
    ck_assert_uint_eq(host.proofs, 0);
    fake_host_fini(&host);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        one_clone_comes_first,
        it_is_not_kept_where_nobody_wants_one,
        waiters_are_served_when_it_is_ready,
        one_failure_is_not_the_end,
        a_template_started_again_needs_none,
        a_proof_may_come_while_the_pool_loads,
        a_drained_pool_proves_nothing,
    };
    Suite *suite = suite_create("poold-proof");
    TCase *tcase = tap_case(suite, "proof");

    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    tcase_add_loop_test(tcase, it_is_given_up_after_some_tries, 0, WAYS);
    return tap_main(suite);
}
