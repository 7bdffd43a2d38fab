/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: no pool makes a VM for which there is no room in poold, whatever asks for it; acquires wait
 * for room or are told; descriptors are divided so that everybody has a part. Method: the pool's
 * logic over fake VMs (poold_fake.h); the division for all limits. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "host/fd_budget.h"
#include "net/pool_net.h"
#include "poold_fake.h"
#include "tap_main.h"

static struct fake_host host;

/* ---- VMs ---- */

START_TEST(refills_stop_when_there_is_no_room)
{
    fake_host_init(&host, 2, 100, 1);
    fake_host_run(&host);
    ck_assert_uint_eq(host.env.made.vms, 3);
    host.env.room.vms = 5;
    pool_set_limits(&host.pool, 50, 100, 50);
    fake_host_run(&host);
    ck_assert_uint_eq(host.env.made.vms, 5);
    ck_assert_uint_eq(pool_vm_count(&host.pool), 5);
    host.env.room.vms = 8;
    pool_trial_want(&host.pool);
    fake_host_run(&host);
    ck_assert_uint_eq(host.env.made.vms, 8);
    fake_host_fini(&host);
    ck_assert_uint_eq(host.env.made.vms, 0);
}
END_TEST

START_TEST(acquires_without_room_are_told)
{
    struct fake_acquire acquires[6];

    fake_host_init(&host, 2, 100, 0);
    fake_host_run(&host);
    host.env.room.vms = 4;
    for (unsigned i = 0; i < 6; i++) {
        fake_acquire_start(&host, &acquires[i], 0);
        fake_host_run(&host);
    }
    for (unsigned i = 0; i < 6; i++) {
        ck_assert(acquires[i].done);
        ck_assert_int_eq(acquires[i].result, i < 4 ? ACQUIRE_OK : ACQUIRE_NO_ROOM);
    }
    ck_assert_uint_eq(host.env.made.vms, 4);
    /* At `max` it is the pool's, as ever. */
    pool_set_limits(&host.pool, 0, 4, 0);
    fake_acquire_start(&host, &acquires[5], 0);
    ck_assert_int_eq(acquires[5].result, ACQUIRE_NO_VM_FREE);
    fake_host_fini(&host);
}
END_TEST

START_TEST(acquires_wait_for_room)
{
    struct fake_acquire acquires[4];

    fake_host_init(&host, 0, 100, 0);
    host.env.room.vms = 2;
    for (unsigned i = 0; i < 4; i++)
        fake_acquire_start(&host, &acquires[i], 60000);
    fake_host_run(&host);
    ck_assert(acquires[0].done && acquires[1].done && !acquires[2].done && !acquires[3].done);
    pool_release(acquires[0].slot, LEASE_END_RELEASED);
    fake_host_run(&host);
    ck_assert(acquires[2].done && acquires[2].result == ACQUIRE_OK && !acquires[3].done);
    fake_host_pass(&host, 61 * NS_PER_S);
    ck_assert(acquires[3].done);
    ck_assert_int_eq(acquires[3].result, ACQUIRE_NO_ROOM);
    ck_assert_uint_eq(host.env.made.vms, 2);
    fake_host_fini(&host);
}
END_TEST

/* The place of a VM that is dying is one that an acquire can have without waiting for others. */
START_TEST(a_dying_vm_is_room)
{
    struct fake_acquire first, second;

    fake_host_init(&host, 0, 100, 0);
    host.env.room.vms = 1;
    fake_acquire_start(&host, &first, 0);
    fake_host_run(&host);
    pool_release(first.slot, LEASE_END_RELEASED);
    fake_acquire_start(&host, &second, 0);
    ck_assert(!second.done);
    fake_host_run(&host);
    ck_assert(second.done && second.result == ACQUIRE_OK);
    fake_host_fini(&host);
}
END_TEST

START_TEST(memory_is_room)
{
    struct fake_acquire acquires[4];

    fake_host_init(&host, 2, 100, 1);
    fake_host_run(&host);
    host.env.room.bytes = 3 * FAKE_VM_BYTES + 1;
    for (unsigned i = 0; i < 4; i++) {
        fake_acquire_start(&host, &acquires[i], 0);
        fake_host_run(&host);
        ck_assert(acquires[i].done);
        ck_assert_int_eq(acquires[i].result, i < 3 ? ACQUIRE_OK : ACQUIRE_NO_ROOM);
    }
    ck_assert_int_eq(pool_room_lack(&host.pool), POOL_LACKS_BYTES);
    ck_assert_uint_eq(host.env.made.bytes, 3 * FAKE_VM_BYTES);
    fake_host_fini(&host);
}
END_TEST

