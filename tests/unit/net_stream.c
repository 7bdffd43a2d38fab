/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the stream back end cuts a byte stream into the frames that went in, whatever the pieces it
 * comes in, and never sends half a frame; lengths that make no sense end it.
 * Method: a socket pair, fed in pieces of every size and filled to the brim.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "tap_main.h"
#include "virtio/net_backend.h"

#define FRAME_BYTES 100u

static struct net_backend *backend;
static int peer;

static void setup(void)
{
    int pair[2];
    struct err err;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(net_backend_open(pair[0], &backend, &err), 0);
    peer = pair[1];
}

static void teardown(void)
{
    backend->ops->destroy(backend);
    close(peer);
}

static ssize_t receive(uint8_t *frame, size_t bytes)
{
    const struct iovec iov[2] = { { frame, 20 }, { frame + 20, bytes - 20 } };

    return backend->ops->receive(backend, iov, 2);
}

START_TEST(receive_in_pieces)
{
    uint8_t wire[2 * (4 + FRAME_BYTES)], frame[12 + FRAME_BYTES];
    uint32_t length = htonl(FRAME_BYTES);
    size_t piece = (size_t)_i + 1;
    unsigned frames = 0;

    for (size_t i = 0; i < sizeof wire; i++)
        wire[i] = (uint8_t)i;
    memcpy(wire, &length, 4);
    memcpy(wire + 4 + FRAME_BYTES, &length, 4);
    for (size_t at = 0; at < sizeof wire; at += piece) {
        size_t bytes = MIN_OF(piece, sizeof wire - at);
        ssize_t n;

        ck_assert_int_eq(write(peer, wire + at, bytes), (ssize_t)bytes);
        while ((n = receive(frame, sizeof frame)) != -EAGAIN) {
            ck_assert_int_eq(n, 12 + FRAME_BYTES);
            ck_assert_mem_eq(frame, "\0\0\0\0\0\0\0\0\0\0\0\0", 12);
            ck_assert_mem_eq(frame + 12, wire + 4 + frames * (4 + FRAME_BYTES), FRAME_BYTES);
            frames++;
        }
    }
    ck_assert_uint_eq(frames, 2);
}
END_TEST

START_TEST(too_large_for_the_guest_is_dropped)
{
    uint8_t frame[12 + 60], wire[4 + FRAME_BYTES + 4 + 60] = { 0 };
    const uint32_t lengths[2] = { htonl(FRAME_BYTES), htonl(60) };

    memcpy(wire, &lengths[0], 4);
    memcpy(wire + 4 + FRAME_BYTES, &lengths[1], 4);
    ck_assert_int_eq(write(peer, wire, sizeof wire), (ssize_t)sizeof wire);
    ck_assert_int_eq(receive(frame, sizeof frame), 12 + 60);
    ck_assert_int_eq(receive(frame, sizeof frame), -EAGAIN);
}
END_TEST

START_TEST(bad_lengths_end_it)
{
    static const uint32_t lengths[] = { 0, 13, 65537, UINT32_MAX };
    uint32_t wire = htonl(lengths[_i]);
    uint8_t frame[200];

    ck_assert_int_eq(write(peer, &wire, 4), 4);
    ck_assert_int_eq(receive(frame, sizeof frame), -EIO);
}
END_TEST

START_TEST(end_is_told)
{
    uint8_t frame[200];

    shutdown(peer, SHUT_RDWR);
    ck_assert_int_eq(receive(frame, sizeof frame), -ENOTCONN);
}
END_TEST

/* Frames of many sizes until the socket is full; then all that was taken comes out whole. */
START_TEST(frames_stay_whole)
{
    static uint8_t frame[12 + 60000], got[4 + 60000];
    unsigned sent = 0, received = 0;
    ssize_t n = 0;

    memset(frame, 'x', sizeof frame);
    while (sent < 1000) {
        size_t bytes = 12 + 14 + (sent * 7919) % 50000;
        const struct iovec iov[3] = { { frame, 6 }, { frame + 6, 20 }, { frame + 26, bytes - 26 } };

        n = backend->ops->send(backend, iov, 3);
        if (n == -EAGAIN)
            break;
        ck_assert_int_eq(n, (ssize_t)bytes);
        sent++;
    }
    ck_assert_int_eq(n, -EAGAIN);
    while (received < sent) {
        uint32_t length;

        ck_assert_int_eq(recv(peer, &length, 4, MSG_WAITALL | MSG_DONTWAIT), 4);
        ck_assert_uint_eq(ntohl(length), 14 + (received * 7919) % 50000);
        if (backend->unsent)
            backend->ops->flush(backend);
        ck_assert_int_eq(recv(peer, got, ntohl(length), MSG_WAITALL), (ssize_t)ntohl(length));
        received++;
        if (backend->unsent)
            backend->ops->flush(backend);
    }
    ck_assert(!backend->unsent);
}
END_TEST

START_TEST(no_frame_is_refused)
{
    uint8_t frame[12 + 13] = { 0 };
    const struct iovec iov = { frame, sizeof frame };
    uint8_t byte;

    ck_assert_int_eq(backend->ops->send(backend, &iov, 1), -EINVAL);
    ck_assert_int_eq(recv(peer, &byte, 1, MSG_DONTWAIT), -1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net-stream");
    TCase *tests = tap_case(suite, "stream");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, receive_in_pieces, 0, 110);
    tcase_add_test(tests, too_large_for_the_guest_is_dropped);
    tcase_add_loop_test(tests, bad_lengths_end_it, 0, 4);
    tcase_add_test(tests, end_is_told);
    tcase_add_test(tests, frames_stay_whole);
    tcase_add_test(tests, no_frame_is_refused);
    return tap_main(suite);
}
