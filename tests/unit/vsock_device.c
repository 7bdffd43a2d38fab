/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: streams cross the vsock device whole and in order in both directions, within the credit of
 * either side; every refusal, half close, hang-up and rule broken by the guest ends as it should.
 * Method: a scripted guest (virtio_driver) on one side, real Unix sockets on the other.
 */
#include "vsock_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/util.h"

/* ---- Connecting. ---- */

START_TEST(config_space_has_the_cid)
{
    struct fixture f;

    set_up(&f);
    ck_assert_uint_eq(fake_read(f.driver.dev, 0x100, 4), 3);
    ck_assert_uint_eq(fake_read(f.driver.dev, 0x104, 4), 0);
    ck_assert_uint_eq(fake_read(f.driver.dev, 0x008, 4), 19);
    tear_down(&f);
}
END_TEST

START_TEST(host_connects_and_talks)
{
    struct fixture f;
    struct vsock_packet packet;
    uint8_t data[RX_BYTES];
    int fd;

    set_up(&f);
    uint32_t port = open_stream(&f, &fd);
    ck_assert_uint_eq(connections(&f), 1);
    ck_assert_int_eq(write(fd, "hello", 5), 5);
    ck_assert(guest_receive(&f, &packet, data));
    ck_assert_uint_eq(packet.op, VSOCK_OP_RW);
    ck_assert_uint_eq(packet.src_port, port);
    ck_assert_uint_eq(packet.bytes, 5);
    ck_assert_mem_eq(data, "hello", 5);
    guest_send_data(&f, 5000, port, "world", 5);
    host_expect(&f, fd, "world");
    expect_nothing(&f);
    close(fd);
    ck_assert_uint_eq(expect(&f, VSOCK_OP_RST).dst_port, 5000);
    ck_assert_uint_eq(connections(&f), 0);
    tear_down(&f);
}
END_TEST

START_TEST(greeting_in_pieces_with_data_behind)
{
    struct fixture f;
    struct vsock_packet packet;
    uint8_t data[RX_BYTES];

    set_up(&f);
    int fd = host_connect(&f, "CONN");
    fake_vm_run(f.vm, 100);
    ck_assert_int_eq(write(fd, "ECT 5000\nearly", 14), 14);
    uint32_t port = expect(&f, VSOCK_OP_REQUEST).src_port;
    expect_nothing(&f); /* not before the guest accepts */
    guest_send(&f, VSOCK_OP_RESPONSE, 5000, port);
    ck_assert(guest_receive(&f, &packet, data));
    ck_assert_uint_eq(packet.bytes, 5);
    ck_assert_mem_eq(data, "early", 5);
    close(fd);
    tear_down(&f);
}
END_TEST

static const char *const bad_greetings[] = {
    "CONNECT \n",
    "CONNECT 4294967296\n",
    "CONNECT 12a\n",
    "connect 12\n",
    "\n",
    "CONNECT -1\n",
    "GET / HTTP/1.1\r\nHost: x\r\n",
    "CONNECT  1\n",
    "CONNECT 1 \n",
    "CONNECT 00000000000000000000001\n",
};