/* What nobody has asked for makes room for what somebody has, in whichever pool. */
START_TEST(stock_of_others_is_room)
{
    struct fake_acquire acquires[6];
    struct pool other;

    fake_host_init(&host, 0, 100, 0);
    fake_host_add(&host, &other, 4, 4);
    fake_host_run(&host);
    ck_assert_uint_eq(other.counts[SLOT_PARKED], 4);
    host.env.room.vms = 5;
    for (unsigned i = 0; i < 6; i++) {
        fake_acquire_start(&host, &acquires[i], 0);
        fake_host_run(&host);
        ck_assert(acquires[i].done);
        ck_assert_int_eq(acquires[i].result, i < 5 ? ACQUIRE_OK : ACQUIRE_NO_ROOM);
        ck_assert_uint_le(host.env.made.vms, 5);
    }
    ck_assert_uint_eq(pool_vm_count(&other), 0);
    pool_release(acquires[0].slot, LEASE_END_RELEASED);
    fake_host_run(&host);
    ck_assert_uint_eq(other.counts[SLOT_PARKED], 1);
    /* Less room than there are: the stock goes, leases stay. */
    host.env.room.vms = 2;
    pool_set_limits(&host.pool, 0, 100, 0);
    fake_host_run(&host);
    ck_assert_uint_eq(pool_vm_count(&other), 0);
    ck_assert_uint_eq(host.pool.counts[SLOT_LEASED], 4);
    fake_host_fini(&host);
}
END_TEST

/* A VM is counted with what those of its pool take, and as many smaller ones make room for it. */
START_TEST(descriptors_are_room)
{
    struct fake_acquire acquires[4], large;
    struct pool other;

    fake_host_init(&host, 0, 100, 0);
    host.pool.vm_fds = 3 * FAKE_VM_FDS;
    fake_host_add(&host, &other, 8, 100);
    host.env.room.fds = 10 * FAKE_VM_FDS;
    fake_host_run(&host);
    ck_assert_uint_eq(other.counts[SLOT_PARKED], 8);
    fake_acquire_start(&host, &large, 0);
    fake_host_run(&host);
    ck_assert(large.done && large.result == ACQUIRE_OK);
    ck_assert_uint_eq(pool_vm_count(&other), 7);
    for (unsigned i = 0; i < ARRAY_LEN(acquires); i++) {
        fake_acquire_start(&host, &acquires[i], 0);
        fake_host_run(&host);
        ck_assert(acquires[i].done);
        ck_assert_int_eq(acquires[i].result, i < 2 ? ACQUIRE_OK : ACQUIRE_NO_ROOM);
        ck_assert_uint_le(host.env.made.fds, 10 * FAKE_VM_FDS);
    }
    ck_assert_int_eq(pool_room_lack(&host.pool), POOL_LACKS_FDS);
    ck_assert_uint_eq(host.env.claimed.fds, 9 * FAKE_VM_FDS);
    /* What is too little for one of these is enough for one of the others' stock. */
    ck_assert_uint_eq(other.counts[SLOT_PARKED], 1);
    fake_host_fini(&host);
}
END_TEST

/* ---- In turn ---- */

/* However long acquires are on their way, each pool that is short of VMs gets one now and then. */
START_TEST(no_pool_is_starved)
{
    struct fake_acquire acquires[3];
    struct pool other;

    fake_host_init(&host, 2, 100, 0);
    fake_host_run(&host);
    for (unsigned i = 0; i < 3; i++)
        fake_acquire_start(&host, &acquires[i], 60000);
    ck_assert_uint_gt(host.env.waking, 0);
    fake_host_add(&host, &other, 2, 4);
    ck_assert_uint_eq(pool_vm_count(&other), 0);
    fake_host_pass(&host, 250 * NS_PER_MS);
    ck_assert_uint_eq(other.counts[SLOT_PREPARING], 1);
    ck_assert_uint_eq(COUNT(&host, SLOT_PREPARING), 1);
    ck_assert_uint_gt(host.env.waking, 0);
    fake_host_fini(&host);
}
END_TEST

START_TEST(stocks_are_refilled_in_turn)
{
    struct pool others[3];

    fake_host_init(&host, 0, 100, 0);
    host.env.refill_max = 1;
    for (unsigned i = 0; i < ARRAY_LEN(others); i++)
        fake_host_add(&host, &others[i], i == 0 ? 50 : 1, 100);
    for (unsigned i = 0; i < 3; i++) {
        host.now_ns += NS_PER_MS;
        fake_host_step(&host);
    }
    for (unsigned i = 0; i < ARRAY_LEN(others); i++)
        ck_assert_uint_ge(pool_vm_count(&others[i]), 1);
    ck_assert_uint_lt(others[0].counts[SLOT_PARKED], 50);
    fake_host_run(&host);
    ck_assert_uint_eq(others[0].counts[SLOT_PARKED], 50);
    fake_host_fini(&host);
}
END_TEST

