/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: volt-gate hands on what the policy allows, whole and in order however it comes, and nothing
 * else; it is confined, follows the host's addresses, takes a new passt, and ends with either end.
 * Method: the real program, with the ends of its streams in the test's hands.
 */
#include <signal.h>
#include <stdio.h>
#include <sysexits.h>

#include "gate_lab.h"
#include "net/gate/lane.h"

static const struct frame_spec allowed = { .protocol = NET_UDP, .peer = "8.8.8.8" },
                               denied = { .protocol = NET_UDP, .peer = "127.0.0.1" },
                               to_host = { .protocol = NET_UDP, .peer = FRAMES_HOST },
                               from_host = { .way = IN, .protocol = NET_UDP, .peer = FRAMES_HOST };

START_TEST(what_is_denied_does_not_come_through)
{
    struct lab lab;

    lab_open(&lab);
    for (unsigned i = 0; i < 3; i++) {
        put(lab.vm_fd, &denied);
        put(lab.vm_fd, &allowed);
    }
    for (unsigned i = 0; i < 3; i++)
        expect(lab.passt_fd, &allowed);
    ck_assert_uint_eq(lab.shared->drops.count[NET_DENIED], 3);
    ck_assert_uint_eq(lab.shared->drops.denied_address, 0x7f000001);
    put(lab.passt_fd, &from_host); /* what comes to the VM is not judged */
    expect(lab.vm_fd, &from_host);
    lab_close(&lab);
}
END_TEST

/* Every place where a stream of four frames can be torn. */
START_TEST(frames_come_in_any_pieces)
{
    const struct frame_spec *const order[] = { &allowed, &denied, &denied, &allowed };
    uint8_t bytes[4 * (FRAMES_BYTES + 4)];
    uint32_t count = 0;
    struct lab lab;

    lab_open(&lab);
    for (unsigned i = 0; i < ARRAY_LEN(order); i++)
        count += build(order[i], bytes + count);
    for (uint32_t cut = 1; cut < count; cut++) {
        ck_assert_int_eq(send(lab.vm_fd, bytes, cut, 0), cut);
        if (cut % 3 == 0) /* else it may be read as one */
            poll(NULL, 0, 1);
        ck_assert_int_eq(send(lab.vm_fd, bytes + cut, count - cut, 0), count - cut);
        expect(lab.passt_fd, &allowed);
        expect(lab.passt_fd, &allowed);
    }
    lab_close(&lab);
}
END_TEST

/* passt hands on whatever comes to a port that it has taken for the VM. */
START_TEST(datagrams_come_from_whom_they_are_wanted)
{
    static const struct frame_spec
        stranger = { .way = IN, .protocol = NET_UDP, .peer = "8.8.8.8", .own_port = 1235 },
        question = { .protocol = NET_UDP, .peer = "8.8.8.8", .own_port = 1235 },
        other_port = { .way = IN,
                       .protocol = NET_UDP,
                       .peer = "8.8.8.8",
                       .port = 81,
                       .own_port = 1235 },
        other = { .way = IN, .protocol = NET_UDP, .peer = "8.8.4.4", .own_port = 1235 },
        connection = { .way = IN,
                       .protocol = NET_TCP,
                       .flags = NET_TCP_SYN,
                       .peer = "8.8.4.4",
                       .own_port = 1235 },
        to_loopback = { .protocol = NET_UDP, .peer = "127.0.0.1", .port = 8080, .own_port = 1236 },
        answer = {
            .way = IN, .protocol = NET_UDP, .peer = FRAMES_GATEWAY, .port = 8080, .own_port = 1236
        };
    struct lab lab;

    lab_open(&lab);
    put(lab.passt_fd, &stranger);
    put(lab.passt_fd, &answer);
    put(lab.passt_fd, &from_host); /* to a published port */
    expect(lab.vm_fd, &from_host);
    put(lab.vm_fd, &to_loopback);
    expect(lab.passt_fd, &to_loopback);
    put(lab.passt_fd, &answer); /* as passt has it */
    expect(lab.vm_fd, &answer);
    put(lab.vm_fd, &question);
    expect(lab.passt_fd, &question);
    put(lab.passt_fd, &other_port);
    put(lab.passt_fd, &other);
    put(lab.passt_fd, &stranger); /* it is none any more */
    put(lab.passt_fd, &connection);
    expect(lab.vm_fd, &stranger);
    expect(lab.vm_fd, &connection);
    lab_close(&lab);
}
END_TEST

