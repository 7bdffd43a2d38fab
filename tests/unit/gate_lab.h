/* SPDX-License-Identifier: Apache-2.0 */
/* A volt-gate (VOLT_GATE) for tests, with the other ends of its streams in their hands. */
#ifndef VOLT_TESTS_GATE_LAB_H
#define VOLT_TESTS_GATE_LAB_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "base/util.h"
#include "frame_build.h"
#include "net/gate/gate.h"
#include "net/net_policy.h"
#include "tap_main.h"

#define LOUD_MS 60000
#define UID 900077u

struct lab {
    pid_t pid;
    int control_fd, vm_fd, passt_fd; /* the test's ends */
    struct gate_shared *shared;
    struct gate_host *host;
};

static inline uint32_t address_of(const char *text)
{
    struct in_addr in;

    ck_assert_int_eq(inet_pton(AF_INET, text, &in), 1);
    return ntohl(in.s_addr);
}

static inline void *share(size_t bytes, int *ret_fd)
{
    *ret_fd = memfd_create("unit-gate", 0);
    ck_assert_int_eq(ftruncate(*ret_fd, (off_t)bytes), 0);
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *ret_fd, 0);
    ck_assert_ptr_ne(at, MAP_FAILED);
    return at;
}

static inline void read_all(int fd, uint8_t *at, size_t bytes)
{
    struct pollfd polled = { .fd = fd, .events = POLLIN };

    while (bytes > 0) {
        ck_assert_int_eq(poll(&polled, 1, LOUD_MS), 1);
        ssize_t n = recv(fd, at, bytes, 0);

        ck_assert_int_gt(n, 0);
        at += n;
        bytes -= (size_t)n;
    }
}

/* A new passt is told the VM's MAC and address first. */
static inline void expect_introduction(int fd)
{
    static const struct frame_spec announcement = { .type = NET_TYPE_ARP, .peer = FRAMES_VM };
    uint8_t wanted[FRAMES_BYTES], got[FRAMES_BYTES];
    uint32_t bytes = frames_build(&announcement, wanted);

    memset(wanted, 0xff, 6);
    read_all(fd, got, 4 + bytes);
    ck_assert_uint_eq(got[3], bytes);
    ck_assert_mem_eq(got + 4, wanted, bytes);
}

static inline void send_passt(struct lab *lab)
{
    int pair[2];
    char byte = 0, space[CMSG_SPACE(sizeof(int))] = { 0 };
    struct iovec iov = { &byte, 1 };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space
    };
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(cmsg), &pair[1], sizeof(int));
    ck_assert_int_eq(sendmsg(lab->control_fd, &msg, MSG_NOSIGNAL), 1);
    close(pair[1]);
    close_fd(&lab->passt_fd);
    lab->passt_fd = pair[0];
    expect_introduction(lab->passt_fd);
}

static inline void lab_open(struct lab *lab)
{
    char path[] = VOLT_GATE, what[] = "pass", *argv[] = { path, what, NULL };
    int control[2], vm[2], ends[4];
    struct spawned spawned;
    struct err err;

    *lab = (struct lab){ .passt_fd = -1 };
    /* LeakSanitizer, at its end, makes calls that its filter does not know. */
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, vm), 0);
    ends[0] = control[1];
    ends[1] = vm[1];
    lab->shared = share(sizeof *lab->shared, &ends[2]);
    lab->host = share(sizeof *lab->host, &ends[3]);
    lab->shared->version = GATE_SHARED_VERSION;
    lab->shared->uid = geteuid() == 0 ? UID : GATE_KEEP_UID;
    lab->shared->vm = frames_vm();
    lab->shared->vm.passt = 1;
    lab->shared->datagrams.gateway = address_of(FRAMES_GATEWAY);
    lab->shared->datagrams.published[3] = 1234; /* of every frame that says nothing else */
    ck_assert_int_eq(net_policy_parse("127.0.0.1:8080", "", address_of(FRAMES_GATEWAY), true,
                                      &lab->shared->rules, &err),
                     0);
    /* As poold does; in the order of enum gate_fd. */
    ck_assert_msg(spawn_process(argv, ends, ARRAY_LEN(ends), &spawned, &err) == 0, "%s", err.msg);
    lab->pid = spawned.pid;
    close(spawned.pidfd);
    close(spawned.text_fd);
    for (unsigned i = 0; i < 4; i++)
        close(ends[i]);
    lab->control_fd = control[0];
    lab->vm_fd = vm[0];
    send_passt(lab);
}

/* Its exit status. */
static inline int lab_wait(struct lab *lab)
{
    int status = -1;

    ck_assert_int_eq(waitpid(lab->pid, &status, 0), lab->pid);
    return status;
}

static inline void lab_close(struct lab *lab)
{
    close_fd(&lab->control_fd);
    ck_assert_int_eq(lab_wait(lab), 0);
    close_fd(&lab->vm_fd);
    close_fd(&lab->passt_fd);
}

/* Length and frame. The bytes of both. */
static inline uint32_t build(const struct frame_spec *spec, uint8_t *at)
{
    uint8_t frame[FRAMES_BYTES];
    uint32_t bytes = frames_build(spec, frame), length = htonl(bytes);

    memcpy(at, &length, sizeof length);
    memcpy(at + sizeof length, frame, bytes);
    return (uint32_t)sizeof length + bytes;
}

static inline void put(int fd, const struct frame_spec *spec)
{
    uint8_t bytes[FRAMES_BYTES + 4];
    uint32_t count = build(spec, bytes);

    ck_assert_int_eq(send(fd, bytes, count, MSG_NOSIGNAL), count);
}

/* The next that comes is that one. */
static inline void expect(int fd, const struct frame_spec *spec)
{
    uint8_t wanted[FRAMES_BYTES + 4], got[FRAMES_BYTES + 4];
    uint32_t count = build(spec, wanted);

    read_all(fd, got, count);
    ck_assert_mem_eq(got, wanted, count);
}

#endif
