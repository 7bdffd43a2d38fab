/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the host's kernel lets through what the judge says, for taps on a bridge and for macvtaps,
 * and nothing of what is not known to it; what is dropped is counted. Method: as root, in a network namespace of its own, real taps:
 * what is written to the VM's is looked for at another port of its bridge, or at the other end of the
 * macvtap's link, and the other way round, for each row of net_frames.h.
 */
#include <stdlib.h>

#include "kernel_lab.h"

/* Whether it comes before another one that passes and was sent behind it. */
static bool arrives_before(const struct lab *lab, const uint8_t *frame, uint32_t bytes)
{
    static const struct frame_spec mark = { .protocol = NET_UDP, .peer = "8.8.8.8", .port = 9999 };
    struct pollfd polled = { .fd = lab->peer_fd, .events = POLLIN };
    uint8_t marking[FRAMES_BYTES], got[2048];
    uint32_t mark_bytes = frames_build(&mark, marking);

    ck_assert_int_eq(write_frame(lab, lab->vm_fd, NULL, marking, mark_bytes), 0);
    for (;;) {
        ck_assert_int_eq(poll(&polled, 1, LOUD_MS), 1);
        ssize_t n = read(lab->peer_fd, got, sizeof got);

        if (is_same(got, n, frame, bytes))
            return true;
        if (is_same(got, n, marking, mark_bytes))
            return false;
    }
}

static void step(const struct lab *lab, const struct frame_spec *spec)
{
    uint8_t frame[FRAMES_BYTES];
    uint32_t bytes = frames_build(spec, frame);
    int from = spec->way == OUT ? lab->vm_fd : spec->local ? lab->host_fd : lab->peer_fd;
    int to = spec->way == OUT ? lab->peer_fd : lab->vm_fd;

    int rc = write_frame(lab, from, NULL, frame, bytes);
    if (spec->verdict == NET_PASSED)
        ck_assert_msg(rc == 0 && arrives(lab, to, frame, bytes, LOUD_MS), "%s (%s) does not pass",
                      spec->name, spec->peer);
    else
        ck_assert_msg(!arrives_before(lab, frame, bytes), "%s (%s) passes", spec->name, spec->peer);
}

static void check_counts(const struct lab *lab)
{
    uint64_t wanted[NET_VERDICT_COUNT] = { 0 };
    struct net_drops drops;

    for (unsigned i = 0; i < ARRAY_LEN(frames); i++)
        wanted[frames[i].verdict] += frames[i].way == OUT;
    net_kernel_drops(lab->walls.kernel, lab->index, &drops);
    for (unsigned i = NET_DENIED; i < NET_VERDICT_COUNT; i++)
        ck_assert_msg(drops.count[i] >= wanted[i], "%llu of verdict %u, not %llu",
                      (unsigned long long)drops.count[i], i, (unsigned long long)wanted[i]);
    ck_assert_uint_eq(drops.denied_address, address_of(FRAMES_HOST)); /* the table's last */
    ck_assert_uint_eq(drops.denied_protocol, NET_ICMP);
}

START_TEST(a_tap_on_a_bridge)
{
    struct lab lab;

    if (!lab_open(&lab))
        return;
    on_bridge(&lab);
    know(&lab, lab.index);
    for (unsigned i = 0; i < ARRAY_LEN(frames); i++)
        step(&lab, &frames[i]);
    check_counts(&lab);
    for (unsigned i = 0; i < ARRAY_LEN(host_frames); i++)
        step(&lab, &host_frames[i]);
    lab_close(&lab);
}
END_TEST

static void run(const char *command)
{
    ck_assert_msg(system(command) == 0, "%s", command);
}

