/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the machine does what vm.h, guest_abi.h and vm_state.h promise, on the real KVM.
 * Method: small guest programs (guests/) drive every exit kind, the UART, the i8042 and the
 * doorbell; snapshots are taken in memory and restored into new machines, whose guest checks its
 * own registers before it answers rightly. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <x86intrin.h>

#include "base/util.h"
#include "harness.h"
#include "machine/machine_internal.h"
#include "tap_main.h"

#define MSR_TSC 0x10u
#define MSR_TSC_DEADLINE 0x6e0u
#define APIC_SPIV 0xf0
#define APIC_LVTT 0x320

static struct harness h;

static void teardown(void)
{
    harness_destroy(&h);
}

START_TEST(unknown_ports_are_counted_and_read_as_ones)
{
    harness_create(&h, "ports");
    harness_start(&h);
    harness_expect(&h, CONTROL_BANNER);
    ck_assert_int_eq(harness_join(&h), EXIT_REASON_GUEST_POWEROFF);
    ck_assert_uint_eq(atomic_load(&h.machine.vm.unknown_pio), 5);
    ck_assert_uint_eq(atomic_load(&h.machine.vm.doorbell.ignored), 4);
}
END_TEST

START_TEST(mmio_reaches_devices_and_the_gap_reads_as_ones)
{
    harness_create(&h, "mmio");
    harness_start(&h);
    harness_expect(&h, CONTROL_BANNER);
    ck_assert_int_eq(harness_join(&h), EXIT_REASON_GUEST_POWEROFF);
    ck_assert_uint_eq(atomic_load(&h.machine.vm.unknown_mmio), 2);
}
END_TEST

static void read_exactly(int fd, char *buffer, size_t bytes)
{
    for (size_t got = 0; got < bytes;) {
        ssize_t n = read(fd, buffer + got, bytes - got);
        ck_assert_int_gt(n, 0);
        got += (size_t)n;
    }
}

START_TEST(uart_prints_and_takes_input)
{
    int pair[2];
    char text[16] = "";
    struct err err;

    harness_create(&h, "uart");
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(uart_attach(h.machine.uart, pair[1], false, &err), 0);
    harness_start(&h);
    read_exactly(pair[0], text, 3);
    ck_assert_str_eq(text, "hi\n");
    ck_assert_int_eq(write(pair[0], "abcq", 4), 4);
    read_exactly(pair[0], text, 4);
    ck_assert_mem_eq(text, "abcq", 4);
    ck_assert_int_eq(harness_join(&h), EXIT_REASON_GUEST_POWEROFF);
}
END_TEST

START_TEST(vectors_are_saved_and_loaded_for_a_kernel_that_can_not)
{
    harness_create(&h, "vectors");
    harness_start(&h);
    if (h.kvm.software_only) {
        harness_expect(&h, CONTROL_BANNER);
        ck_assert_int_eq(harness_join(&h), EXIT_REASON_GUEST_MISBEHAVED);
    } else {
        ck_assert_int_eq(harness_join(&h),
                         EXIT_REASON_GUEST_POWEROFF); /* there are no such ports */
        ck_assert_uint_gt(atomic_load(&h.machine.vm.unknown_pio), 0);
    }
}
END_TEST

START_TEST(triple_fault_ends_the_vm_with_its_reason)
{
    harness_create(&h, "triple_fault");
    harness_start(&h);
    ck_assert_int_eq(harness_join(&h), EXIT_REASON_TRIPLE_FAULT);
}
END_TEST

START_TEST(park_wake_answer_and_again)
{
    harness_create(&h, "park");
    harness_start_parked(&h);
    harness_wake(&h, DOORBELL_OP_RESTORE, DOORBELL_FLAG_PARK_AGAIN);
    harness_expect(&h, CONTROL_AWAKE);
    harness_expect_ready(&h, 1);
    for (uint32_t round = 0; round < 1000; round++) {
        harness_expect(&h, CONTROL_PARKED);
        harness_wake(&h, DOORBELL_OP_LEASE, DOORBELL_FLAG_PARK_AGAIN);
        harness_expect(&h, CONTROL_AWAKE);
    }
}
END_TEST

START_TEST(park_that_nobody_allowed_is_ignored)
{
    harness_create(&h, "park");
    harness_start_parked(&h);
    harness_wake(&h, DOORBELL_OP_LEASE, 0);
    harness_expect(&h, CONTROL_AWAKE);
    while (atomic_load(&h.machine.vm.doorbell.ignored) < 1000)
        usleep(1000);
    ck_assert_int_eq(atomic_load(&h.machine.vm.phase), VM_RUNNING);
}
END_TEST

