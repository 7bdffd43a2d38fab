/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the messages that several programs make say the same whoever makes them: a WAKE, and the fds
 * of a CLONE; and what a CLONE's fds are not is found out.
 * Method: messages made, sent over a socket pair, received and looked at. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/util.h"
#include "control/control.h"
#include "tap_main.h"

/* ---- WAKE ---- */

struct counter {
    uint8_t next;
    size_t drawn;
};

static void draw(void *context, void *ret_bytes, size_t bytes)
{
    struct counter *counter = context;

    memset(ret_bytes, ++counter->next, bytes);
    counter->drawn += bytes;
}

START_TEST(wake_has_a_nonce_and_a_restore_its_entropy)
{
    struct counter counter = { 0 };
    struct control_msg msg;

    memset(&msg, 0xff, sizeof msg);
    control_wake_make(&msg, &(struct control_wake){ .op = DOORBELL_OP_RESTORE, .flags = 5 }, draw,
                      &counter);
    ck_assert_uint_eq(msg.type, CONTROL_WAKE);
    ck_assert_uint_eq(msg.cookie, 0);
    ck_assert_uint_eq(msg.u.wake.op, DOORBELL_OP_RESTORE);
    ck_assert_uint_eq(msg.u.wake.flags, 5);
    ck_assert_uint_eq(msg.u.wake.nonce, 0x0101010101010101ull);
    ck_assert_uint_eq(msg.u.wake.generation_id[15], 2);
    ck_assert_uint_eq(msg.u.wake.entropy[DOORBELL_ENTROPY_BYTES - 1], 3);
    ck_assert_str_eq(msg.u.wake.hostname, "volt-02020202");
    control_wake_wipe(&msg);
    ck_assert_uint_eq(msg.u.wake.entropy[0], 0);
}
END_TEST

START_TEST(lease_draws_no_more_than_it_says)
{
    static const uint8_t id[16] = { 9, 8, 7 };
    struct counter counter = { 0 };
    struct control_msg msg;

    control_wake_make(&msg,
                      &(struct control_wake){
                          .op = DOORBELL_OP_LEASE, .generation_id = id, .hostname = "a-name" },
                      draw, &counter);
    ck_assert_uint_eq(counter.drawn, sizeof msg.u.wake.nonce);
    ck_assert_mem_eq(msg.u.wake.generation_id, id, sizeof id);
    ck_assert_str_eq(msg.u.wake.hostname, "a-name");
    ck_assert_uint_eq(msg.u.wake.entropy[0], 0);
    ck_assert_uint_eq(msg.u.wake.flags, 0);
}
END_TEST

START_TEST(wake_tells_of_a_network_or_of_none)
{
    const struct control_network network = {
        .mac = { 2, 0, 0, 0, 0, 1 }, .prefix_bits = 24, .address = 0x0200000a, .gateway = 0x0100000a
    };
    struct control_wake wake = { .op = DOORBELL_OP_RESTORE, .network = &network };
    struct control_msg msg;

    control_wake_make(&msg, &wake, NULL, NULL);
    ck_assert_uint_eq(msg.u.wake.flags, DOORBELL_FLAG_NETWORK);
    ck_assert_mem_eq(&msg.u.wake.network, &network, sizeof network);
    wake.network = NULL;
    control_wake_make(&msg, &wake, NULL, NULL);
    ck_assert_uint_eq(msg.u.wake.flags, 0);
    ck_assert_uint_eq(msg.u.wake.network.address, 0);
}
END_TEST

START_TEST(wakes_of_the_kernels_randomness_differ)
{
    const struct control_wake wake = { .op = DOORBELL_OP_RESTORE };
    struct control_msg one, two;

    control_wake_make(&one, &wake, NULL, NULL);
    control_wake_make(&two, &wake, NULL, NULL);
    ck_assert_uint_ne(one.u.wake.nonce, two.u.wake.nonce);
    ck_assert_mem_ne(one.u.wake.generation_id, two.u.wake.generation_id, 16);
    ck_assert_mem_ne(one.u.wake.entropy, two.u.wake.entropy, DOORBELL_ENTROPY_BYTES);
}
END_TEST