/* Of acquires that wait for their turn to be made a VM, the oldest is first, whatever its pool. */
START_TEST(acquires_of_all_pools_are_served_in_order)
{
    struct fake_acquire busy[8], other_one;
    struct pool other;

    fake_host_init(&host, 0, 100, 0);
    fake_host_add(&host, &other, 0, 100);
    for (unsigned i = 0; i < 5; i++) {
        fake_acquire_start(&host, &busy[i], 60000);
        host.now_ns += NS_PER_US;
    }
    fake_acquire_from(&host, &other, &other_one, 60000);
    for (unsigned i = 5; i < 8; i++) {
        host.now_ns += NS_PER_US;
        fake_acquire_start(&host, &busy[i], 60000);
    }
    fake_host_run(&host);
    ck_assert(other_one.done && busy[5].done && busy[7].done);
    ck_assert_uint_lt(other_one.order, busy[6].order);
    ck_assert_uint_lt(other_one.order, busy[7].order);
    fake_host_fini(&host);
}
END_TEST

/* ---- Descriptors ---- */

START_TEST(descriptors_are_divided)
{
    struct fd_budget budget;
    struct err err;

    for (uint64_t limit = 0; limit < 200000; limit += limit < 2000 ? 1 : 997) {
        int rc = fd_budget_divide(&budget, limit, &err);

        if (limit < FD_LEAST) {
            ck_assert_int_eq(rc, -EMFILE);
            ck_assert_ptr_nonnull(strstr(err.msg, "336 file descriptors"));
            continue;
        }
        ck_assert_int_eq(rc, 0);
        ck_assert_uint_le(FD_FIXED + FD_CONNECTION * (uint64_t)budget.connections_all +
                              2ull * budget.folders + budget.vms,
                          limit);
        ck_assert_uint_ge(budget.connections_kept, 8);
        ck_assert_uint_ge(budget.connections_all, 2 * budget.connections_kept);
        ck_assert_uint_ge(budget.folders, 8);
        ck_assert(fd_budget_has_pool(&budget, 0, 2));
        ck_assert_uint_ge(fd_budget_of_vms(&budget, 1), 2 * (FD_VM + FD_VM_GATE));
        ck_assert_uint_eq(fd_budget_of_vms(&budget, 1000000), 0);
        ck_assert(!fd_budget_has_pool(&budget, budget.vms / FD_POOL, 0));
        ck_assert(!fd_budget_has_pool(&budget, 0, fd_budget_of_vms(&budget, 1) + 1));
        ck_assert(fd_budget_has_pool(&budget, 0, fd_budget_of_vms(&budget, 1)));
    }
    ck_assert_int_eq(fd_budget_divide(&budget, UINT64_MAX, &err), 0);
    ck_assert_uint_eq(budget.connections_all, 8192);
    ck_assert_uint_eq(budget.folders, 160);
    ck_assert_int_eq(fd_budget_divide(&budget, 20000, &err), 0);
    ck_assert_uint_ge(fd_budget_of_vms(&budget, 1) / FD_VM, 2000);
}
END_TEST

START_TEST(a_vm_is_counted_by_its_network)
{
    static const struct {
        const char *kind;
        uint32_t fds;
    } rows[] = {
        { "", 0 },
        { "user", FD_VM_GATE },
        { "tap", FD_VM_NAMESPACE },
        { "bridge=br0", FD_VM_NAMESPACE },
        { "macvtap=eth0", FD_VM_NAMESPACE },
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct pool_net_spec spec = { 0 };

        snprintf(spec.kind, sizeof spec.kind, "%s", rows[i].kind);
        ck_assert_uint_eq(pool_net_vm_fds(&spec), rows[i].fds);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        refills_stop_when_there_is_no_room,
        acquires_without_room_are_told,
        acquires_wait_for_room,
        a_dying_vm_is_room,
        memory_is_room,
        stock_of_others_is_room,
        descriptors_are_room,
        no_pool_is_starved,
        stocks_are_refilled_in_turn,
        acquires_of_all_pools_are_served_in_order,
        descriptors_are_divided,
        a_vm_is_counted_by_its_network,
    };
    Suite *suite = suite_create("poold-room");
    TCase *tcase = tap_case(suite, "room");

    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    return tap_main(suite);
}
