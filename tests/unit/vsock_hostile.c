/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: packets and rings that break the rules end a connection or the device, never the VMM; a
 * reset mends it; a device moved with its saved state goes on, and tells the guest of connections
 * that were lost.
 * Method: a scripted guest (virtio_driver) on one side, real Unix sockets on the other.
 */
#include "vsock_fixture.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"

/* ---- Broken rules. ---- */

/* source CID, destination CID, type, op, payload bytes claimed, op of the answer (0: silence) */
static const struct {
    uint32_t src_cid, dst_cid;
    uint16_t type, op;
    uint32_t bytes, answer;
} bad_packets[] = {
    { 3, 2, 2, VSOCK_OP_REQUEST, 0, VSOCK_OP_RST },
    { 3, 5, 1, VSOCK_OP_REQUEST, 0, VSOCK_OP_RST },
    { 4, 2, 1, VSOCK_OP_REQUEST, 0, 0 },
    { 3, 2, 1, VSOCK_OP_RW, 1, VSOCK_OP_RST },
    { 3, 2, 1, VSOCK_OP_RW, UINT32_MAX, VSOCK_OP_RST },
    { 3, 2, 1, 0, 0, VSOCK_OP_RST },
    { 3, 2, 1, 99, 0, VSOCK_OP_RST },
    { 3, 2, 1, VSOCK_OP_RW, 0, VSOCK_OP_RST },
    { 3, 2, 1, VSOCK_OP_SHUTDOWN, 0, VSOCK_OP_RST },
    { 3, 2, 1, VSOCK_OP_RST, 0, 0 },
};

START_TEST(bad_packet_is_answered)
{
    struct fixture f;

    set_up(&f);
    struct vsock_packet packet = { .src_cid = bad_packets[_i].src_cid,
                                   .dst_cid = bad_packets[_i].dst_cid,
                                   .type = bad_packets[_i].type,
                                   .op = bad_packets[_i].op,
                                   .bytes = bad_packets[_i].bytes };
    guest_send_raw(&f, &packet, NULL, 0);
    if (bad_packets[_i].answer)
        expect(&f, (uint16_t)bad_packets[_i].answer);
    expect_nothing(&f);
    ck_assert(!(driver_status(&f.driver) & VIRTIO_STATUS_NEEDS_RESET));
    tear_down(&f);
}
END_TEST

START_TEST(short_packet_is_ignored)
{
    struct fixture f;

    set_up(&f);
    const struct driver_buffer buffer = { f.tx_gpa, 43 };
    driver_add(&f.driver, VSOCK_QUEUE_TX, &buffer, 1, 0);
    driver_notify(&f.driver, VSOCK_QUEUE_TX);
    expect_nothing(&f);
    ck_assert_uint_eq(refused(&f), 1);
    tear_down(&f);
}
END_TEST

