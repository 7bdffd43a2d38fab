/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the host's kernel lets through what the judge says, for taps on a bridge and for macvtaps,
 * and nothing of what is not known to it; frames whose checksum would be written elsewhere are
 * dropped; what is dropped is counted. Method: as root, in a network namespace of its own, real taps:
 * what is written to the VM's is looked for at another port of its bridge, or at the other end of the
 * macvtap's link, and the other way round, for each row of net_frames.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/util.h"
#include "net/net_bridge.h"
#include "net/net_kernel.h"
#include "net/net_macvtap.h"
#include "net/net_policy.h"
#include "net/net_tap.h"
#include "net/net_walls.h"
#include "net_frames.h"
#include "tap_main.h"

#define HEADER_BYTES 10u /* struct virtio_net_hdr */
#define QUIET_MS 20      /* how long nothing is waited for; a frame that passes is there at once */
#define LOUD_MS 60000

struct lab {
    uv_loop_t loop;
    struct net_walls walls;
    uint32_t index;
    int vm_fd;    /* the VM's end; with a virtio header before each frame */
    int peer_fd;  /* the network's: frames alone */
    int host_fd;  /* a bridge's: what the host sends on it itself */
    int netns_fd; /* of a macvtap; -1 */
};

static void up(const char *name)
{
    struct ifreq request = { .ifr_flags = IFF_UP | IFF_RUNNING };
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    ck_assert_int_eq(ioctl(fd, SIOCSIFFLAGS, &request), 0);
}

/* A tap without any policy, up. */
static int plain_tap(const char *name)
{
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    ck_assert_int_eq(ioctl(fd, TUNSETIFF, &request), 0);
    up(name);
    return fd;
}

static uint32_t address_of(const char *text)
{
    struct in_addr in;

    ck_assert_int_eq(inet_pton(AF_INET, text, &in), 1);
    return ntohl(in.s_addr);
}

/* False: this host has none of it, which is said. */
static bool lab_open(struct lab *lab)
{
    struct err err = { 0 };

    *lab = (struct lab){ .vm_fd = -1, .peer_fd = -1, .host_fd = -1, .netns_fd = -1 };
    if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0) {
        printf("# not run: this needs root\n");
        return false;
    }
    uv_loop_init(&lab->loop);
    net_walls_init(&lab->walls, &lab->loop, "/nonexistent", NULL, "unit-kernel");
    ck_assert_msg(net_walls_load(&lab->walls, false, &err) == 0, "%s", err.msg);
    return true;
}

static void lab_close(struct lab *lab)
{
    close_fd(&lab->vm_fd);
    close_fd(&lab->peer_fd);
    close_fd(&lab->host_fd);
    close_fd(&lab->netns_fd);
    net_walls_fini(&lab->walls);
    uv_loop_close(&lab->loop);
}