START_TEST(a_leased_guest_rests_where_its_kernel_is_emulated)
{
    static const struct {
        enum doorbell_op op;
        enum control_type last_word; /* the guest's park is ignored, and counted, after it */
    } ways[] = { { DOORBELL_OP_LEASE, CONTROL_AWAKE }, { DOORBELL_OP_RESTORE, CONTROL_READY } };

    for (unsigned i = 0; i < ARRAY_LEN(ways); i++) {
        harness_create(&h, "park");
        harness_start_parked(&h);
        harness_wake(&h, ways[i].op, 0);
        struct control_msg word = harness_expect(&h, CONTROL_AWAKE);
        if (ways[i].last_word != CONTROL_AWAKE)
            word = harness_expect_ready(&h, 1);
        while (atomic_load(&h.machine.vm.doorbell.ignored) == 0)
            usleep(100);
        if (h.kvm.software_only)
            ck_assert_uint_ge(now_ns() - word.u.progress.at_ns, 10 * NS_PER_MS);
        harness_destroy(&h);
    }
}
END_TEST

START_TEST(who_is_told_to_rests_longer)
{
    struct control_msg go = { .type = CONTROL_GO, .u.go.rest_ms = 60 };

    harness_create(&h, "park");
    harness_start_parked(&h);
    harness_wake(&h, DOORBELL_OP_RESTORE, DOORBELL_FLAG_HOLD);
    harness_expect(&h, CONTROL_AWAKE);
    ck_assert_int_eq(control_send(h.bell[0], &go, NULL, 0), 0);
    struct control_msg ready = harness_expect_ready(&h, 1);
    while (atomic_load(&h.machine.vm.doorbell.ignored) == 0)
        usleep(100);
    if (h.kvm.software_only)
        ck_assert_uint_ge(now_ns() - ready.u.progress.at_ns, 60 * NS_PER_MS);
}
END_TEST

static void *want_the_guest(void *vm)
{
    usleep(10000);
    vm_irq_pulse(vm, UART_GSI);
    return NULL;
}

START_TEST(a_rest_ends_when_the_guest_is_wanted)
{
    const unsigned too_long_ms = HARNESS_TIMEOUT_MS / 2;
    struct vm *vm = &h.machine.vm;
    uint64_t start_ns;
    pthread_t other;

    harness_create(&h, "park");
    start_ns = now_ns();
    vm_rest_begin(vm);
    vm_rest(vm, 20);
    ck_assert_uint_ge(now_ns() - start_ns, 20 * NS_PER_MS);

    start_ns = now_ns();
    vm_rest_begin(vm);
    vm_irq_pulse(vm, UART_GSI); /* just before it rests */
    vm_rest(vm, too_long_ms);
    vm_rest_begin(vm);
    ck_assert_int_eq(pthread_create(&other, NULL, want_the_guest, vm), 0);
    vm_rest(vm, too_long_ms);
    pthread_join(other, NULL);
    ck_assert_uint_lt(now_ns() - start_ns, too_long_ms * NS_PER_MS);
}
END_TEST

START_TEST(wrong_answer_ends_the_vm)
{
    harness_create(&h, "wrong");
    harness_start_parked(&h);
    harness_wake(&h, DOORBELL_OP_LEASE, 0);
    ck_assert_int_eq(harness_join(&h), EXIT_REASON_BAD_ANSWER);
}
END_TEST

START_TEST(park_in_place_of_the_answer_ends_the_vm)
{
    harness_create(&h, "evade");
    harness_start_parked(&h);
    harness_wake(&h, DOORBELL_OP_LEASE, DOORBELL_FLAG_PARK_AGAIN);
    ck_assert_int_eq(harness_join(&h), EXIT_REASON_BAD_ANSWER);
}
END_TEST

START_TEST(doorbell_flood_costs_only_its_own_time)
{
    harness_create(&h, "flood");
    harness_start(&h);
    /* Nobody reads: more words than the socket holds would stop it. */
    ck_assert_int_eq(harness_join(&h), EXIT_REASON_GUEST_POWEROFF);
    harness_expect(&h, CONTROL_TROUBLE);
    harness_expect(&h, CONTROL_BANNER);
    ck_assert_uint_eq(atomic_load(&h.machine.vm.doorbell.ignored), 100000 + 24999);
}
END_TEST