START_TEST(rx_buffer_too_small_breaks_the_device)
{
    struct fixture f;

    set_up_with(&f, 0);
    const struct driver_buffer buffer = { f.tx_gpa, 44 };
    driver_add(&f.driver, VSOCK_QUEUE_RX, &buffer, 0, 1);
    int fd = host_connect(&f, "CONNECT 5000\n");
    host_expect_eof(&f, fd);
    ck_assert(driver_status(&f.driver) & VIRTIO_STATUS_NEEDS_RESET);
    close(fd);
    start_guest(&f, 16); /* a reset mends it */
    open_stream(&f, &fd);
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(reset_drops_connections)
{
    struct fixture f;
    int fd;

    set_up(&f);
    open_stream(&f, &fd);
    start_guest(&f, 16);
    host_expect_eof(&f, fd);
    ck_assert_uint_eq(connections(&f), 0);
    expect_nothing(&f);
    close(fd);
    open_stream(&f, &fd);
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(flood_of_refusals_is_bounded)
{
    struct fixture f;
    struct vsock_packet packet;
    unsigned rsts = 0;

    set_up_with(&f, 0);
    for (unsigned i = 0; i < 1000; i++)
        guest_send(&f, VSOCK_OP_REQUEST, i, 1);
    for (unsigned i = 0; i < 16; i++)
        post_rx(&f);
    driver_notify(&f.driver, VSOCK_QUEUE_RX);
    while (guest_receive(&f, &packet, NULL)) {
        ck_assert_uint_eq(packet.op, VSOCK_OP_RST);
        rsts++;
    }
    ck_assert_uint_eq(rsts, VSOCK_RST_MAX);
    tear_down(&f);
}
END_TEST

/* ---- Saved state. ---- */

/* Returns how many interrupts that was to the guest. */
static unsigned move_to_new(struct fixture *f)
{
    struct vsock *old = f->vsock;
    struct err err = { 0 };

    f->vsock = make_vsock(f);
    ck_assert_msg(fake_vm_move(vsock_device(old), vsock_device(f->vsock), &err) == 0, "%s",
                  err.msg);
    vsock_device(old)->ops->destroy(vsock_device(old));
    driver_follow(&f->driver, vsock_device(f->vsock));
    return driver_interrupts(&f->driver);
}

START_TEST(moved_without_connections_stays_silent)
{
    struct fixture f;
    uint16_t head;
    uint32_t bytes;
    int fd;

    set_up(&f);
    uint32_t old_port = open_stream(&f, &fd);
    close(fd);
    expect(&f, VSOCK_OP_RST);
    driver_interrupts(&f.driver);
    ck_assert_uint_eq(move_to_new(&f), 0);
    fake_vm_run(f.vm, 100);
    ck_assert(!driver_used(&f.driver, VSOCK_QUEUE_EVENT, &head, &bytes));
    uint32_t port = open_stream(&f, &fd); /* same rings, next indices */
    ck_assert_uint_ne(port, old_port);    /* of which the guest may still know */
    guest_send(&f, VSOCK_OP_RST, 5000, old_port);
    guest_send_data(&f, 5000, port, "moved", 5);
    host_expect(&f, fd, "moved");
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(moved_with_tx_chains_held)
{
    struct fixture f;
    int fd;

    set_up(&f);
    uint32_t port = open_stream(&f, &fd);
    guest_send(&f, VSOCK_OP_RST, 5000, port); /* calls for no answer */
    host_expect_eof(&f, fd);
    close(fd);
    ck_assert_uint_eq(f.driver.queue[VSOCK_QUEUE_TX].free_count, NUM - 2); /* RESPONSE, RST */
    driver_interrupts(&f.driver);
    ck_assert_uint_eq(move_to_new(&f), 0);
    reap_tx(&f);
    ck_assert_uint_eq(f.driver.queue[VSOCK_QUEUE_TX].free_count, NUM - 2);
    open_stream(&f, &fd); /* with what goes the other way, it comes back */
    guest_send(&f, VSOCK_OP_REQUEST, 1, 1);
    expect(&f, VSOCK_OP_RST);
    ck_assert_uint_eq(f.driver.queue[VSOCK_QUEUE_TX].free_count, NUM);
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(moved_with_a_connection_tells_the_guest)
{
    struct fixture f;
    uint16_t head;
    uint32_t bytes;
    int fd;

    set_up(&f);
    uint32_t port = open_stream(&f, &fd);
    memset(driver_at(&f.driver, f.event_gpa), 0xff, 4);
    ck_assert_uint_ge(move_to_new(&f), 1);
    ck_assert(driver_used(&f.driver, VSOCK_QUEUE_EVENT, &head, &bytes));
    ck_assert_uint_eq(bytes, 4);
    ck_assert_mem_eq(driver_at(&f.driver, f.event_gpa), "\0\0\0\0", 4);
    host_expect_eof(&f, fd);
    close(fd);
    guest_send_data(&f, 5000, port, "lost", 4);
    expect(&f, VSOCK_OP_RST);
    open_stream(&f, &fd);
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(bad_state_is_refused)
{
    struct fixture f;
    struct err err = { 0 };
    struct vsock *other = NULL;
    const struct vsock_config config = { .guest_cid = 4, .dir_fd = -1, .listen_fd = -1 };

    set_up(&f);
    ck_assert_int_eq(vsock_create(f.vm, 1, &config, &other, &err), 0);
    ck_assert_int_eq(fake_vm_move(vsock_device(f.vsock), vsock_device(other), &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "CID"));
    vsock_device(other)->ops->destroy(vsock_device(other));
    tear_down(&f);
}
END_TEST

static void hostile_add(Suite *suite)
{
    TCase *tests = tap_case(suite, "hostile");

    tcase_add_loop_test(tests, bad_packet_is_answered, 0, ARRAY_LEN(bad_packets));
    tcase_add_test(tests, short_packet_is_ignored);
    tcase_add_test(tests, rx_buffer_too_small_breaks_the_device);
    tcase_add_test(tests, reset_drops_connections);
    tcase_add_test(tests, flood_of_refusals_is_bounded);
}

static void moved_add(Suite *suite)
{
    TCase *tests = tap_case(suite, "moved");

    tcase_add_test(tests, moved_without_connections_stays_silent);
    tcase_add_test(tests, moved_with_tx_chains_held);
    tcase_add_test(tests, moved_with_a_connection_tells_the_guest);
    tcase_add_test(tests, bad_state_is_refused);
}

int main(void)
{
    Suite *suite = suite_create("vsock_hostile");

    hostile_add(suite);
    moved_add(suite);
    return tap_main(suite);
}
