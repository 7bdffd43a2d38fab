/* SPDX-License-Identifier: Apache-2.0 */
/* Owns volt-gate's command line, its sandbox and its loop; see gate.h. */
#include "net/gate/gate.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/arguments.h"
#include "base/err.h"
#include "net/gate/lane.h"
#include "net/gate/run.h"
#include "net/gate/world.h"

#include "net/gate/datagrams.h"
#include "sandbox/sandbox.h"

#define TURNS_MAX 16u /* of one stream, before the others are looked at */

struct gate {
    int passt_fd; /* -1: there is none now */
    struct net_vm vm;
    struct net_rules rules;
    struct gate_datagrams datagrams;
    struct net_drops *drops;
    struct world world;
    struct lane out, in; /* of what the VM sends, and gets */
};

static const char help[] =
    "usage: " GATE_PASS_SYNTAX " | " GATE_RUN_SYNTAX "\n"
    "Started by poold, which holds VMs to the policy of their pool's network "
    "with it (docs/network.md).\n";

/* ---- Frames ---- */

static void head_fill(const uint8_t *frame, uint32_t bytes, struct net_head *ret_head)
{
    *ret_head = (struct net_head){ .have = MIN_OF(bytes, NET_HEAD_BYTES), .frame_bytes = bytes };
    memcpy(ret_head->byte, frame, ret_head->have);
}

static bool keep_out(void *context, const uint8_t *frame, uint32_t bytes)
{
    struct gate *gate = context;
    struct net_packet packet = { 0 };
    struct net_head head;

    head_fill(frame, bytes, &head);
    enum net_verdict verdict = net_judge(&gate->world, &gate->vm, &gate->rules, &head, &packet);
    net_count(gate->drops, verdict, &packet);
    if (verdict != NET_PASSED)
        return false;
    datagrams_note(&gate->world, &gate->vm, &gate->datagrams, &packet);
    return true;
}

static bool keep_in(void *context, const uint8_t *frame, uint32_t bytes)
{
    struct gate *gate = context;
    struct net_head head;

    head_fill(frame, bytes, &head);
    if (!datagrams_enter(&gate->world, &gate->vm, &gate->datagrams, &head))
        return false;
    net_note(&gate->world, &gate->vm, &gate->rules, &head, false);
    return true;
}

/* ---- The loop ---- */

/* Moves what there is from one stream to the other. 0: it goes on when one of them can; -ENOTCONN
 * or -EPROTO: of the first; -EPIPE: the other has ended. */
static int move(struct gate *gate, struct lane *lane, int from, int to, lane_keep *keep)
{
    int rc = 0;

    for (unsigned i = 0; i < TURNS_MAX && rc == 0; i++) {
        rc = lane_fill(lane, from);
        if (rc == 0)
            rc = lane_sift(lane, keep, gate);
        if (rc == 0 && to >= 0) {
            rc = lane_drain(lane, to);
            if (rc < 0 && rc != -EAGAIN)
                return -EPIPE;
        }
    }
    return rc == 0 || rc == -EAGAIN ? 0 : rc == -EPROTO ? rc : -ENOTCONN;
}

static int flush(struct lane *lane, int to)
{
    int rc = lane_drain(lane, to);

    return rc == 0 || rc == -EAGAIN ? 0 : -EPIPE;
}

static void passt_gone(struct gate *gate)
{
    close_fd(&gate->passt_fd);
    lane_cut_source(&gate->in);
    lane_cut_target(&gate->out);
}

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* passt learns the VM's MAC from what the VM sends, and a VM that only serves sends nothing: so a new
 * passt is told by an ARP announcement of the VM's. Its stream is empty, so all of that fits. */
static void introduce(const struct gate *gate)
{
    static const uint8_t to_all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    uint8_t bytes[LANE_LENGTH_BYTES + NET_ETHERNET_BYTES + NET_ARP_BYTES] = { 0 };
    uint8_t *frame = bytes + LANE_LENGTH_BYTES, *arp = frame + NET_ETHERNET_BYTES;

    bytes[3] = NET_ETHERNET_BYTES + NET_ARP_BYTES;
    memcpy(frame, to_all, 6);
    memcpy(frame + 6, gate->vm.mac, 6);
    put16(frame + 12, NET_TYPE_ARP);
    put16(arp, 1); /* Ethernet */
    put16(arp + 2, NET_TYPE_IPV4);
    put16(arp + 4, 6 << 8 | 4);
    put16(arp + 6, 1); /* a question, for its own address */
    memcpy(arp + 8, gate->vm.mac, 6);
    for (unsigned at = 14; at <= 24; at += 10) {
        put16(arp + at, gate->vm.address >> 16);
        put16(arp + at + 2, gate->vm.address);
    }
    (void)send(gate->passt_fd, bytes, sizeof bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Takes a new passt from poold. False: poold wants the gate to end. */
static bool control_read(struct gate *gate)
{
    char byte, space[CMSG_SPACE(sizeof(int))];
    struct iovec iov = { &byte, 1 };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space
    };
    ssize_t n = recvmsg(GATE_FD_CONTROL, &msg, MSG_DONTWAIT);
    const struct cmsghdr *cmsg = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS || cmsg->cmsg_len != CMSG_LEN(sizeof(int)))
        return false;
    passt_gone(gate);
    memcpy(&gate->passt_fd, CMSG_DATA(cmsg), sizeof(int));
    introduce(gate);
    return true;
}

static short wanted(const struct lane *from, const struct lane *to)
{
    return (short)((lane_has_room(from) ? POLLIN : 0) | (lane_has_unsent(to) ? POLLOUT : 0));
}

