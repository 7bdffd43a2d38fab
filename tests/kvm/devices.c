/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what a guest has asked of a virtio device is done exactly once, though the machine is saved
 * in the middle of it and goes on in another process's memory, or in several.
 * Method: the guest devices.c asks all devices for something and parks; machines are restored from
 * that, and from a restored one again; the guest checks what came of it, this side what left it. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/util.h"
#include "guests/devices.h"
#include "harness.h"
#include "tap_main.h"

#define DISK_BYTES (1u << 20)
#define SECTOR_BYTES 512u
#define FRAME_LENGTH_BYTES 4u

/* One machine with all devices, and our ends of what it is connected to. */
struct vm_under_test {
    struct harness h;
    int net_fd;   /* passt's end of its card */
    int delta_fd; /* what it writes to its disk */
};

static struct vm_under_test original;
static int base_fd;

static void setup(void)
{
    base_fd = memfd_create("base", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(base_fd, DISK_BYTES), 0);
}

/* lower_fd: the delta that the disk had when the machine was saved; -1: none. */
static struct harness_devices connect_devices(struct vm_under_test *vm, int lower_fd)
{
    struct harness_devices devices = { .disk = { .base_fd = dup(base_fd) } };
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    devices.net_fd = pair[0];
    vm->net_fd = pair[1];
    vm->delta_fd = memfd_create("delta", MFD_CLOEXEC);
    if (lower_fd >= 0)
        devices.disk.delta_fd[devices.disk.delta_count++] = dup(lower_fd);
    devices.disk.delta_fd[devices.disk.delta_count++] = dup(vm->delta_fd);
    return devices;
}

static void vm_close(struct vm_under_test *vm)
{
    harness_destroy(&vm->h);
    close_fd(&vm->net_fd);
    close_fd(&vm->delta_fd);
}

static void start_original(void)
{
    const struct harness_devices devices = connect_devices(&original, -1);

    harness_create_devices(&original.h, "devices", &devices);
    harness_start_parked(&original.h);
}

static void start_clone(struct vm_under_test *clone, int memory_fd, int lower_fd,
                        const struct machine_image *image)
{
    const struct harness_devices devices = connect_devices(clone, lower_fd);

    harness_create_clone_devices(&clone->h, memory_fd, image, &devices);
    harness_start(&clone->h);
}

static void send_frame(struct vm_under_test *vm, uint8_t round)
{
    uint8_t frame[FRAME_LENGTH_BYTES + DEVICES_FRAME_BYTES] = { 0, 0, 0, DEVICES_FRAME_BYTES };

    memset(frame + FRAME_LENGTH_BYTES, (uint8_t)~round, DEVICES_FRAME_BYTES);
    frame[FRAME_LENGTH_BYTES] = round;
    ck_assert_int_eq(send(vm->net_fd, frame, sizeof frame, 0), sizeof frame);
}

static void expect_frame(struct vm_under_test *vm, uint8_t round)
{
    uint8_t frame[FRAME_LENGTH_BYTES + DEVICES_FRAME_BYTES];

    ck_assert_int_eq(recv(vm->net_fd, frame, sizeof frame, MSG_WAITALL), sizeof frame);
    ck_assert_uint_eq(frame[FRAME_LENGTH_BYTES - 1], DEVICES_FRAME_BYTES);
    ck_assert_uint_eq(frame[FRAME_LENGTH_BYTES], round);
    for (unsigned i = FRAME_LENGTH_BYTES + 1; i < sizeof frame; i++)
        ck_assert_uint_eq(frame[i], (uint8_t)~round);
}

static void expect_no_frame(struct vm_under_test *vm)
{
    uint8_t byte;

    ck_assert_int_eq(recv(vm->net_fd, &byte, 1, MSG_DONTWAIT), -1);
}

/* Wakes a parked machine whose guest has asked for `round`; it parks with the next one asked. */
static void go_on(struct vm_under_test *vm, uint8_t round)
{
    send_frame(vm, round);
    harness_wake(&vm->h, DOORBELL_OP_RESTORE, DOORBELL_FLAG_PARK_AGAIN);
    harness_expect(&vm->h, CONTROL_AWAKE);
    harness_expect_ready(&vm->h, 0);
    harness_expect(&vm->h, CONTROL_PARKED);
}

START_TEST(devices_work_without_a_snapshot)
{
    start_original();
    for (uint8_t round = 1; round <= 4; round++) {
        expect_frame(&original, round);
        go_on(&original, round);
    }
    vm_close(&original);
}
END_TEST

/* Each clone goes on where the original was, and none of it reaches another. */
START_TEST(requests_under_way_are_done_in_every_clone)
{
    static struct vm_under_test clones[3];
    struct machine_image image;

    start_original();
    int memory_fd = harness_snapshot(&original.h, &image);
    expect_frame(&original, 1); /* it left before the machine was saved: with no clone again */
    for (unsigned i = 0; i < ARRAY_LEN(clones); i++)
        start_clone(&clones[i], memory_fd, original.delta_fd, &image);
    for (unsigned i = 0; i < ARRAY_LEN(clones); i++) {
        expect_no_frame(&clones[i]);
        go_on(&clones[i], 1);
        expect_frame(&clones[i], 2);
        go_on(&clones[i], 2);
        expect_frame(&clones[i], 3);
    }
    go_on(&original, 1);
    expect_frame(&original, 2);
    for (unsigned i = 0; i < ARRAY_LEN(clones); i++)
        vm_close(&clones[i]);
    vm_close(&original);
    close(memory_fd);
    machine_image_fini(&image);
}
END_TEST

START_TEST(a_clone_is_saved_in_the_middle_again)
{
    static struct vm_under_test first, second;
    struct machine_image image, later;

    start_original();
    int memory_fd = harness_snapshot(&original.h, &image);
    start_clone(&first, memory_fd, -1, &image);
    vm_close(&original);
    /* Without the delta that its base is: what was written is not there, and the guest says so. */
    send_frame(&first, 1);
    harness_wake(&first.h, DOORBELL_OP_RESTORE, DOORBELL_FLAG_PARK_AGAIN);
    harness_expect(&first.h, CONTROL_AWAKE);
    harness_expect_ready(&first.h, DEVICES_FAILED_DISK);
    harness_expect(&first.h, CONTROL_PARKED);
    vm_close(&first);
    machine_image_fini(&image);
    close(memory_fd);

    start_original();
    memory_fd = harness_snapshot(&original.h, &image);
    start_clone(&first, memory_fd, original.delta_fd, &image);
    go_on(&first, 1);
    /* Its round 2 is under way. Two deltas below would be merged by whoever keeps them. */
    int later_fd = harness_snapshot(&first.h, &later);
    start_clone(&second, later_fd, first.delta_fd, &later);
    go_on(&second, 2);
    expect_frame(&second, 3);
    vm_close(&second);
    vm_close(&first);
    vm_close(&original);
    close(memory_fd);
    close(later_fd);
    machine_image_fini(&image);
    machine_image_fini(&later);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("devices");
    TCase *tc = tap_case(suite, "devices");

    harness_require_kvm();
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, devices_work_without_a_snapshot);
    tcase_add_test(tc, requests_under_way_are_done_in_every_clone);
    tcase_add_test(tc, a_clone_is_saved_in_the_middle_again);
    return tap_main(suite);
}
