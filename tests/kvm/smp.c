/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: with several vCPUs, PARK stops all of them at clean boundaries, a snapshot holds all of
 * them, and each goes on where it was, in the parent and in clones.
 * Method: guests/smp.c, whose other vCPUs check with every step that nothing of them was lost. */
#include <check.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "guests/smp.h"
#include "harness.h"
#include "tap_main.h"

#define VCPUS 3
#define ROUNDS 20
#define LOOK_MS 20
#define WAIT_MS 60000

static struct harness h, second;

static const volatile struct smp_counter *counter(struct harness *of, uint32_t index)
{
    const struct smp_counter *all =
        guest_mem_at(&of->machine.vm.mem, SMP_COUNTERS_GPA, VCPUS * sizeof *all);

    ck_assert_ptr_nonnull(all);
    return all + index;
}

static void sleep_ms(long ms)
{
    const struct timespec pause = { .tv_nsec = ms * 1000000 };

    nanosleep(&pause, NULL);
}

static void check_standing(struct harness *of)
{
    uint64_t before[VCPUS];

    for (uint32_t i = 1; i < VCPUS; i++)
        before[i] = counter(of, i)->rounds;
    sleep_ms(LOOK_MS);
    for (uint32_t i = 1; i < VCPUS; i++)
        ck_assert_uint_eq(counter(of, i)->rounds, before[i]);
}

/* Each of the others gets on by some rounds, and none finds anything wrong. */
static void check_counting(struct harness *of)
{
    for (uint32_t i = 1; i < VCPUS; i++) {
        uint64_t before = counter(of, i)->rounds;
        int waited_ms = 0;

        while (counter(of, i)->rounds < before + 10) {
            ck_assert_msg(waited_ms < WAIT_MS, "vCPU %u stands at round %llu", i,
                          (unsigned long long)before);
            sleep_ms(1);
            waited_ms++;
        }
        ck_assert_uint_eq(counter(of, i)->wrong, 0);
    }
}

static void wake_and_park(struct harness *of)
{
    harness_wake(of, DOORBELL_OP_LEASE, DOORBELL_FLAG_PARK_AGAIN);
    harness_expect(of, CONTROL_AWAKE);
    harness_expect(of, CONTROL_PARKED);
}

START_TEST(park_stops_all_and_awake_lets_them_go)
{
    harness_create_smp(&h, "smp", VCPUS);
    harness_start_parked(&h);
    check_standing(&h);
    for (int round = 0; round < ROUNDS; round++)
        wake_and_park(&h);
    check_standing(&h);
    harness_wake(&h, DOORBELL_OP_LEASE, 0);
    harness_expect(&h, CONTROL_AWAKE);
    check_counting(&h);
}
END_TEST

static uint64_t tsc(const struct vcpu_state *vcpu)
{
    for (uint32_t i = 0; i < vcpu->msr_count; i++)
        if (vcpu->msr[i].index == 0x10)
            return vcpu->msr[i].data;
    ck_abort_msg("the state has no TSC");
}

START_TEST(clones_go_on_with_all_vcpus)
{
    struct machine_image image;

    harness_create_smp(&h, "smp", VCPUS);
    harness_start_parked(&h);
    for (int round = 0; round < ROUNDS; round++)
        wake_and_park(&h);
    int memory_fd = harness_snapshot(&h, &image);
    ck_assert_uint_eq(image.vm.vcpu_count, VCPUS);
    for (uint32_t i = 1; i < VCPUS; i++)
        ck_assert_uint_eq(tsc(&image.vm.vcpu[i]), tsc(&image.vm.vcpu[0]));
    for (int i = 0; i < 3; i++) {
        harness_create_clone(&second, memory_fd, &image);
        harness_start(&second);
        check_standing(&second);
        harness_wake(&second, DOORBELL_OP_LEASE, 0);
        harness_expect(&second, CONTROL_AWAKE);
        check_counting(&second);
        harness_destroy(&second);
    }
    check_standing(&h);
    harness_wake(&h, DOORBELL_OP_LEASE, 0);
    harness_expect(&h, CONTROL_AWAKE);
    check_counting(&h);
    close(memory_fd);
    machine_image_fini(&image);
}
END_TEST

static void teardown(void)
{
    harness_destroy(&h);
}

int main(void)
{
    Suite *suite = suite_create("smp");
    TCase *tc = tap_case(suite, "smp");

    harness_require_kvm();
    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_test(tc, park_stops_all_and_awake_lets_them_go);
    tcase_add_test(tc, clones_go_on_with_all_vcpus);
    return tap_main(suite);
}
