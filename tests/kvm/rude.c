/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a guest that attacks every port, register and queue of the devices ends with a reason or
 * runs on; its VMM's memory stays where it was, and the VM beside it doesn't notice.
 * Method: the guests rude_*.c and mute.c on the real KVM, each beside a `park` guest in the same
 * process, which is woken and must answer all the while. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "harness.h"
#include "tap_main.h"
#define RUDE_HOST_SIDE
#include "guests/rude.h"

/* What the process may grow by, beyond the pages that the guests write. */
#define GROWTH_MAX_BYTES MIB(4)
/* An attack may be long on a machine that is busy; a random one is told to stop then. */
#define ATTACK_MAX_NS (100 * NS_PER_S)
#define ROUNDS_ENOUGH 1000u
/* Of the quickest answer: single ones may have waited for a CPU. */
#define NEIGHBOUR_PATIENCE_NS (2 * NS_PER_S)
#define RACE_NS (3 * NS_PER_S)

static struct harness rude, neighbour;
static uint64_t resident_before, neighbour_answers, neighbour_quickest_ns;

/* Anonymous memory only: the guest's own memory is a file's. */
static uint64_t resident_bytes(void)
{
    unsigned long long kib = 0;
    char line[128];
    FILE *status = fopen("/proc/self/status", "re");

    ck_assert_ptr_nonnull(status);
    while (fgets(line, sizeof line, status) && sscanf(line, "RssAnon: %llu", &kib) != 1)
        ;
    fclose(status);
    ck_assert_uint_gt(kib, 0);
    return kib * KIB(1);
}

static volatile struct rude_report *report(void)
{
    return guest_mem_at(&rude.machine.vm.mem, RUDE_REPORT_GPA, sizeof(struct rude_report));
}

/* One whole round of the other VM. */
static void neighbour_answers_in_time(void)
{
    uint64_t start = now_ns();

    harness_wake(&neighbour, DOORBELL_OP_LEASE, DOORBELL_FLAG_PARK_AGAIN);
    harness_expect(&neighbour, CONTROL_AWAKE);
    harness_expect(&neighbour, CONTROL_PARKED);
    neighbour_quickest_ns = MIN_OF(neighbour_quickest_ns, now_ns() - start);
    neighbour_answers++;
}

static void begin(const char *guest)
{
    harness_create(&neighbour, "park");
    harness_start_parked(&neighbour);
    harness_create(&rude, guest);
    neighbour_answers_in_time();
    neighbour_quickest_ns = UINT64_MAX; /* from here on */
    resident_before = resident_bytes();
}

static void teardown(void)
{
    harness_destroy(&rude);
    harness_destroy(&neighbour);
}

/* Lets the attack go on until it ends by itself or `ns` have passed, with the neighbour at work. */
static bool attack_ends_within(uint64_t ns)
{
    uint64_t end = now_ns() + ns;

    do {
        neighbour_answers_in_time();
        usleep(10000);
    } while (atomic_load(&rude.machine.vm.end_reason) == EXIT_REASON_NONE && now_ns() < end);
    ck_assert_uint_lt(neighbour_quickest_ns, NEIGHBOUR_PATIENCE_NS);
    return atomic_load(&rude.machine.vm.end_reason) != EXIT_REASON_NONE;
}

/* Its guest gets on, from where it is. */
static void attack_runs_on(void)
{
    uint64_t start = now_ns(), rounds = report()->rounds;

    while (report()->rounds == rounds) {
        ck_assert_uint_lt(now_ns() - start, ATTACK_MAX_NS);
        ck_assert(!attack_ends_within(NS_PER_S / 10));
    }
}

static void memory_is_flat(void)
{
    uint64_t now = resident_bytes();

    ck_assert_msg(now < resident_before + GROWTH_MAX_BYTES, "resident memory: %llu KiB, was %llu",
                  (unsigned long long)(now / KIB(1)),
                  (unsigned long long)(resident_before / KIB(1)));
}

START_TEST(every_broken_rule_of_the_queues_breaks_only_the_device)
{
    begin("rude_queues");
    harness_start(&rude);
    ck_assert(attack_ends_within(ATTACK_MAX_NS));
    ck_assert_int_eq(harness_join(&rude), EXIT_REASON_GUEST_POWEROFF);
    ck_assert_uint_eq(report()->rounds, 2 * (16 + 11)); /* cases, rings of two queues */
    ck_assert_msg(report()->failed == 0, "cases that went wrong: 0x%llx",
                  (unsigned long long)report()->failed);
    memory_is_flat();
}
END_TEST