/* A host that routes, and gives what it routes an address of its own, is answered as if it were it. */
START_TEST(what_the_host_routes_is_answered)
{
    struct ifreq request = { .ifr_name = "other" };
    uint8_t frame[FRAMES_BYTES];
    struct lab lab;

    if (!lab_open(&lab))
        return;
    on_bridge(&lab);
    know(&lab, lab.index);
    _cleanup_close_ int other = plain_tap("other");
    ck_assert_int_eq(ioctl(lab.host_fd, SIOCGIFHWADDR, &request), 0);
    run("ip addr add " FRAMES_GATEWAY "/24 dev br0");
    run("ip neigh add " FRAMES_VM " lladdr 02:56:0a:00:00:02 dev br0");
    run("echo 1 >/proc/sys/net/ipv4/ip_forward");
    run("for f in all other; do echo 0 >/proc/sys/net/ipv4/conf/$f/rp_filter; done");
    run("ip route add " FRAMES_HOST
        "/32 dev other"); /* it is not the kernel's own, for the martians */
    uint32_t bytes = frames_build(&host_frames[0], frame);
    memcpy(frame, request.ifr_hwaddr.sa_data, 6);
    ck_assert_int_eq(write(other, frame, bytes), bytes);
    frames_build(&host_frames[0], frame);
    for (bool came = false; !came;) { /* with another TTL and MAC */
        struct pollfd polled = { .fd = lab.vm_fd, .events = POLLIN };
        uint8_t got[2048];

        ck_assert_int_eq(poll(&polled, 1, LOUD_MS), 1);
        came = read(lab.vm_fd, got, sizeof got) > 52 &&
               memcmp(got + HEADER_BYTES + 26, frame + 26, 12) == 0;
    }
    step(&lab, &host_frames[1]);
    lab_close(&lab);
}
END_TEST

/* What one VM sends, and what others begin with it, is remembered of that one alone. */
START_TEST(nobody_makes_another_forget)
{
    enum { COUNT = 150000 };
    struct net_bridge_port port;
    struct err err = { 0 };
    struct lab lab;

    if (!lab_open(&lab))
        return;
    on_bridge(&lab);
    ck_assert_msg(net_bridge_tap(&lab.walls, "br0", frames_other_mac, &port, &err) == 0, "%s",
                  err.msg);
    know(&lab, lab.index);
    know(&lab, port.index);
    step(&lab, &host_frames[0]);
    for (unsigned i = 0; i < COUNT; i++) {
        const struct frame_spec spec = { .protocol = NET_UDP,
                                         .peer = i & 0x10000 ? "8.8.8.8" : "8.8.4.4",
                                         .id = (uint16_t)i,
                                         .fragment = NET_MORE_FRAGMENTS };
        uint8_t frame[FRAMES_BYTES], got[2048];
        uint32_t bytes = frames_build(&spec, frame);

        ck_assert_int_eq(write_frame(&lab, port.tap_fd, NULL, frame, bytes), 0);
        while (read(lab.peer_fd, got, sizeof got) > 0 || read(lab.vm_fd, got, sizeof got) > 0)
            ;
    }
    step(&lab, &host_frames[1]);
    net_kernel_remove_vm(lab.walls.kernel, port.index);
    step(&lab, &host_frames[1]);
    close(port.tap_fd);
    lab_close(&lab);
}
END_TEST

START_TEST(a_macvtap)
{
    struct lab lab;

    if (!lab_open(&lab))
        return;
    if (on_macvtap(&lab)) {
        know(&lab, lab.index);
        for (unsigned i = 0; i < ARRAY_LEN(frames); i++)
            step(&lab, &frames[i]);
        check_counts(&lab);
    }
    lab_close(&lab);
}
END_TEST

/* Before poold has said whose it is, and after: no frame passes, either way. */
START_TEST(who_is_not_known_is_cut_off)
{
    static const struct frame_spec specs[] = {
        { .protocol = NET_UDP, .peer = "8.8.8.8" },
        { .way = IN, .protocol = NET_UDP, .peer = "8.8.8.8" },
    };
    struct lab lab;

    if (!lab_open(&lab))
        return;
    on_bridge(&lab);
    for (unsigned round = 0; round < 3; round++) {
        if (round == 1)
            know(&lab, lab.index);
        if (round == 2)
            net_kernel_remove_vm(lab.walls.kernel, lab.index);
        for (unsigned i = 0; i < ARRAY_LEN(specs); i++) {
            uint8_t frame[FRAMES_BYTES];
            uint32_t bytes = frames_build(&specs[i], frame);
            bool in = specs[i].way == IN;

            ck_assert_int_eq(write_frame(&lab, in ? lab.peer_fd : lab.vm_fd, NULL, frame, bytes),
                             0);
            ck_assert_int_eq(arrives(&lab, in ? lab.vm_fd : lab.peer_fd, frame, bytes,
                                     round == 1 ? LOUD_MS : QUIET_MS),
                             round == 1);
        }
    }
    lab_close(&lab);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_kernel");
    TCase *tests = tap_case(suite, "kernel");

    tcase_add_test(tests, a_tap_on_a_bridge);
    tcase_add_test(tests, what_the_host_routes_is_answered);
    tcase_add_test(tests, nobody_makes_another_forget);
    tcase_add_test(tests, a_macvtap);
    tcase_add_test(tests, who_is_not_known_is_cut_off);
    return tap_main(suite);
}