/* More than all the buffers hold, to a passt that does not read: nothing is lost. */
START_TEST(a_slow_end_is_waited_for)
{
    enum { COUNT = 40000 };
    uint8_t bytes[FRAMES_BYTES + 4], got[FRAMES_BYTES + 4];
    uint32_t count = build(&allowed, bytes);
    unsigned sent = 0, came = 0;
    bool filled = false;
    struct lab lab;

    lab_open(&lab);
    while (came < COUNT) {
        struct pollfd polled = { .fd = lab.vm_fd, .events = POLLOUT };

        memcpy(bytes + 50, &sent, sizeof sent); /* in the payload */
        if (sent < COUNT && poll(&polled, 1, filled ? 0 : 200) > 0) {
            ck_assert_int_eq(send(lab.vm_fd, bytes, count, 0), count);
            sent++;
            continue;
        }
        filled = true;
        read_all(lab.passt_fd, got, count);
        memcpy(bytes + 50, &came, sizeof came);
        ck_assert_mem_eq(got, bytes, count);
        came++;
    }
    lab_close(&lab);
}
END_TEST

/* The largest frames there can be, in both directions. */
START_TEST(large_frames_pass)
{
    static uint8_t bytes[4 + LANE_FRAME_BYTES_MAX], got[sizeof bytes];
    const uint32_t length = htonl(LANE_FRAME_BYTES_MAX);
    struct lab lab;

    lab_open(&lab);
    for (unsigned i = 0; i < 6; i++) {
        int from = i % 2 ? lab.vm_fd : lab.passt_fd, to = i % 2 ? lab.passt_fd : lab.vm_fd;

        build(i % 2 ? &allowed : &from_host, bytes);
        memcpy(bytes, &length, sizeof length);
        bytes[200] = (uint8_t)i;
        ck_assert_int_eq(send(from, bytes, sizeof bytes, 0), sizeof bytes);
        read_all(to, got, sizeof got);
        ck_assert_mem_eq(got, bytes, sizeof got);
    }
    lab_close(&lab);
}
END_TEST

START_TEST(the_host_is_what_poold_says)
{
    struct lab lab;

    lab_open(&lab);
    put(lab.vm_fd, &to_host);
    expect(lab.passt_fd, &to_host);
    lab.host->range[0].first = lab.host->range[0].last = address_of(FRAMES_HOST);
    lab.host->count = 1;
    put(lab.vm_fd, &to_host);
    put(lab.vm_fd, &allowed);
    expect(lab.passt_fd, &allowed);
    put(lab.passt_fd, &from_host); /* whom it has a question of, it may answer */
    expect(lab.vm_fd, &from_host);
    put(lab.vm_fd, &to_host);
    expect(lab.passt_fd, &to_host);
    lab_close(&lab);
}
END_TEST

/* A new passt begins with a whole frame, whatever the old one was in the middle of. */
START_TEST(passt_is_replaced)
{
    uint8_t bytes[FRAMES_BYTES + 4];
    uint32_t count = build(&from_host, bytes);
    struct lab lab;

    lab_open(&lab);
    put(lab.vm_fd, &allowed);
    expect(lab.passt_fd, &allowed);
    for (unsigned round = 0; round < 3; round++) {
        ck_assert_int_eq(send(lab.passt_fd, bytes, count / 2, 0), count / 2);
        if (round == 1)
            close_fd(&lab.passt_fd); /* it died, and poold sends the next one */
        if (round == 1)
            poll(NULL, 0, 20);
        send_passt(&lab);
        put(lab.passt_fd, &from_host);
        expect(lab.vm_fd, &from_host);
        put(lab.vm_fd, &allowed);
        expect(lab.passt_fd, &allowed);
    }
    lab_close(&lab);
}
END_TEST

/* What a VM says before there is a passt is kept for it: its MAC, which passt learns that way. */
START_TEST(the_first_passt_gets_all)
{
    struct lab lab;

    lab_open(&lab);
    close_fd(&lab.passt_fd);
    poll(NULL, 0, 20);
    for (unsigned i = 0; i < 3; i++)
        put(lab.vm_fd, &allowed);
    poll(NULL, 0, 20);
    send_passt(&lab);
    for (unsigned i = 0; i < 3; i++)
        expect(lab.passt_fd, &allowed);
    lab_close(&lab);
}
END_TEST

/* A passt that sends nonsense is one that is gone. */
START_TEST(passts_nonsense_is_not_handed_on)
{
    const uint8_t nonsense[] = { 0, 0, 0, 1, 0xff };
    struct pollfd polled = { .events = POLLIN };
    struct lab lab;
    char byte;

    lab_open(&lab);
    ck_assert_int_eq(send(lab.passt_fd, nonsense, sizeof nonsense, 0), sizeof nonsense);
    polled.fd = lab.passt_fd;
    ck_assert_int_eq(poll(&polled, 1, LOUD_MS), 1);
    ck_assert_int_eq(recv(lab.passt_fd, &byte, 1, 0), 0);
    send_passt(&lab);
    put(lab.passt_fd, &from_host);
    expect(lab.vm_fd, &from_host);
    lab_close(&lab);
}
END_TEST

START_TEST(it_ends_with_the_vm)
{
    struct lab lab;

    lab_open(&lab);
    close_fd(&lab.vm_fd);
    ck_assert_int_eq(lab_wait(&lab), 0);
}
END_TEST