/* Restores `image` into a new machine and checks that its guest answers rightly. */
static void check_clone(int memory_fd, const struct machine_image *image)
{
    static struct harness clone;

    harness_create_clone(&clone, memory_fd, image);
    harness_start(&clone);
    harness_wake(&clone, DOORBELL_OP_LEASE, 0);
    struct control_msg awake = harness_expect(&clone, CONTROL_AWAKE);
    ck_assert_uint_gt(awake.u.progress.load_ns, 0);
    ck_assert_uint_gt(awake.u.progress.run_ns, 0);
    harness_destroy(&clone);
}

START_TEST(registers_and_vectors_survive_a_snapshot)
{
    struct machine_image image;

    harness_create(&h, "registers");
    harness_start_parked(&h);
    int memory_fd = harness_snapshot(&h, &image);
    for (int i = 0; i < 3; i++)
        check_clone(memory_fd, &image);
    /* And the first one, which never stopped being itself. */
    harness_wake(&h, DOORBELL_OP_LEASE, 0);
    harness_expect(&h, CONTROL_AWAKE);
    close(memory_fd);
    machine_image_fini(&image);
}
END_TEST

START_TEST(clones_write_to_their_own_memory)
{
    static struct harness clone[2];
    struct machine_image image;

    harness_create(&h, "park");
    harness_start_parked(&h);
    int memory_fd = harness_snapshot(&h, &image);
    for (int i = 0; i < 2; i++) {
        harness_create_clone(&clone[i], memory_fd, &image);
        harness_start(&clone[i]);
        for (uint32_t round = 1; round <= 5; round++) {
            harness_wake(&clone[i], DOORBELL_OP_RESTORE, DOORBELL_FLAG_PARK_AGAIN);
            harness_expect(&clone[i], CONTROL_AWAKE);
            harness_expect_ready(&clone[i], round);
            harness_expect(&clone[i], CONTROL_PARKED);
        }
    }
    harness_destroy(&clone[0]);
    harness_destroy(&clone[1]);
    close(memory_fd);
    machine_image_fini(&image);
}
END_TEST

START_TEST(pending_interrupt_and_chips_survive_a_snapshot)
{
    struct vm_state again;
    struct machine_image image;
    static struct harness clone;
    struct err err;
    const char *step;

    harness_create(&h, "park");
    harness_start_parked(&h);
    /* A line raised while parked stays pending in the PIC's IRR; GSI 4 is the UART's. */
    vm_irq_level(&h.machine.vm, UART_GSI, true);
    int memory_fd = harness_snapshot(&h, &image);
    ck_assert(image.vm.pic_master.chip.pic.irr & (1u << UART_GSI));
    harness_create_clone(&clone, memory_fd, &image);
    ck_assert_int_eq(vm_state_prepare(&clone.machine.vm, &image.vm, &step), 0);
    ck_assert_int_eq(vm_state_load_time(&clone.machine.vm, &image.vm, &step), 0);
    ck_assert_int_eq(vm_state_save(&clone.machine.vm, &again, &err), 0);
    ck_assert_mem_eq(&again.pic_master.chip.pic, &image.vm.pic_master.chip.pic,
                     sizeof again.pic_master.chip.pic);
    ck_assert_mem_eq(&again.ioapic.chip.ioapic, &image.vm.ioapic.chip.ioapic,
                     sizeof again.ioapic.chip.ioapic);
    ck_assert_mem_eq(&again.vcpu[0].lapic, &image.vm.vcpu[0].lapic, sizeof again.vcpu[0].lapic);
    ck_assert_uint_ge(again.clock.clock, image.vm.clock.clock);
    vm_state_fini(&again);
    harness_destroy(&clone);
    close(memory_fd);
    machine_image_fini(&image);
}
END_TEST

static struct kvm_msr_entry *msr_of(struct vcpu_state *state, uint32_t index)
{
    for (uint32_t i = 0; i < state->msr_count; i++) {
        if (state->msr[i].index == index)
            return &state->msr[i];
    }
    ck_abort_msg("MSR 0x%x is not saved", index);
}

