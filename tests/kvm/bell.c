/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the host's side of the function's bell does what guest_abi.h promises, on the real KVM: requests
 * get in, answers out, and what a guest claims of them ends its own VM.
 * Method: the guest bell.c, which is called as poold calls. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "harness.h"
#include "tap_main.h"

#define SPEED_CALLS 2000u

static struct harness h;
static uint8_t request[FUNCTION_PAYLOAD_MAX], answer[FUNCTION_PAYLOAD_MAX];
static uint32_t number = 1000;

static void teardown(void)
{
    harness_destroy(&h);
}

static void begin(uint32_t flags)
{
    harness_create(&h, "bell");
    harness_start_parked(&h);
    harness_wake(&h, DOORBELL_OP_RESTORE, flags);
    harness_expect(&h, CONTROL_AWAKE);
    harness_expect(&h, CONTROL_READY);
}

static void call(uint32_t bytes)
{
    struct control_msg msg;

    memset(&msg, 0, sizeof msg);
    msg.type = CONTROL_CALL;
    msg.u.call.call = ++number;
    ck_assert_int_eq(control_send_payload(h.bell[0], &msg, request, bytes), 0);
}

static struct control_msg answered(void)
{
    struct control_msg msg;
    int fds[CONTROL_FDS_MAX];
    unsigned fd_count;

    ck_assert_int_eq(control_recv_payload(h.bell[0], &msg, fds, &fd_count, answer, sizeof answer),
                     0);
    ck_assert_uint_eq(msg.type, CONTROL_ANSWER);
    ck_assert_uint_eq(msg.u.answer.call, number);
    return msg;
}

static void expect_echo(uint32_t bytes)
{
    struct control_msg msg;

    call(bytes);
    msg = answered();
    ck_assert_uint_eq(msg.u.answer.kind, FUNCTION_ANSWER_OK);
    ck_assert_uint_eq(msg.u.answer.payload_bytes, bytes);
    ck_assert_int_eq(memcmp(request, answer, bytes), 0);
}

START_TEST(calls_are_answered_one_by_one)
{
    static const uint32_t lengths[] = { 100, 0, 1, FUNCTION_PAYLOAD_MAX, 4097, 100 };

    random_bytes(request, sizeof request);
    request[0] = 'e';
    begin(DOORBELL_FLAG_FUNCTION | DOORBELL_FLAG_PARK_AGAIN);
    harness_expect(&h, CONTROL_PARKED);
    for (unsigned i = 0; i < ARRAY_LEN(lengths); i++)
        expect_echo(lengths[i]);
    ck_assert_uint_eq(atomic_load(&h.machine.vm.doorbell.ignored), 1); /* the ring before READY */
}
END_TEST

/* As one that is leased when it is READY; its call may be there before it stops. */
START_TEST(a_call_may_wait_for_the_bell)
{
    harness_create(&h, "bell");
    harness_start_parked(&h);
    harness_wake(&h, DOORBELL_OP_RESTORE, DOORBELL_FLAG_FUNCTION);
    call(5);
    harness_expect(&h, CONTROL_AWAKE);
    harness_expect(&h, CONTROL_READY);
    ck_assert_uint_eq(answered().u.answer.payload_bytes, 5);
    expect_echo(3);
}
END_TEST

START_TEST(ports_out_of_place_are_ignored_in_a_call)
{
    begin(DOORBELL_FLAG_FUNCTION | DOORBELL_FLAG_PARK_AGAIN);
    harness_expect(&h, CONTROL_PARKED);
    request[0] = 'p';
    expect_echo(1);
    ck_assert_uint_eq(atomic_load(&h.machine.vm.doorbell.ignored), 1 + 4);
    request[0] = 'k';
    call(1);
    ck_assert_uint_eq(answered().u.answer.kind, 77); /* what it means is its reader's to say */
}
END_TEST

static const struct {
    char order;
    enum control_exit_reason reason;
} breaches[] = {
    { 'l', EXIT_REASON_GUEST_MISBEHAVED },
    { 'o', EXIT_REASON_BAD_ANSWER },
    { 'n', EXIT_REASON_BAD_ANSWER },
};

START_TEST(a_breach_ends_the_vm)
{
    begin(DOORBELL_FLAG_FUNCTION | DOORBELL_FLAG_PARK_AGAIN);
    harness_expect(&h, CONTROL_PARKED);
    request[0] = (uint8_t)breaches[_i].order;
    call(1);
    ck_assert_int_eq(harness_join(&h), breaches[_i].reason);
}
END_TEST

START_TEST(where_there_is_no_function_the_bell_does_not_count)
{
    begin(0);
    ck_assert_int_eq(harness_join(&h), EXIT_REASON_GUEST_POWEROFF);
    ck_assert_uint_eq(atomic_load(&h.machine.vm.doorbell.ignored), 2);
}
END_TEST

START_TEST(another_message_than_a_call_ends_the_vm)
{
    begin(DOORBELL_FLAG_FUNCTION | DOORBELL_FLAG_PARK_AGAIN);
    harness_expect(&h, CONTROL_PARKED);
    harness_wake(&h, DOORBELL_OP_LEASE, 0);
    ck_assert_int_eq(harness_join(&h), EXIT_REASON_HOST_ERROR);
}
END_TEST

static int by_size(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Not a limit: a figure for whoever changes the way. */
START_TEST(how_long_a_call_takes)
{
    static uint64_t took_ns[SPEED_CALLS];

    begin(DOORBELL_FLAG_FUNCTION | DOORBELL_FLAG_PARK_AGAIN);
    harness_expect(&h, CONTROL_PARKED);
    request[0] = 'e';
    for (unsigned i = 0; i < SPEED_CALLS; i++) {
        const uint64_t start = now_ns();

        expect_echo(100);
        took_ns[i] = now_ns() - start;
    }
    qsort(took_ns, SPEED_CALLS, sizeof took_ns[0], by_size);
    printf("# a call of 100 bytes: p50 %.1f us, p99 %.1f us\n",
           (double)took_ns[SPEED_CALLS / 2] / 1e3, (double)took_ns[SPEED_CALLS * 99 / 100] / 1e3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bell");
    TCase *tc = tap_case(suite, "bell");

    harness_require_kvm();
    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_test(tc, calls_are_answered_one_by_one);
    tcase_add_test(tc, a_call_may_wait_for_the_bell);
    tcase_add_test(tc, ports_out_of_place_are_ignored_in_a_call);
    tcase_add_loop_test(tc, a_breach_ends_the_vm, 0, ARRAY_LEN(breaches));
    tcase_add_test(tc, where_there_is_no_function_the_bell_does_not_count);
    tcase_add_test(tc, another_message_than_a_call_ends_the_vm);
    tcase_add_test(tc, how_long_a_call_takes);
    return tap_main(suite);
}
