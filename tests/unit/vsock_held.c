/* SPDX-License-Identifier: Apache-2.0 */
/* When the vsock device gives back what the driver sent: not each packet at once, which would be an
 * interrupt each, and never so late that the driver waits for it. */
#include <sys/socket.h>
#include <unistd.h>

#include "vsock_fixture.h"

START_TEST(one_interrupt_a_batch)
{
    struct fixture f;
    static uint8_t data[30000];
    struct vsock_packet packet;
    int fd;

    set_up(&f);
    uint32_t port = open_stream(&f, &fd);
    fake_vm_run(f.vm, 100);
    driver_interrupts(&f.driver);
    ck_assert_int_eq(write(fd, data, sizeof(data)), (ssize_t)sizeof(data));
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(driver_interrupts(&f.driver), 1);
    while (guest_receive(&f, &packet, NULL))
        ;
    driver_interrupts(&f.driver);
    /* A packet that calls for no answer does not interrupt for its own sake. */
    guest_send_data(&f, 5000, port, "x", 1);
    ck_assert_uint_eq(driver_interrupts(&f.driver), 0);
    for (unsigned i = 0; i < NUM; i++)
        guest_send_data(&f, 5000, port, "x", 1);
    ck_assert_uint_ge(f.driver.queue[VSOCK_QUEUE_TX].free_count, NUM - NUM / 4);
    ck_assert_uint_le(driver_interrupts(&f.driver), 5);
    close(fd);
    tear_down(&f);
}
END_TEST

/* Linux takes a socket for writable only when most of what it sent has come back. */
START_TEST(what_a_driver_sent_comes_back)
{
    static uint8_t data[40000], got[sizeof data];
    struct fixture f;
    int fd;

    set_up(&f);
    uint32_t port = open_stream(&f, &fd);
    for (unsigned i = 0; i < NUM; i++) {
        uint32_t bytes = i % 2 == 0 ? sizeof data : 9000;
        guest_send_data(&f, 5000, port, data, bytes);
        ck_assert_int_eq(recv(fd, got, bytes, MSG_WAITALL), (ssize_t)bytes);
        ck_assert_uint_ge(f.driver.queue[VSOCK_QUEUE_TX].free_count, i % 2 == 0 ? NUM : NUM - 1);
    }
    close(fd);
    tear_down(&f);
}
END_TEST

/* As Linux sends from memory in pieces, a page each: it waits for an interrupt when there is no room. */
START_TEST(a_driver_is_not_left_without_descriptors)
{
    static uint8_t data[4000], got[sizeof data];
    struct fixture f;
    int fd;

    set_up(&f);
    uint32_t port = open_stream(&f, &fd);
    struct vsock_packet packet = packet_of(VSOCK_OP_RW, 5000, port);
    packet.bytes = sizeof data;
    for (unsigned i = 0; i < 3 * NUM; i++) {
        guest_send_pieces(&f, &packet, data, sizeof data, NUM / 4 + 1);
        ck_assert_uint_ge(f.driver.queue[VSOCK_QUEUE_TX].free_count, NUM - NUM / 4);
        ck_assert_int_eq(recv(fd, got, sizeof got, MSG_WAITALL), (ssize_t)sizeof got);
    }
    close(fd);
    tear_down(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vsock_held");
    TCase *tests = tap_case(suite, "held");

    tcase_add_test(tests, one_interrupt_a_batch);
    tcase_add_test(tests, what_a_driver_sent_comes_back);
    tcase_add_test(tests, a_driver_is_not_left_without_descriptors);
    return tap_main(suite);
}