/* An end that is gone, and what it left can't be taken in. */
static bool is_over(const struct pollfd *polled, const struct lane *from)
{
    return polled->revents & (POLLHUP | POLLERR) && !lane_has_room(from);
}

static int serve_vm(struct gate *gate, const struct pollfd *polled)
{
    int rc = 0;

    if (is_over(polled, &gate->out))
        return -ENOTCONN;
    if (polled->revents & (POLLIN | POLLHUP | POLLERR))
        rc = move(gate, &gate->out, GATE_FD_VM, gate->passt_fd, keep_out);
    if (rc == -EPIPE) {
        passt_gone(gate);
        rc = 0;
    }
    if (rc == 0 && polled->revents & POLLOUT && flush(&gate->in, GATE_FD_VM) < 0)
        rc = -ENOTCONN;
    return rc;
}

static int serve_passt(struct gate *gate, const struct pollfd *polled)
{
    int rc = is_over(polled, &gate->in) ? -ENOTCONN : 0;

    if (rc == 0 && polled->revents & (POLLIN | POLLHUP | POLLERR))
        rc = move(gate, &gate->in, gate->passt_fd, GATE_FD_VM, keep_in);
    if (rc == -EPIPE)
        return -ENOTCONN; /* the VM's end */
    if (rc == 0 && polled->revents & POLLOUT)
        rc = flush(&gate->out, gate->passt_fd);
    if (rc < 0)
        passt_gone(gate);
    return 0;
}

static int loop(struct gate *gate)
{
    int rc = 0;

    while (rc == 0) {
        struct pollfd polled[] = {
            { .fd = GATE_FD_CONTROL, .events = POLLIN },
            { .fd = GATE_FD_VM, .events = wanted(&gate->out, &gate->in) },
            { .fd = gate->passt_fd, .events = wanted(&gate->in, &gate->out) },
        };

        if (poll(polled, ARRAY_LEN(polled), -1) < 0) {
            rc = errno == EINTR ? 0 : -errno;
            continue;
        }
        if (polled[0].revents) { /* what was polled of passt is another's then */
            rc = control_read(gate) ? 0 : -ENOTCONN;
            continue;
        }
        rc = serve_vm(gate, &polled[1]);
        if (rc == 0 && gate->passt_fd >= 0)
            rc = serve_passt(gate, &polled[2]);
    }
    return rc == -ENOTCONN ? 0 : rc;
}

/* ---- Start ---- */

static int map_files(struct gate *gate, uint32_t *ret_uid, struct err *err)
{
    struct gate_shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, GATE_FD_SHARED, 0);
    void *host = mmap(NULL, sizeof(struct gate_host), PROT_READ, MAP_SHARED, GATE_FD_HOST, 0);

    if (shared == MAP_FAILED || host == MAP_FAILED)
        return err_set_errno(err, errno, "mapping what poold shares");
    if (shared->version != GATE_SHARED_VERSION)
        return err_set(err, EPROTO, "poold is of another version");
    *ret_uid = shared->uid;
    gate->vm = shared->vm;
    gate->rules = shared->rules;
    gate->datagrams = shared->datagrams;
    gate->drops = &shared->drops;
    gate->world.host = host;
    return 0;
}

static int confine(uint32_t uid, struct err *err)
{
    static const int keep[] = { GATE_FD_CONTROL, GATE_FD_VM };
    /* What namespaces would hide needs system calls that it does not have. */
    const struct sandbox_config config = { .landlock = true,
                                           .capabilities = true,
                                           .seccomp = true };
    const struct sandbox_vm vm = { .uid = uid, .gid = uid, .socket_dir_fd = -1 };
    struct sandbox_status status = { 0 };
    int rc = sandbox_enter(&config, uid, keep, ARRAY_LEN(keep), NULL, &status, err);

    if (rc == 0)
        rc = sandbox_enter_vm(&config, &vm, &status, err);
    /* It ends with its sockets, not with the thread of poold's that started it. */
    if (rc == 0 && prctl(PR_SET_PDEATHSIG, 0) < 0)
        rc = err_set_errno(err, errno, "letting go of the death signal");
    return rc < 0 ? rc : sandbox_install_filter(&config, SANDBOX_THREAD_GATE, NULL, err);
}

/* The exit status; once confined it says no more than that. */
static int pass(struct err *err)
{
    static struct gate gate = { .passt_fd = -1 };
    uint32_t uid = GATE_KEEP_UID;
    int rc = map_files(&gate, &uid, err);

    if (rc == 0)
        rc = confine(uid, err);
    if (rc < 0)
        return EX_OSERR;
    rc = loop(&gate);
    return rc == -EPROTO ? EX_PROTOCOL : rc < 0 ? EX_OSERR : EX_OK;
}

int main(int argc, char **argv)
{
    bool asked = argc == 2 && strcmp(argv[1], "--help") == 0;
    struct err err = { 0 };
    int status;

    if (arguments_get(&argc, &argv, 2, &err) < 0) {
        status = EX_USAGE;
    } else if (argc == 2 && strcmp(argv[1], "pass") == 0) {
        status = pass(&err);
    } else if (argc >= 2 + GATE_RUN_ARGS_LEAST && strcmp(argv[1], "run") == 0) {
        status = gate_run(argv + 2, &err);
    } else {
        fputs(help, asked ? stdout : stderr);
        status = asked ? EX_OK : EX_USAGE;
    }
    if (err.code)
        fprintf(stderr, "volt-gate: %s\n", err.msg);
    return status;
}