START_TEST(long_hostname_is_cut)
{
    char name[200];
    struct control_msg msg;

    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    control_wake_make(&msg, &(struct control_wake){ .op = DOORBELL_OP_LEASE, .hostname = name },
                      NULL, NULL);
    ck_assert_uint_eq(strlen(msg.u.wake.hostname), DOORBELL_HOSTNAME_BYTES - 1);
}
END_TEST

/* ---- CALL and ANSWER ---- */

/* Sent whole, received with so much room. */
static int exchange(uint32_t type, uint32_t bytes, uint32_t room, struct control_msg *ret_msg,
                    uint8_t *ret_payload)
{
    static uint8_t payload[FUNCTION_PAYLOAD_MAX];
    int pair[2], fds[CONTROL_FDS_MAX], rc;
    struct control_msg msg;
    unsigned fd_count;

    for (uint32_t i = 0; i < bytes; i++)
        payload[i] = (uint8_t)(i * 7);
    memset(&msg, 0, sizeof msg);
    msg.type = type;
    msg.u.call.call = 77;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(control_send_payload(pair[0], &msg, payload, bytes), 0);
    rc = control_recv_payload(pair[1], ret_msg, fds, &fd_count, ret_payload, room);
    close(pair[0]);
    close(pair[1]);
    return rc;
}

START_TEST(payloads_come_whole_or_not_at_all)
{
    static const uint32_t lengths[] = { 0, 1, 100, FUNCTION_PAYLOAD_MAX };
    static uint8_t payload[FUNCTION_PAYLOAD_MAX];
    struct control_msg msg;

    for (unsigned i = 0; i < ARRAY_LEN(lengths); i++) {
        ck_assert_int_eq(exchange(CONTROL_CALL, lengths[i], sizeof payload, &msg, payload), 0);
        ck_assert_uint_eq(msg.u.call.call, 77);
        ck_assert_uint_eq(msg.u.call.payload_bytes, lengths[i]);
        for (uint32_t at = 0; at < lengths[i]; at++)
            ck_assert_uint_eq(payload[at], (uint8_t)(at * 7));
        ck_assert_int_eq(exchange(CONTROL_ANSWER, lengths[i], sizeof payload, &msg, payload), 0);
        ck_assert_uint_eq(msg.u.answer.payload_bytes, lengths[i]);
    }
    ck_assert_int_eq(exchange(CONTROL_ANSWER, 100, 99, &msg, payload), -EPROTO);
    ck_assert_int_eq(exchange(CONTROL_ANSWER, 1, 0, &msg, NULL), -EPROTO);
    ck_assert_int_eq(exchange(CONTROL_ANSWER, 0, 0, &msg, NULL), 0);
}
END_TEST

/* What a VM that was taken over may write: a length that is not that of what follows. */
START_TEST(payloads_that_lie_are_malformed)
{
    static uint8_t payload[64];
    struct {
        struct control_msg msg;
        uint8_t payload[8];
    } sent;
    struct control_msg msg;
    int pair[2], fds[CONTROL_FDS_MAX];
    unsigned fd_count;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    for (unsigned i = 0; i < 3; i++) {
        memset(&sent, 0, sizeof sent);
        sent.msg.type = i == 2 ? CONTROL_WAKE : CONTROL_ANSWER;
        sent.msg.bytes = control_msg_bytes((enum control_type)sent.msg.type);
        sent.msg.u.answer.payload_bytes = i == 0 ? 7 : UINT32_MAX;
        ck_assert_int_eq(send(pair[0], &sent, sizeof sent.msg + 8, 0), sizeof sent.msg + 8);
        ck_assert_int_eq(
            control_recv_payload(pair[1], &msg, fds, &fd_count, payload, sizeof payload), -EPROTO);
    }
    close(pair[0]);
    close(pair[1]);
}
END_TEST

