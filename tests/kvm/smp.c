/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: with several vCPUs, PARK stops all of them at clean boundaries, a snapshot holds all of
 * them, and each goes on where it was, in the parent and in clones.
 * Method: guests/smp.c, whose other vCPUs check with every step that nothing of them was lost. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "base/util.h"
#include "guests/smp.h"
#include "harness.h"
#include "tap_main.h"

#define VCPUS 3
#define ROUNDS 20
#define LOOK_MS 20
#define YOUNG_MS 400
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

#define MSR_TSC 0x10u

static uint64_t msr(const struct vcpu_state *vcpu, uint32_t index)
{
    for (uint32_t i = 0; i < vcpu->msr_count; i++)
        if (vcpu->msr[i].index == index)
            return vcpu->msr[i].data;
    ck_abort_msg("the state has no MSR 0x%x", index);
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
        ck_assert_uint_eq(msr(&image.vm.vcpu[i], MSR_TSC), msr(&image.vm.vcpu[0], MSR_TSC));
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

/* ---- What a vCPU has that its program does not show ---- */

#define LAPIC_TASK_PRIORITY 0x80
#define LAPIC_SPURIOUS 0xf0
#define LAPIC_TIMER 0x320
#define LAPIC_INITIAL_COUNT 0x380
#define LAPIC_DIVIDER 0x3e0
#define LAPIC_ENABLED 0x1ffu
#define TIMER_MASKED (1u << 16)
#define TIMER_BY_DEADLINE (2u << 17)
#define MSR_DEADLINE 0x6e0u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define HOUR_TICKS                                                                                 \
    (3600ull * 1000000000) /* of any TSC that this is run with: some minutes at least */

static void set_msr(struct vcpu *vcpu, uint32_t index, uint64_t data)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } one = { .head = { .nmsrs = 1 }, .entry = { .index = index, .data = data } };

    ck_assert_int_eq(ioctl(vcpu->fd, KVM_SET_MSRS, &one), 1);
}

/* Each vCPU's own local APIC, with a timer that waits for a deadline or one that counts down. */
static void set_time(struct vcpu *vcpu, bool counts)
{
    const uint32_t values[][2] = {
        { LAPIC_TASK_PRIORITY, 0x10 * (vcpu->index + 1) },
        { LAPIC_SPURIOUS, LAPIC_ENABLED },
        { LAPIC_DIVIDER, 0xa }, /* by 128: it counts for a minute at the least */
        { LAPIC_TIMER, TIMER_MASKED | (counts ? 0 : TIMER_BY_DEADLINE) },
        { LAPIC_INITIAL_COUNT, counts ? UINT32_MAX - vcpu->index : 0 },
    };
    struct kvm_lapic_state lapic;

    ck_assert_int_eq(ioctl(vcpu->fd, KVM_GET_LAPIC, &lapic), 0);
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        memcpy(lapic.regs + values[i][0], &values[i][1], sizeof values[i][1]);
    ck_assert_int_eq(ioctl(vcpu->fd, KVM_SET_LAPIC, &lapic), 0);
    set_msr(vcpu, MSR_KERNEL_GS_BASE, 0x1000 * (vcpu->index + 1));
    if (!counts)
        set_msr(vcpu, MSR_DEADLINE, __rdtsc() + (vcpu->index + 1) * HOUR_TICKS);
}

static uint32_t lapic_word(const struct vcpu_state *vcpu, uint32_t offset)
{
    uint32_t word;

    memcpy(&word, vcpu->lapic.regs + offset, sizeof word);
    return word;
}