START_TEST(random_registers_and_ports)
{
    uint64_t seed;

    begin("rude_registers");
    random_bytes(&seed, sizeof seed);
    report()->seed = seed;
    printf("# seed %d: 0x%llx\n", _i, (unsigned long long)seed);
    fflush(stdout);
    harness_start(&rude);
    bool ended = attack_ends_within(ATTACK_MAX_NS);
    report()->stop = 1;
    ended = ended || (report()->rounds >= ROUNDS_ENOUGH && attack_ends_within(ATTACK_MAX_NS));
    /* A device that it set up by chance may have written over its program: then it falls. */
    enum control_exit_reason reason = atomic_load(&rude.machine.vm.end_reason);
    ck_assert_msg(ended &&
                      (reason == EXIT_REASON_GUEST_POWEROFF || reason == EXIT_REASON_TRIPLE_FAULT ||
                       reason == EXIT_REASON_INTERNAL_ERROR),
                  "after %llu rounds, ended by %s: %s", (unsigned long long)report()->rounds,
                  control_exit_reason_name(reason), rude.machine.vm.end_detail);
    memory_is_flat();
}
END_TEST

/* What a second vCPU could do: the descriptors change while the device reads them. */
START_TEST(descriptors_that_change_while_they_are_read)
{
    static const uint64_t values[] = { 0x103000, 0,          1ull << 63, 0x1fffff0,
                                       ~0ull,    0xd0000000, 64,         0x0000000300000040 };
    uint64_t start, writes = 0;

    begin("rude_race");
    volatile uint64_t *desc = guest_mem_at(&rude.machine.vm.mem, 0x100000, 48);
    harness_start(&rude);
    /* Until some were served in spite of it, and some were not. */
    for (start = now_ns();
         now_ns() - start < RACE_NS || !report()->broken || report()->rounds <= report()->broken;
         writes++) {
        desc[writes * 5 % 6] = values[writes * 7 / 6 % ARRAY_LEN(values)];
        if (writes % 65536 == 0) {
            neighbour_answers_in_time();
            ck_assert_uint_lt(now_ns() - start, ATTACK_MAX_NS);
        }
    }
    ck_assert_int_eq(atomic_load(&rude.machine.vm.end_reason), EXIT_REASON_NONE);
    attack_runs_on();
    memory_is_flat();
}
END_TEST

START_TEST(console_flood_into_a_client_that_never_reads)
{
    int pair[2];
    struct err err;

    begin("rude_console");
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(uart_attach(rude.machine.uart, pair[1], false, &err), 0);
    harness_start(&rude);
    ck_assert(attack_ends_within(ATTACK_MAX_NS));
    ck_assert_int_eq(harness_join(&rude), EXIT_REASON_GUEST_POWEROFF);
    ck_assert_uint_eq(report()->rounds, 24);
    ck_assert_uint_eq(uart_dropped_bytes(rude.machine.uart), KIB(96) - UART_BACKLOG_BYTES);
    memory_is_flat();
    close(pair[0]);
}
END_TEST

START_TEST(interrupt_storm)
{
    begin("rude_storm");
    harness_start(&rude);
    ck_assert(attack_ends_within(ATTACK_MAX_NS));
    ck_assert_int_eq(harness_join(&rude), EXIT_REASON_GUEST_POWEROFF);
    ck_assert_uint_eq(report()->rounds, 10000);
    memory_is_flat();
}
END_TEST

START_TEST(guest_that_never_answers_can_be_ended)
{
    begin("mute");
    harness_start_parked(&rude);
    harness_wake(&rude, DOORBELL_OP_LEASE, 0);
    ck_assert(!attack_ends_within(NS_PER_S));
    attack_runs_on();
    harness_destroy(&rude);
    neighbour_answers_in_time();
    harness_create(&rude, "park"); /* for the teardown */
}
END_TEST

START_TEST(doorbell_flood_does_not_reach_the_neighbour)
{
    begin("flood");
    harness_start(&rude);
    ck_assert(attack_ends_within(ATTACK_MAX_NS));
    ck_assert_int_eq(harness_join(&rude), EXIT_REASON_GUEST_POWEROFF);
    memory_is_flat();
}
END_TEST

START_TEST(wrong_answer_ends_the_guest_alone)
{
    begin("wrong");
    harness_start_parked(&rude);
    harness_wake(&rude, DOORBELL_OP_LEASE, 0);
    ck_assert_int_eq(harness_join(&rude), EXIT_REASON_BAD_ANSWER);
    neighbour_answers_in_time();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rude");
    TCase *tc = tap_case(suite, "rude");

    harness_require_kvm();
    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_test(tc, every_broken_rule_of_the_queues_breaks_only_the_device);
    tcase_add_loop_test(tc, random_registers_and_ports, 0, 4);
    tcase_add_test(tc, descriptors_that_change_while_they_are_read);
    tcase_add_test(tc, console_flood_into_a_client_that_never_reads);
    tcase_add_test(tc, interrupt_storm);
    tcase_add_test(tc, guest_that_never_answers_can_be_ended);
    tcase_add_test(tc, doorbell_flood_does_not_reach_the_neighbour);
    tcase_add_test(tc, wrong_answer_ends_the_guest_alone);
    return tap_main(suite);
}