static int packet_socket(const char *link)
{
    const struct sockaddr_ll at = { .sll_family = AF_PACKET,
                                    .sll_ifindex = (int)if_nametoindex(link) };
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void on_bridge(struct lab *lab)
{
    _cleanup_close_ int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = { .ifr_name = "br0" };
    struct net_bridge_port port;
    struct err err = { 0 };

    ck_assert_int_eq(ioctl(control, SIOCBRADDBR, "br0"), 0);
    up("br0");
    lab->peer_fd = plain_tap("peer");
    request.ifr_ifindex = (int)if_nametoindex("peer");
    ck_assert_int_eq(ioctl(control, SIOCBRADDIF, &request), 0);
    ck_assert_msg(net_bridge_tap(&lab->walls, "br0", frames_vm_mac, &port, &err) == 0, "%s",
                  err.msg);
    lab->vm_fd = port.tap_fd;
    lab->index = port.index;
    lab->host_fd = packet_socket("br0");
}

/* False: there are none here. */
static bool on_macvtap(struct lab *lab)
{
    struct stock_item item;
    struct err err = { 0 };

    lab->peer_fd = plain_tap("peer");
    if (net_macvtap_make(&lab->walls, "peer", frames_vm_mac, &item, &err) < 0) {
        printf("# no macvtaps here: %s\n", err.msg);
        return false;
    }
    lab->vm_fd = take_fd(&item.fds[NET_TAP_FD]);
    lab->netns_fd = take_fd(&item.fds[NET_NETNS_FD]);
    lab->index = item.number;
    stock_item_close(&item);
    return true;
}

/* What poold does for the VM. */
static void know(struct lab *lab, uint32_t index)
{
    const struct net_kernel *kernel = lab->walls.kernel;
    struct net_vm vm = frames_vm();
    struct net_rules rules;
    struct err err;

    vm.policy = 5;
    vm.key = net_walls_flow_key(&lab->walls);
    ck_assert_int_eq(net_policy_parse(FRAMES_ALLOW, FRAMES_DENY, address_of(FRAMES_GATEWAY), false,
                                      &rules, &err),
                     0);
    ck_assert_int_eq(net_kernel_put_policy(kernel, vm.policy, &rules), 0);
    ck_assert_int_eq(net_kernel_put_host(kernel, address_of(FRAMES_HOST), 32), 0);
    ck_assert_int_eq(net_kernel_put_host(kernel, address_of(FRAMES_HOST_NETWORK), 24), 0);
    ck_assert_int_eq(net_kernel_put_vm(kernel, index, &vm), 0);
    ck_assert_int_eq(net_kernel_put_vm(kernel, index, &vm), -EEXIST);
}

static int header_bytes(const struct lab *lab, int fd)
{
    return fd == lab->peer_fd || fd == lab->host_fd ? 0 : (int)HEADER_BYTES;
}

/* 0 or -errno. */
static int write_frame(const struct lab *lab, int fd, const struct virtio_net_hdr *header,
                       const uint8_t *frame, uint32_t bytes)
{
    uint8_t all[HEADER_BYTES + FRAMES_BYTES] = { 0 };
    int begin = header_bytes(lab, fd);

    if (header && begin)
        memcpy(all, header, HEADER_BYTES);
    memcpy(all + begin, frame, bytes);
    return write(fd, all, (size_t)begin + bytes) < 0 ? -errno : 0;
}

/* Whether what came has the type, protocol and both ends of that frame: checksums and padding may
 * differ. */
static bool is_same(const uint8_t *got, ssize_t got_bytes, const uint8_t *frame, uint32_t bytes)
{
    return got_bytes >= (ssize_t)MIN_OF(bytes, 38u) &&
           memcmp(got, frame, MIN_OF(bytes, 24u)) == 0 &&
           (bytes < 38 || memcmp(got + 26, frame + 26, 12) == 0);
}

/* Whether that frame comes to fd; others, as links make some themselves, are passed over. */
static bool arrives(const struct lab *lab, int fd, const uint8_t *frame, uint32_t bytes,
                    int limit_ms)
{
    struct pollfd polled = { .fd = fd, .events = POLLIN };
    uint8_t got[2048];

    while (poll(&polled, 1, limit_ms) > 0) {
        ssize_t n = read(fd, got, sizeof got) - header_bytes(lab, fd);

        if (is_same(got + header_bytes(lab, fd), n, frame, bytes))
            return true;
    }
    return false;
}

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

/* The virtio header tells where the kernel is to write a checksum, when the frame leaves the host:
 * elsewhere than where TCP and UDP have it, it would change an address or a port that was judged. */
START_TEST(checksums_go_where_they_belong)
{
    static const struct {
        uint8_t protocol;
        uint16_t start, offset;
        bool passes;
    } rows[] = {
        { NET_TCP, 34, 16, true },  { NET_UDP, 34, 6, true },   { NET_TCP, 34, 6, false },
        { NET_UDP, 34, 16, false }, { NET_TCP, 34, 2, false },  { NET_TCP, 34, 0, false },
        { NET_TCP, 20, 10, false }, { NET_TCP, 20, 12, false }, { NET_TCP, 20, 6, false },
        { NET_TCP, 30, 0, false },  { NET_TCP, 36, 14, false }, { NET_ICMP, 34, 2, false },
        { NET_ICMP, 34, 6, false },
    };
    struct lab lab;

    if (!lab_open(&lab))
        return;
    on_bridge(&lab);
    know(&lab, lab.index);
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        const struct virtio_net_hdr header = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                               .csum_start = rows[i].start,
                                               .csum_offset = rows[i].offset };
        const struct frame_spec spec = { .protocol = rows[i].protocol,
                                         .flags = rows[i].protocol == NET_TCP ? NET_TCP_SYN
                                                                              : NET_ICMP_ECHO,
                                         .peer = "8.8.8.8" };
        struct pollfd polled = { .fd = lab.peer_fd, .events = POLLIN };
        uint8_t frame[FRAMES_BYTES], got[2048];
        uint32_t bytes = frames_build(&spec, frame);

        int rc = write_frame(&lab, lab.vm_fd, &header, frame, bytes);
        if (rows[i].passes) {
            ck_assert_int_eq(rc, 0);
            ck_assert(arrives(&lab, lab.peer_fd, frame, bytes, LOUD_MS));
            continue;
        }
        while (poll(&polled, 1, QUIET_MS) > 0 && read(lab.peer_fd, got, sizeof got) > 0)
            ck_assert_msg(memcmp(got, frame, 12) != 0, "row %u passes", i);
    }
    lab_close(&lab);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_kernel");
    TCase *tests = tap_case(suite, "kernel");

    tcase_add_test(tests, a_tap_on_a_bridge);
    tcase_add_test(tests, nobody_makes_another_forget);
    tcase_add_test(tests, a_macvtap);
    tcase_add_test(tests, who_is_not_known_is_cut_off);
    tcase_add_test(tests, checksums_go_where_they_belong);
    return tap_main(suite);
}