START_TEST(what_is_no_frame_ends_it)
{
    static const uint8_t streams[][8] = { { 0, 0, 0, 13 },
                                          { 0xff, 0xff, 0xff, 0xff },
                                          { 0, 1, 0, 1 } };
    struct lab lab;

    for (unsigned i = 0; i < ARRAY_LEN(streams); i++) {
        lab_open(&lab);
        ck_assert_int_eq(send(lab.vm_fd, streams[i], 8, 0), 8);
        int status = lab_wait(&lab);

        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == EX_PROTOCOL);
    }
}
END_TEST

static bool status_has(pid_t pid, const char *line)
{
    char path[32], text[4096];
    ssize_t n;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    n = read(fd, text, sizeof text - 1);
    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    return strstr(text, line) != NULL;
}

START_TEST(it_is_confined)
{
    char path[48], uid[32];
    struct lab lab;

    lab_open(&lab);
    put(lab.vm_fd, &allowed);
    expect(lab.passt_fd, &allowed); /* by then */
    ck_assert(status_has(lab.pid, "Seccomp:\t2"));
    ck_assert(status_has(lab.pid, "NoNewPrivs:\t1"));
    ck_assert(status_has(lab.pid, "CapEff:\t0000000000000000"));
    ck_assert(status_has(lab.pid, "CapBnd:\t0000000000000000") || geteuid() != 0);
    snprintf(uid, sizeof uid, "Uid:\t%u\t%u", UID, UID);
    ck_assert(status_has(lab.pid, uid) || geteuid() != 0);
    for (int fd = 0; fd < 20; fd++) {
        char target[64] = "";

        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)lab.pid, fd);
        if (readlink(path, target, sizeof target - 1) < 0)
            continue;
        ck_assert_msg(fd < 3 || strncmp(target, "socket:", 7) == 0, "fd %d is %s", fd, target);
        ck_assert_int_lt(fd, GATE_FD_VM + 2);
    }
    lab_close(&lab);
}
END_TEST

/* What passt is started by: 0 if the program says that it has what it should. */
static int run_python(const char *shares, const char *program)
{
    int status;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        execl(VOLT_GATE, VOLT_GATE, "run", "-", "-", shares, "/usr/bin/python3", "-c", program,
              NULL);
        _exit(99);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

/* Sockets of the internet's alone; and no port that another socket has, unless something else sees to
 * that. */
START_TEST(what_passt_is_started_with)
{
    static const char sockets[] = "import errno, socket as s\n"
                                  "for f in (s.AF_UNIX, s.AF_VSOCK, s.AF_PACKET, s.AF_ALG):\n"
                                  "    try:\n"
                                  "        s.socket(f, s.SOCK_DGRAM)\n"
                                  "        exit(1)\n"
                                  "    except OSError as e:\n"
                                  "        if e.errno != errno.EAFNOSUPPORT: exit(2)\n"
                                  "s.socket(s.AF_NETLINK, s.SOCK_RAW)\n"
                                  "s.socket(s.AF_INET, s.SOCK_STREAM).setsockopt("
                                  "s.IPPROTO_TCP, s.TCP_NODELAY, 1)\n";
    char port[400];
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t bytes = sizeof in;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &bytes), 0);
    snprintf(port, sizeof port,
             "import errno, socket as s\n"
             "u = s.socket(s.AF_INET, s.SOCK_DGRAM)\n"
             "u.setsockopt(s.SOL_SOCKET, s.SO_REUSEADDR, 1)\n"
             "try:\n"
             "    u.bind(('127.0.0.1', %u))\n"
             "except OSError as e:\n"
             "    exit(1 if e.errno == errno.EADDRINUSE else 2)\n",
             ntohs(in.sin_port));
    ck_assert_int_eq(run_python("-", sockets), 0);
    ck_assert_int_eq(run_python("shares", sockets), 0);
    ck_assert_int_eq(run_python("shares", port), 0);
    ck_assert_int_eq(run_python("-", port), 1);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_gate");
    TCase *tests = tap_case(suite, "gate");

    signal(SIGPIPE, SIG_IGN);
    tcase_add_test(tests, what_is_denied_does_not_come_through);
    tcase_add_test(tests, frames_come_in_any_pieces);
    tcase_add_test(tests, datagrams_come_from_whom_they_are_wanted);
    tcase_add_test(tests, a_slow_end_is_waited_for);
    tcase_add_test(tests, large_frames_pass);
    tcase_add_test(tests, the_host_is_what_poold_says);
    tcase_add_test(tests, passt_is_replaced);
    tcase_add_test(tests, the_first_passt_gets_all);
    tcase_add_test(tests, passts_nonsense_is_not_handed_on);
    tcase_add_test(tests, it_ends_with_the_vm);
    tcase_add_test(tests, what_is_no_frame_ends_it);
    tcase_add_test(tests, it_is_confined);
    tcase_add_test(tests, what_passt_is_started_with);
    return tap_main(suite);
}