/* ---- The fds of a CLONE ---- */

#define EXTRA_FDS 5u /* in struct control_clone_fds, behind control and bell */

static int *fd_at(struct control_clone_fds *fds, unsigned i)
{
    int *const at[2 + EXTRA_FDS] = { &fds->control, &fds->bell,         &fds->vsock_dir, &fds->disk,
                                     &fds->tap,     &fds->vsock_listen, &fds->vhost };

    return at[i];
}

static ino_t inode_of(int fd)
{
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    return st.st_ino;
}

/* _i: which of the extra fds are there. */
START_TEST(fds_arrive_under_their_names)
{
    struct control_clone_fds sent = CONTROL_CLONE_FDS_NONE, named = CONTROL_CLONE_FDS_NONE;
    struct control_msg msg = { .cookie = 77 };
    int sockets[2], fds[CONTROL_FDS_MAX];
    unsigned fd_count;

    for (unsigned i = 0; i < 2 + EXTRA_FDS; i++) {
        if (i < 2 || _i & 1 << (i - 2))
            *fd_at(&sent, i) = memfd_create("fd", MFD_CLOEXEC);
    }
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
    ck_assert_int_eq(control_clone_send(sockets[0], &msg, &sent), 0);
    ck_assert_int_eq(control_recv(sockets[1], &msg, fds, &fd_count), 0);
    ck_assert_uint_eq(msg.type, CONTROL_CLONE);
    ck_assert_uint_eq(msg.cookie, 77);
    ck_assert(control_clone_sort(&msg, fds, fd_count, &named));
    for (unsigned i = 0; i < 2 + EXTRA_FDS; i++) {
        ck_assert_int_eq(*fd_at(&named, i) >= 0, *fd_at(&sent, i) >= 0);
        if (*fd_at(&sent, i) >= 0)
            ck_assert_uint_eq(inode_of(*fd_at(&named, i)), inode_of(*fd_at(&sent, i)));
    }
}
END_TEST

static const struct {
    uint32_t extra_fds;
    unsigned fd_count;
} wrong[] = {
    { 0, 0 },    { 0, 1 },   { 0, 3 },    { 0x1, 2 },  { 0x1, 4 },         { 0x1f, 6 },
    { 0x1f, 8 }, { 0x3, 3 }, { 0x20, 3 }, { 0x20, 2 }, { 0x80000000u, 3 }, { UINT32_MAX, 8 },
};

START_TEST(fds_that_are_not_what_is_said_are_refused)
{
    const int fds[CONTROL_FDS_MAX] = { 10, 11, 12, 13, 14, 15, 16, 17 };
    struct control_clone_fds named = { .control = 99 };
    struct control_msg msg = { .type = CONTROL_CLONE };

    msg.u.clone.extra_fds = wrong[_i].extra_fds;
    ck_assert(!control_clone_sort(&msg, fds, wrong[_i].fd_count, &named));
    ck_assert_int_eq(named.control, 99); /* untouched */
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("control");
    TCase *tc = tap_case(s, "control");

    tcase_add_test(tc, wake_has_a_nonce_and_a_restore_its_entropy);
    tcase_add_test(tc, lease_draws_no_more_than_it_says);
    tcase_add_test(tc, wake_tells_of_a_network_or_of_none);
    tcase_add_test(tc, wakes_of_the_kernels_randomness_differ);
    tcase_add_test(tc, long_hostname_is_cut);
    tcase_add_test(tc, payloads_come_whole_or_not_at_all);
    tcase_add_test(tc, payloads_that_lie_are_malformed);
    tcase_add_loop_test(tc, fds_arrive_under_their_names, 0, 1 << EXTRA_FDS);
    tcase_add_loop_test(tc, fds_that_are_not_what_is_said_are_refused, 0, ARRAY_LEN(wrong));
    return s;
}

int main(void)
{
    return tap_main(suite());
}