START_TEST(a_tick_that_is_due_comes_later_where_the_kernel_is_emulated)
{
    const uint32_t lvt_deadline = 2u << 17 | 0xec, svr_on = 0x1ff;
    struct vm_state again;
    struct machine_image image;
    static struct harness clone;
    struct err err;
    const char *step;

    harness_create(&h, "park");
    harness_start_parked(&h);
    int memory_fd = harness_snapshot(&h, &image);
    struct vcpu_state *saved = &image.vm.vcpu[0];
    memcpy(&saved->lapic.regs[APIC_LVTT], &lvt_deadline, sizeof lvt_deadline);
    memcpy(&saved->lapic.regs[APIC_SPIV], &svr_on, sizeof svr_on);
    msr_of(saved, MSR_TSC_DEADLINE)->data = msr_of(saved, MSR_TSC)->data + 1;
    harness_create_clone(&clone, memory_fd, &image);
    struct vcpu *vcpu = &clone.machine.vm.vcpu[0];
    uint64_t least = (uint64_t)saved->tsc_khz * 40;
    ck_assert_int_eq(vm_state_prepare(&clone.machine.vm, &image.vm, &step), 0);
    for (unsigned way = 0; way < 2; way++) { /* by its restore, and once it may go on */
        uint64_t before = __rdtsc();
        if (way == 0)
            ck_assert_int_eq(vm_state_load_time(&clone.machine.vm, &image.vm, &step), 0);
        else
            ck_assert(vcpu_tick_put_off(vcpu));
        ck_assert_int_eq(vm_state_save(&clone.machine.vm, &again, &err), 0);
        if (clone.kvm.software_only)
            ck_assert_uint_ge(msr_of(&again.vcpu[0], MSR_TSC_DEADLINE)->data, before + least);
        else
            ck_assert_uint_lt(msr_of(&again.vcpu[0], MSR_TSC_DEADLINE)->data, before + least);
        vm_state_fini(&again);
        usleep(1000);
    }
    harness_destroy(&clone);
    close(memory_fd);
    machine_image_fini(&image);
}
END_TEST

/* Devices are loaded, and raise interrupts, before KVM's chips are. */
START_TEST(interrupt_raised_by_a_loading_device_is_not_lost)
{
    struct vm_state again;
    struct machine_image image;
    static struct harness clone;
    struct err err;
    const char *step;

    harness_create(&h, "park");
    harness_start_parked(&h);
    int memory_fd = harness_snapshot(&h, &image);
    ck_assert(!(image.vm.pic_master.chip.pic.irr & (1u << UART_GSI)));
    harness_create_clone(&clone, memory_fd, &image);
    vm_irq_pulse(&clone.machine.vm, UART_GSI);
    ck_assert_int_eq(vm_state_prepare(&clone.machine.vm, &image.vm, &step), 0);
    ck_assert_int_eq(vm_state_load_time(&clone.machine.vm, &image.vm, &step), 0);
    vm_irqs_release(&clone.machine.vm);
    ck_assert_int_eq(vm_state_save(&clone.machine.vm, &again, &err), 0);
    ck_assert(again.pic_master.chip.pic.irr & (1u << UART_GSI));
    vm_state_fini(&again);
    harness_destroy(&clone);
    close(memory_fd);
    machine_image_fini(&image);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("machine");
    TCase *tc = tap_case(suite, "machine");

    harness_require_kvm();
    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_test(tc, unknown_ports_are_counted_and_read_as_ones);
    tcase_add_test(tc, mmio_reaches_devices_and_the_gap_reads_as_ones);
    tcase_add_test(tc, uart_prints_and_takes_input);
    tcase_add_test(tc, vectors_are_saved_and_loaded_for_a_kernel_that_can_not);
    tcase_add_test(tc, triple_fault_ends_the_vm_with_its_reason);
    tcase_add_test(tc, park_wake_answer_and_again);
    tcase_add_test(tc, park_that_nobody_allowed_is_ignored);
    tcase_add_test(tc, a_leased_guest_rests_where_its_kernel_is_emulated);
    tcase_add_test(tc, who_is_told_to_rests_longer);
    tcase_add_test(tc, a_rest_ends_when_the_guest_is_wanted);
    tcase_add_test(tc, wrong_answer_ends_the_vm);
    tcase_add_test(tc, park_in_place_of_the_answer_ends_the_vm);
    tcase_add_test(tc, doorbell_flood_costs_only_its_own_time);
    tcase_add_test(tc, registers_and_vectors_survive_a_snapshot);
    tcase_add_test(tc, clones_write_to_their_own_memory);
    tcase_add_test(tc, pending_interrupt_and_chips_survive_a_snapshot);
    tcase_add_test(tc, a_tick_that_is_due_comes_later_where_the_kernel_is_emulated);
    tcase_add_test(tc, interrupt_raised_by_a_loading_device_is_not_lost);
    return tap_main(suite);
}