START_TEST(bad_greeting_is_refused)
{
    struct fixture f;
    char byte;

    set_up(&f);
    int fd = host_connect(&f, bad_greetings[_i]);
    /* Closed, with a reset where input was left unread. */
    ssize_t n = read(fd, &byte, 1);
    ck_assert(n == 0 || (n < 0 && errno == ECONNRESET));
    ck_assert_uint_eq(connections(&f), 0);
    ck_assert_uint_eq(refused(&f), 1);
    expect_nothing(&f);
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(guest_refuses)
{
    struct fixture f;

    set_up(&f);
    int fd = host_connect(&f, "CONNECT 9\n");
    uint32_t port = expect(&f, VSOCK_OP_REQUEST).src_port;
    guest_send(&f, VSOCK_OP_RST, 9, port);
    host_expect_eof(&f, fd);
    ck_assert_uint_eq(connections(&f), 0);
    expect_nothing(&f); /* no answer to an RST */
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(client_gives_up_before_the_answer)
{
    struct fixture f;

    set_up(&f);
    int fd = host_connect(&f, "CONNECT 9\n");
    uint32_t port = expect(&f, VSOCK_OP_REQUEST).src_port;
    close(fd);
    ck_assert_uint_eq(expect(&f, VSOCK_OP_RST).src_port, port);
    guest_send(&f, VSOCK_OP_RESPONSE, 9, port);
    expect(&f, VSOCK_OP_RST);
    ck_assert_uint_eq(connections(&f), 0);
    tear_down(&f);
}
END_TEST

START_TEST(connect_fd_behaves_like_the_socket)
{
    struct fixture f;
    int pair[2];
    char ok[32];

    set_up(&f);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(vsock_connect_fd(f.vsock, 1024, pair[1]), 0);
    struct vsock_packet request = expect(&f, VSOCK_OP_REQUEST);
    ck_assert_uint_eq(request.dst_port, 1024);
    guest_send(&f, VSOCK_OP_RESPONSE, 1024, request.src_port);
    snprintf(ok, sizeof(ok), "OK %u\n", request.src_port);
    host_expect(&f, pair[0], ok);
    guest_send(&f, VSOCK_OP_RST, 1024, request.src_port);
    host_expect_eof(&f, pair[0]);
    close(pair[0]);
    tear_down(&f);
}
END_TEST

START_TEST(connect_fd_without_driver)
{
    struct fixture f;
    int pair[2];

    set_up(&f);
    fake_write(f.driver.dev, 0x070, 0, 4);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(vsock_connect_fd(f.vsock, 1024, pair[1]), -ENOTCONN);
    host_expect_eof(&f, pair[0]); /* closed on failure, too */
    close(pair[0]);
    tear_down(&f);
}
END_TEST

static int listen_77(struct fixture *f)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/vsock_77", f->dir);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    return fd;
}

START_TEST(guest_connects)
{
    struct fixture f;

    set_up(&f);
    int listen_fd = listen_77(&f);
    ck_assert_int_eq(chdir("/"), 0); /* dialing does not depend on where we are */
    guest_send(&f, VSOCK_OP_REQUEST, 1234, 77);
    struct vsock_packet response = expect(&f, VSOCK_OP_RESPONSE);
    ck_assert_uint_eq(response.src_port, 77);
    ck_assert_uint_eq(response.dst_port, 1234);
    int fd = accept(listen_fd, NULL, NULL);
    ck_assert_int_ge(fd, 0);
    guest_send_data(&f, 1234, 77, "ping", 4);
    host_expect(&f, fd, "ping");
    ck_assert_int_eq(write(fd, "pong", 4), 4);
    ck_assert_uint_eq(expect(&f, VSOCK_OP_RW).bytes, 4);
    guest_send(&f, VSOCK_OP_REQUEST, 1234, 77); /* once more, while open: a broken rule */
    expect(&f, VSOCK_OP_RST);
    host_expect_eof(&f, fd);
    close(fd);
    close(listen_fd);
    tear_down(&f);
}
END_TEST

START_TEST(nobody_listens)
{
    struct fixture f;

    set_up(&f);
    guest_send(&f, VSOCK_OP_REQUEST, 1234, 78);
    struct vsock_packet rst = expect(&f, VSOCK_OP_RST);
    ck_assert_uint_eq(rst.src_port, 78);
    ck_assert_uint_eq(rst.dst_port, 1234);
    ck_assert_uint_eq(refused(&f), 1);
    tear_down(&f);
}
END_TEST

START_TEST(limit_of_connections)
{
    struct fixture f;
    int fd, kept[VSOCK_CONNECTIONS_MAX];

    set_up(&f);
    for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
        kept[i] = host_connect(&f, "");
        ck_assert_int_ge(kept[i], 0);
    }
    ck_assert_uint_eq(connections(&f), VSOCK_CONNECTIONS_MAX);
    fd = host_connect(&f, "");
    host_expect_eof(&f, fd);
    ck_assert_uint_eq(refused(&f), 1);
    for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
        close(kept[i]);
    close(fd);
    fake_vm_run(f.vm, 5000);
    ck_assert_uint_eq(connections(&f), 0);
    tear_down(&f);
}
END_TEST