static void check_same(const struct vcpu_state *now, const struct vcpu_state *saved, bool counts)
{
    static const uint32_t words[] = { LAPIC_TASK_PRIORITY, LAPIC_SPURIOUS, LAPIC_TIMER,
                                      LAPIC_INITIAL_COUNT, LAPIC_DIVIDER };

    ck_assert_mem_eq(&now->regs, &saved->regs, sizeof now->regs);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        ck_assert_uint_eq(lapic_word(now, words[i]), lapic_word(saved, words[i]));
    ck_assert_uint_eq(msr(now, MSR_KERNEL_GS_BASE), msr(saved, MSR_KERNEL_GS_BASE));
    if (counts)
        return;
    /* The deadline is moved with the TSC: more than half of the time to it is still to come. */
    ck_assert_uint_gt(msr(now, MSR_DEADLINE), msr(now, MSR_TSC));
    ck_assert_uint_gt(msr(now, MSR_DEADLINE) - msr(now, MSR_TSC),
                      (msr(saved, MSR_DEADLINE) - msr(saved, MSR_TSC)) / 2);
}

/* The other vCPUs are kept stopped from the WAKE to the next PARK: what the second snapshot has of
 * them is what the clone loaded. */
static void save_clone(bool counts)
{
    struct machine_image image, again;

    harness_create_smp(&h, "smp", VCPUS);
    for (uint32_t i = 0; i < VCPUS; i++)
        set_time(&h.machine.vm.vcpu[i], counts);
    harness_start_parked(&h);
    int memory_fd = harness_snapshot(&h, &image);
    harness_create_clone(&second, memory_fd, &image);
    harness_start(&second);
    harness_wake(&second, DOORBELL_OP_LEASE,
                 DOORBELL_FLAG_PARK_AGAIN | DOORBELL_FLAG_SKIP_KERNEL_WORK);
    harness_expect(&second, CONTROL_AWAKE);
    harness_expect(&second, CONTROL_PARKED);
    int again_fd = harness_snapshot(&second, &again);
    for (uint32_t i = 1; i < VCPUS; i++)
        check_same(&again.vm.vcpu[i], &image.vm.vcpu[i], counts);
    harness_destroy(&second);
    close(again_fd);
    close(memory_fd);
    machine_image_fini(&again);
    machine_image_fini(&image);
}

START_TEST(a_clone_that_parks_again_has_all_vcpus_loaded)
{
    save_clone(false);
}
END_TEST

START_TEST(timers_that_count_are_loaded_too)
{
    save_clone(true);
}
END_TEST

/* KVM before Linux 6.8 takes a TSC that is written within a second of what the vCPU has by itself for
 * an attempt to get in step with it: a clone made soon after its snapshot, which was made soon after
 * the boot, would be thrown back to its own start. */
START_TEST(a_young_vms_tsc_goes_on_where_it_was)
{
    struct machine_image image, again;

    harness_create_smp(&h, "smp", VCPUS);
    if (h.kvm.software_only)
        return; /* guests have the host's TSC there */
    harness_start_parked(&h);
    sleep_ms(YOUNG_MS);
    int memory_fd = harness_snapshot(&h, &image);
    harness_create_clone(&second, memory_fd, &image);
    harness_start(&second);
    harness_wake(&second, DOORBELL_OP_LEASE, DOORBELL_FLAG_PARK_AGAIN);
    harness_expect(&second, CONTROL_AWAKE);
    harness_expect(&second, CONTROL_PARKED);
    int again_fd = harness_snapshot(&second, &again);
    for (uint32_t i = 0; i < VCPUS; i++) {
        const uint64_t was = msr(&image.vm.vcpu[i], MSR_TSC), is = msr(&again.vm.vcpu[i], MSR_TSC);

        ck_assert_uint_ge(is, was);
        ck_assert_uint_lt(is - was, 1ull << 50); /* nor far away */
    }
    harness_destroy(&second);
    close(again_fd);
    close(memory_fd);
    machine_image_fini(&again);
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
    tcase_add_test(tc, a_clone_that_parks_again_has_all_vcpus_loaded);
    tcase_add_test(tc, timers_that_count_are_loaded_too);
    tcase_add_test(tc, a_young_vms_tsc_goes_on_where_it_was);
    return tap_main(suite);
}