/* ---- Data. ---- */

static void fill_pattern(uint8_t *data, uint32_t bytes, uint32_t seed)
{
    for (uint32_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)((seed + i) * 2654435761u >> 13);
}

/* 1 MiB to the guest, which reads and gives credit as Linux does. */
START_TEST(large_transfer_to_guest)
{
    struct fixture f;
    static uint8_t sent[1 << 20], got[(1 << 20) + RX_BYTES];
    struct vsock_packet packet;
    uint32_t out = 0, in = 0;
    int fd;

    set_up(&f);
    uint32_t port = open_stream(&f, &fd);
    fill_pattern(sent, sizeof(sent), 1);
    for (unsigned idle = 0; in < sizeof(sent) && idle < 10; idle++) {
        ssize_t n = write(fd, sent + out, sizeof(sent) - out);
        out += n > 0 ? (uint32_t)n : 0;
        while (guest_receive(&f, &packet, got + in)) {
            ck_assert_uint_eq(packet.op, VSOCK_OP_RW);
            in += packet.bytes;
            ck_assert_uint_le(in, sizeof(sent));
            idle = 0;
            if (in % 4 == 0 || in >= GUEST_CREDIT) {
                struct vsock_packet credit = packet_of(VSOCK_OP_CREDIT_UPDATE, 5000, port);
                credit.fwd_cnt = in;
                guest_send_raw(&f, &credit, NULL, 0);
            }
        }
    }
    ck_assert_uint_eq(in, sizeof(sent));
    ck_assert_mem_eq(sent, got, sizeof(sent));
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(guest_credit_is_respected)
{
    struct fixture f;
    static uint8_t data[65536];
    struct vsock_packet packet;
    uint32_t in = 0;

    set_up(&f);
    int fd = host_connect(&f, "CONNECT 5000\n");
    uint32_t port = expect(&f, VSOCK_OP_REQUEST).src_port;
    struct vsock_packet response = packet_of(VSOCK_OP_RESPONSE, 5000, port);
    response.buf_alloc = 10000;
    guest_send_raw(&f, &response, NULL, 0);
    ck_assert_int_gt(write(fd, data, sizeof(data)), 20000);
    while (guest_receive(&f, &packet, NULL))
        in += packet.bytes;
    ck_assert_uint_eq(in, 10000);
    ck_assert_uint_eq(fake_vm_run(f.vm, 100), 0); /* waits, and does not spin */
    struct vsock_packet credit = packet_of(VSOCK_OP_CREDIT_UPDATE, 5000, port);
    credit.buf_alloc = 10000;
    credit.fwd_cnt = 4000;
    guest_send_raw(&f, &credit, NULL, 0);
    while (guest_receive(&f, &packet, NULL))
        in += packet.bytes;
    ck_assert_uint_eq(in, 14000);
    credit.fwd_cnt = 0x80000000u; /* claims to have read what was never sent */
    guest_send_raw(&f, &credit, NULL, 0);
    while (guest_receive(&f, &packet, NULL))
        in += packet.bytes;
    ck_assert_uint_eq(in, 14000);
    close(fd);
    fake_vm_run(f.vm, 100);
    tear_down(&f);
}
END_TEST

START_TEST(waits_for_rx_buffers)
{
    struct fixture f;
    static uint8_t data[20000];
    uint16_t head;
    uint32_t bytes, total = 0;

    set_up_with(&f, 2);
    int fd;
    open_stream(&f, &fd);
    ck_assert_int_eq(write(fd, data, sizeof(data)), (ssize_t)sizeof(data));
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(fake_vm_run(f.vm, 100), 0);
    for (unsigned i = 0; i < 10; i++) {
        while (driver_used(&f.driver, VSOCK_QUEUE_RX, &head, &bytes)) {
            total += bytes - (uint32_t)sizeof(struct vsock_packet);
            post_rx(&f);
            driver_notify(&f.driver, VSOCK_QUEUE_RX);
        }
        fake_vm_run(f.vm, 100);
    }
    ck_assert_uint_eq(total, sizeof(data));
    close(fd);
    tear_down(&f);
}
END_TEST

/* The guest sends until its credit is used up while the client does not read. */
START_TEST(client_that_does_not_read)
{
    struct fixture f;
    static uint8_t data[32768], got[4 << 20];
    uint32_t out = 0, in = 0, credit_alloc = VSOCK_BUFFER_BYTES, credit_fwd = 0;
    struct vsock_packet packet;
    int fd;

    set_up(&f);
    uint32_t port = open_stream(&f, &fd);
    while (credit_alloc - (out - credit_fwd) >= sizeof(data) && out < (2u << 20)) {
        fill_pattern(data, sizeof(data), out);
        guest_send_data(&f, 5000, port, data, sizeof(data));
        out += (uint32_t)sizeof(data);
        while (guest_receive(&f, &packet, NULL)) {
            ck_assert_uint_eq(packet.op, VSOCK_OP_CREDIT_UPDATE);
            credit_fwd = packet.fwd_cnt;
        }
    }
    ck_assert_uint_ge(out, VSOCK_BUFFER_BYTES);
    ck_assert_uint_lt(out, 2u << 20);
    while (in < out) {
        ssize_t n = read(fd, got + in, sizeof(got) - in);
        ck_assert_int_gt(n, 0);
        in += (uint32_t)n;
        fake_vm_run(f.vm, 100);
    }
    for (uint32_t i = 0; i < in; i++)
        ck_assert_uint_eq(got[i], (uint8_t)(i * 2654435761u >> 13));
    credit_fwd = expect(&f, VSOCK_OP_CREDIT_UPDATE).fwd_cnt;
    ck_assert_uint_gt(credit_fwd, out - VSOCK_BUFFER_BYTES / 2);
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(guest_beyond_its_credit)
{
    struct fixture f;
    static uint8_t data[32768];
    struct vsock_packet packet = { 0 };
    int fd;

    set_up(&f);
    uint32_t port = open_stream(&f, &fd);
    for (unsigned i = 0; i < 200 && packet.op != VSOCK_OP_RST; i++) {
        guest_send_data(&f, 5000, port, data, sizeof(data));
        while (packet.op != VSOCK_OP_RST && guest_receive(&f, &packet, NULL))
            ;
    }
    ck_assert_uint_eq(packet.op, VSOCK_OP_RST);
    ck_assert_uint_eq(connections(&f), 0);
    close(fd);
    tear_down(&f);
}
END_TEST

/* ---- Closing. ---- */

START_TEST(host_half_close)
{
    struct fixture f;
    int fd;

    set_up(&f);
    uint32_t port = open_stream(&f, &fd);
    shutdown(fd, SHUT_WR);
    ck_assert_uint_eq(expect(&f, VSOCK_OP_SHUTDOWN).flags, VSOCK_SHUTDOWN_SEND);
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(fake_vm_run(f.vm, 100), 0); /* an end of file is told once */
    guest_send_data(&f, 5000, port, "still", 5);
    host_expect(&f, fd, "still");
    guest_send(&f, VSOCK_OP_RST, 5000, port);
    host_expect_eof(&f, fd);
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(guest_half_close)
{
    struct fixture f;
    int fd;

    set_up(&f);
    uint32_t port = open_stream(&f, &fd);
    struct vsock_packet packet = packet_of(VSOCK_OP_SHUTDOWN, 5000, port);
    packet.flags = VSOCK_SHUTDOWN_SEND;
    guest_send_data(&f, 5000, port, "last", 4);
    guest_send_raw(&f, &packet, NULL, 0);
    host_expect(&f, fd, "last");
    host_expect_eof(&f, fd);
    ck_assert_int_eq(write(fd, "reply", 5), 5);
    ck_assert_uint_eq(expect(&f, VSOCK_OP_RW).bytes, 5);
    guest_send_data(&f, 5000, port, "more", 4); /* after it said it would not */
    expect(&f, VSOCK_OP_RST);
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(guest_closes_with_data_under_way)
{
    struct fixture f;
    static uint8_t data[32768], got[1 << 20];
    uint32_t in = 0, out = 0;
    struct vsock_packet packet;
    int fd;

    set_up(&f);
    uint32_t port = open_stream(&f, &fd);
    for (unsigned i = 0; i < 12; i++, out += (uint32_t)sizeof(data)) {
        fill_pattern(data, sizeof(data), out);
        guest_send_data(&f, 5000, port, data, sizeof(data));
    }
    while (guest_receive(&f, &packet, NULL))
        ck_assert_uint_eq(packet.op, VSOCK_OP_CREDIT_UPDATE);
    packet = packet_of(VSOCK_OP_SHUTDOWN, 5000, port);
    packet.flags = VSOCK_SHUTDOWN_BOTH;
    guest_send_raw(&f, &packet, NULL, 0);
    expect(&f, VSOCK_OP_RST); /* at once: its ports are free again */
    ck_assert_uint_eq(connections(&f), 1);
    for (ssize_t n = 1; n > 0;) {
        n = read(fd, got + in, sizeof(got) - in);
        in += n > 0 ? (uint32_t)n : 0;
        fake_vm_run(f.vm, 100);
    }
    ck_assert_uint_eq(in, out);
    for (uint32_t i = 0; i < in; i++)
        ck_assert_uint_eq(got[i], (uint8_t)(i * 2654435761u >> 13));
    ck_assert_uint_eq(connections(&f), 0);
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(client_hangs_up_while_waiting_for_credit)
{
    struct fixture f;

    set_up(&f);
    int fd = host_connect(&f, "CONNECT 5000\n");
    uint32_t port = expect(&f, VSOCK_OP_REQUEST).src_port;
    struct vsock_packet response = packet_of(VSOCK_OP_RESPONSE, 5000, port);
    response.buf_alloc = 0;
    guest_send_raw(&f, &response, NULL, 0);
    ck_assert_int_eq(write(fd, "bye", 3), 3);
    close(fd);
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(fake_vm_run(f.vm, 100), 0); /* does not spin on the hang-up */
    struct vsock_packet credit = packet_of(VSOCK_OP_CREDIT_UPDATE, 5000, port);
    guest_send_raw(&f, &credit, NULL, 0);
    ck_assert_uint_eq(expect(&f, VSOCK_OP_RW).bytes, 3);
    expect(&f, VSOCK_OP_RST);
    tear_down(&f);
}
END_TEST

/* ---- Interrupts. ---- */

static void connecting_add(Suite *suite)
{
    TCase *tests = tap_case(suite, "connecting");

    tcase_add_test(tests, config_space_has_the_cid);
    tcase_add_test(tests, host_connects_and_talks);
    tcase_add_test(tests, greeting_in_pieces_with_data_behind);
    tcase_add_loop_test(tests, bad_greeting_is_refused, 0, ARRAY_LEN(bad_greetings));
    tcase_add_test(tests, guest_refuses);
    tcase_add_test(tests, client_gives_up_before_the_answer);
    tcase_add_test(tests, connect_fd_behaves_like_the_socket);
    tcase_add_test(tests, connect_fd_without_driver);
    tcase_add_test(tests, guest_connects);
    tcase_add_test(tests, nobody_listens);
    tcase_add_test(tests, limit_of_connections);
}

static void streams_add(Suite *suite)
{
    TCase *tests = tap_case(suite, "streams");

    tcase_add_test(tests, large_transfer_to_guest);
    tcase_add_test(tests, guest_credit_is_respected);
    tcase_add_test(tests, waits_for_rx_buffers);
    tcase_add_test(tests, client_that_does_not_read);
    tcase_add_test(tests, guest_beyond_its_credit);
    tcase_add_test(tests, host_half_close);
    tcase_add_test(tests, guest_half_close);
    tcase_add_test(tests, guest_closes_with_data_under_way);
    tcase_add_test(tests, client_hangs_up_while_waiting_for_credit);
}

int main(void)
{
    Suite *suite = suite_create("vsock_device");

    connecting_add(suite);
    streams_add(suite);
    return tap_main(suite);
}
