/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: frames cross the network device whole, in order, with their headers, in buffers of every
 * shape; it waits without spinning where there is no room; a network that goes away is an unplugged
 * cable; a move takes nothing with it.
 * Method: a scripted driver; a back end over a datagram socket pair; a real tap in a network
 * namespace of its own, where one can be made.
 */
#include "virtio/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/util.h"
#include "net_pair.h"
#include "tap_main.h"
#include "virtio/virtio_mmio.h"
#include "virtio_driver.h"

#define NUM 64u
#define RX_BYTES 2048u
#define MERGE (1ull << VIRTIO_NET_F_MRG_RXBUF)
#define BIG (1ull << VIRTIO_NET_F_GUEST_CSUM | 1ull << VIRTIO_NET_F_GUEST_TSO4)

enum { RX, TX };

/* ---- The fixture. ---- */

struct fixture {
    struct vm *vm;
    struct device *dev;
    struct virtio_driver driver;
    gpa_t rx_gpa[VIRTQ_NUM_MAX]; /* by head */
    gpa_t tx_gpa;
    int peer; /* the other end of the network */
};

static void post_rx(struct fixture *f, uint32_t bytes)
{
    const struct driver_buffer buffer = { driver_alloc(&f->driver, bytes), bytes };

    f->rx_gpa[driver_add(&f->driver, RX, &buffer, 0, 1)] = buffer.gpa;
}

static void create(struct fixture *f, struct net_config *config)
{
    struct err err = { 0 };

    memcpy(config->mac, "\x02\x00\x00\x01\x02\x03", 6);
    ck_assert_msg(net_create(f->vm, 3, "net0", config, &f->dev, &err) == 0, "%s", err.msg);
}

static void set_up_with(struct fixture *f, struct net_config *config, uint64_t features,
                        unsigned rx_count, uint32_t rx_bytes)
{
    memset(f, 0, sizeof(*f));
    f->vm = fake_vm_create();
    f->peer = -1;
    if (!config->backend)
        config->backend = net_pair_create(&f->peer);
    create(f, config);
    ck_assert(driver_start(&f->driver, f->vm, f->dev, features, 2, NUM));
    f->tx_gpa = driver_alloc(&f->driver, 70000);
    for (unsigned i = 0; i < rx_count; i++)
        post_rx(f, rx_bytes);
    driver_notify(&f->driver, RX);
    fake_vm_run(f->vm, 100);
}

static void set_up(struct fixture *f, uint64_t features)
{
    struct net_config config = { 0 };

    set_up_with(f, &config, features, NUM, RX_BYTES);
}

static void tear_down(struct fixture *f)
{
    f->dev->ops->destroy(f->dev);
    ck_assert_uint_eq(f->vm->polls, 0);
    fake_vm_destroy(f->vm);
    close_fd(&f->peer);
}

static void fill(uint8_t *frame, uint32_t bytes, uint32_t seed)
{
    for (uint32_t i = NET_HEADER_BYTES; i < bytes; i++)
        frame[i] = (uint8_t)(seed * 31 + i);
    memset(frame, 0, MIN_OF(bytes, NET_HEADER_BYTES));
}

static void guest_send(struct fixture *f, const uint8_t *frame, uint32_t bytes)
{
    const struct driver_buffer buffers[] = {
        { f->tx_gpa, NET_HEADER_BYTES }, { f->tx_gpa + NET_HEADER_BYTES, bytes - NET_HEADER_BYTES }
    };

    memcpy(driver_at(&f->driver, f->tx_gpa), frame, bytes);
    driver_add(&f->driver, TX, buffers, 2, 0);
    driver_notify(&f->driver, TX);
}

/* The next frame of the guest, put together; returns its bytes, 0: none. */
static uint32_t guest_receive(struct fixture *f, uint8_t *frame)
{
    uint16_t head, left = 1;
    uint32_t bytes, total = 0;

    fake_vm_run(f->vm, 1000);
    for (bool first = true; left > 0; left--, first = false) {
        if (!driver_used(&f->driver, RX, &head, &bytes))
            return 0;
        memcpy(frame + total, driver_at(&f->driver, f->rx_gpa[head]), bytes);
        if (first)
            memcpy(&left, frame + offsetof(struct virtio_net_hdr_v1, num_buffers), 2);
        ck_assert_uint_ge(left, 1);
        total += bytes;
    }
    return total;
}

/* ---- Tests. ---- */

START_TEST(frames_both_ways)
{
    struct fixture f;
    uint8_t frame[RX_BYTES], got[RX_BYTES];

    set_up(&f, _i ? MERGE : 0);
    ck_assert_uint_eq(fake_read(f.dev, 0x100, 4), 0x01000002); /* MAC */
    ck_assert_uint_eq(fake_read(f.dev, 0x106, 2), 1);          /* link up */
    for (uint32_t bytes = 26; bytes < 1500; bytes += 173) {
        fill(frame, bytes, bytes);
        ck_assert_int_eq(write(f.peer, frame, bytes), bytes);
        ck_assert_uint_eq(guest_receive(&f, got), bytes);
        ck_assert_uint_eq(got[10], 1); /* num_buffers */
        ck_assert_mem_eq(got + 12, frame + 12, bytes - 12);
        guest_send(&f, frame, bytes);
        fake_vm_run(f.vm, 100);
        ck_assert_int_eq(read(f.peer, got, sizeof(got)), bytes);
        ck_assert_mem_eq(got, frame, bytes);
        post_rx(&f, RX_BYTES);
    }
    tear_down(&f);
}
END_TEST

START_TEST(large_frame_in_many_buffers)
{
    struct fixture f;
    static uint8_t frame[65000], got[70000];

    set_up(&f, MERGE | BIG);
    ck_assert_uint_eq(net_pair_offloads, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4);
    fill(frame, sizeof(frame), 3);
    ck_assert_int_eq(write(f.peer, frame, sizeof(frame)), (ssize_t)sizeof(frame));
    ck_assert_int_eq(write(f.peer, frame, 100), 100);
    driver_interrupts(&f.driver);
    ck_assert_uint_eq(guest_receive(&f, got), sizeof(frame));
    ck_assert_uint_eq(got[10], (sizeof(frame) + RX_BYTES - 1) / RX_BYTES);
    ck_assert_mem_eq(got + 12, frame + 12, sizeof(frame) - 12);
    /* Half the ring is left: too little for what might come next. */
    ck_assert_uint_eq(guest_receive(&f, got), 0);
    ck_assert_uint_eq(fake_vm_run(f.vm, 100), 0);
    for (unsigned i = 0; i < 32; i++)
        post_rx(&f, RX_BYTES);
    driver_notify(&f.driver, RX);
    ck_assert_uint_eq(guest_receive(&f, got), 100);
    tear_down(&f);
}
END_TEST

START_TEST(offloads_that_need_others_are_dropped)
{
    struct fixture f;

    set_up(&f, 1ull << VIRTIO_NET_F_GUEST_TSO4 | 1ull << VIRTIO_NET_F_GUEST_ECN);
    ck_assert_uint_eq(net_pair_offloads, 0);
    tear_down(&f);
    set_up(&f, 1ull << VIRTIO_NET_F_GUEST_CSUM | 1ull << VIRTIO_NET_F_GUEST_ECN);
    ck_assert_uint_eq(net_pair_offloads, NET_OFFLOAD_CSUM);
    tear_down(&f);
}
END_TEST

START_TEST(waits_where_there_is_no_room)
{
    struct fixture f;
    struct net_config config = { 0 };
    static uint8_t frame[1500], got[4096];
    unsigned sent = 0, received = 0;
    uint16_t head;
    uint32_t bytes;

    set_up_with(&f, &config, MERGE, 0, 0);
    fill(frame, sizeof(frame), 1);
    ck_assert_int_eq(write(f.peer, frame, 500), 500);
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(fake_vm_run(f.vm, 100), 0);
    for (unsigned i = 0; i < 4; i++)
        post_rx(&f, RX_BYTES);
    driver_notify(&f.driver, RX);
    ck_assert_uint_eq(guest_receive(&f, got), 500);
    /* Sends until the network is full, and a ring beyond that. */
    while (f.driver.queue[TX].free_count >= 2 && sent < 5000) {
        guest_send(&f, frame, sizeof(frame));
        sent++;
        fake_vm_run(f.vm, 100);
        while (driver_used(&f.driver, TX, &head, &bytes))
            ;
    }
    ck_assert_uint_lt(sent, 5000);
    ck_assert_uint_eq(fake_vm_run(f.vm, 100), 0);
    while (read(f.peer, got, sizeof(got)) == (ssize_t)sizeof(frame)) {
        received++;
        fake_vm_run(f.vm, 100);
    }
    ck_assert_uint_eq(received, sent);
    tear_down(&f);
}
END_TEST

START_TEST(network_that_goes_away)
{
    struct fixture f;
    uint8_t frame[100] = { 0 };

    set_up(&f, MERGE);
    driver_interrupts(&f.driver);
    close_fd(&f.peer);
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(fake_vm_run(f.vm, 100), 0);
    ck_assert_uint_eq(fake_read(f.dev, 0x106, 2), 0); /* link down */
    ck_assert_uint_eq(driver_interrupts(&f.driver), 1);
    guest_send(&f, frame, sizeof(frame));
    fake_vm_run(f.vm, 100);
    ck_assert(!(driver_status(&f.driver) & VIRTIO_STATUS_NEEDS_RESET));
    tear_down(&f);
}
END_TEST

START_TEST(buffer_without_room_for_the_header)
{
    struct fixture f;
    struct net_config config = { 0 };

    set_up_with(&f, &config, MERGE, 1, NET_HEADER_BYTES - 1);
    ck_assert(driver_status(&f.driver) & VIRTIO_STATUS_NEEDS_RESET);
    tear_down(&f);
}
END_TEST

START_TEST(chains_that_share_many_descriptors)
{
    struct fixture f;
    struct net_config config = { 0 };
    uint8_t frame[1000] = { 0 };

    set_up_with(&f, &config, MERGE | BIG, 0, 0);
    for (uint16_t i = 0; i < NUM; i++)
        driver_write_desc(&f.driver, RX, i, f.tx_gpa + i, 1,
                          i + 1u < NUM ? DESC_WRITE | DESC_NEXT : DESC_WRITE, (uint16_t)(i + 1));
    for (unsigned i = 0; i < NUM; i++)
        driver_offer(&f.driver, RX, 0);
    driver_notify(&f.driver, RX);
    ck_assert_int_eq(write(f.peer, frame, sizeof(frame)), (ssize_t)sizeof(frame));
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(fake_vm_run(f.vm, 100), 0);
    tear_down(&f);
}
END_TEST

START_TEST(limits_hold_in_both_directions)
{
    struct fixture f;
    struct net_config config = {
        .rx_limit.ops = { .per_s = 20, .burst = 1 },
        .tx_limit.ops = { .per_s = 20, .burst = 1 },
    };
    uint8_t frame[100] = { 0 }, got[RX_BYTES];

    set_up_with(&f, &config, MERGE, NUM, RX_BYTES);
    uint64_t start_ns = now_ns();
    for (unsigned i = 0; i < 6; i++) {
        ck_assert_int_eq(write(f.peer, frame, sizeof(frame)), (ssize_t)sizeof(frame));
        guest_send(&f, frame, sizeof(frame));
    }
    unsigned in = 0, out = 0;
    while ((in < 6 || out < 6) && now_ns() - start_ns < 60 * NS_PER_S) {
        in += guest_receive(&f, got) == sizeof(frame);
        out += read(f.peer, got, sizeof(got)) == (ssize_t)sizeof(frame);
        usleep(1000);
    }
    ck_assert_uint_eq(in, 6);
    ck_assert_uint_eq(out, 6);
    ck_assert_uint_ge(now_ns() - start_ns, 150 * NS_PER_MS);
    tear_down(&f);
}
END_TEST

START_TEST(moved_with_buffers_taken_ahead)
{
    struct fixture f;
    static uint8_t frame[3000], got[70000];
    struct net_config config = { 0 };
    struct err err = { 0 };
    int peer = -1;

    set_up(&f, MERGE | BIG);
    fill(frame, sizeof(frame), 9);
    ck_assert_int_eq(write(f.peer, frame, sizeof(frame)), (ssize_t)sizeof(frame));
    ck_assert_uint_eq(guest_receive(&f, got), sizeof(frame));
    struct device *old = f.dev;
    config.backend = net_pair_create(&peer);
    create(&f, &config);
    ck_assert_msg(fake_vm_move(old, f.dev, &err) == 0, "%s", err.msg);
    old->ops->destroy(old);
    driver_follow(&f.driver, f.dev);
    net_pair_offloads = 0;
    for (unsigned i = 0; i < 10; i++) {
        fill(frame, sizeof(frame), i);
        ck_assert_int_eq(write(peer, frame, sizeof(frame)), (ssize_t)sizeof(frame));
        ck_assert_uint_eq(guest_receive(&f, got), sizeof(frame));
        ck_assert_mem_eq(got + 12, frame + 12, sizeof(frame) - 12);
        for (unsigned j = 0; j < 4 && f.driver.queue[RX].free_count > 0; j++)
            post_rx(&f, RX_BYTES);
        driver_notify(&f.driver, RX);
    }
    ck_assert_uint_eq(net_pair_offloads, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4);
    close(peer);
    tear_down(&f);
}
END_TEST

START_TEST(reset_forgets_buffers)
{
    struct fixture f;
    uint8_t frame[100] = { 0 }, got[RX_BYTES];

    set_up(&f, MERGE);
    ck_assert(driver_start(&f.driver, f.vm, f.dev, MERGE, 2, NUM));
    ck_assert_int_eq(write(f.peer, frame, sizeof(frame)), (ssize_t)sizeof(frame));
    fake_vm_run(f.vm, 100);
    post_rx(&f, RX_BYTES);
    driver_notify(&f.driver, RX);
    ck_assert_uint_eq(guest_receive(&f, got), sizeof(frame));
    tear_down(&f);
}
END_TEST

/* ---- A real tap. ---- */

static int make_tap(const char *name, short flags)
{
    struct ifreq ifr = { .ifr_flags = flags };
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    snprintf(ifr.ifr_name, IFNAMSIZ, "%s", name);
    if (fd >= 0 && ioctl(fd, TUNSETIFF, &ifr) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int open_interface(const char *name)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
    struct ifreq ifr = { 0 };
    struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };

    snprintf(ifr.ifr_name, IFNAMSIZ, "%s", name);
    ck_assert_int_eq(ioctl(fd, SIOCGIFINDEX, &ifr), 0);
    address.sll_ifindex = ifr.ifr_ifindex;
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(ioctl(fd, SIOCGIFFLAGS, &ifr), 0);
    ifr.ifr_flags |= IFF_UP;
    ck_assert_int_eq(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
    return fd;
}

START_TEST(real_tap)
{
    struct fixture f;
    struct net_config config = { 0 };
    struct err err = { 0 };
    uint8_t frame[200], got[RX_BYTES];
    uint32_t bytes;

    /* Needs the right to make namespaces and taps; without it there is nothing to see here. */
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return;
    int fd = make_tap("t0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
    if (fd < 0)
        return;
    ck_assert_msg(net_tap_open(fd, &config.backend, &err) == 0, "%s", err.msg);
    set_up_with(&f, &config, MERGE | BIG, NUM, RX_BYTES);
    fill(frame, sizeof(frame), 5);
    guest_send(&f, frame, sizeof(frame)); /* the interface is still down: lost, no harm done */
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(fake_read(f.dev, 0x106, 2), 1);
    int packets = open_interface("t0");
    memcpy(frame + 12 + 12, "\x88\xb5", 2); /* an ethertype for experiments */
    guest_send(&f, frame, sizeof(frame));
    fake_vm_run(f.vm, 100);
    ssize_t n = 0;
    for (unsigned i = 0; i < 50 && n != (ssize_t)sizeof(frame) - 12; i++)
        n = recv(packets, got, sizeof(got), 0); /* the kernel's own IPv6 chatter comes by as well */
    ck_assert_int_eq(n, sizeof(frame) - 12);
    ck_assert_mem_eq(got, frame + 12, sizeof(frame) - 12);
    ck_assert_int_eq(send(packets, frame + 12, sizeof(frame) - 12, 0), sizeof(frame) - 12);
    do
        bytes = guest_receive(&f, got);
    while (bytes > 0 && bytes != sizeof(frame));
    ck_assert_uint_eq(bytes, sizeof(frame));
    ck_assert_mem_eq(got + 12, frame + 12, sizeof(frame) - 12);
    close(packets);
    tear_down(&f);
}
END_TEST

START_TEST(fds_that_are_no_taps)
{
    struct net_backend *backend = NULL;
    struct err err = { 0 };

    ck_assert_int_eq(net_tap_open(-1, &backend, &err), -EBADF);
    ck_assert_int_lt(net_tap_open(open("/dev/null", O_RDWR), &backend, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.msg, "no tap"));
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return;
    int fd = make_tap("t1", IFF_TAP | IFF_NO_PI); /* without the header */
    if (fd < 0)
        return;
    ck_assert_int_eq(net_tap_open(fd, &backend, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "t1"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_device");
    TCase *tests = tap_case(suite, "net");

    tcase_add_loop_test(tests, frames_both_ways, 0, 2);
    tcase_add_test(tests, large_frame_in_many_buffers);
    tcase_add_test(tests, offloads_that_need_others_are_dropped);
    tcase_add_test(tests, waits_where_there_is_no_room);
    tcase_add_test(tests, network_that_goes_away);
    tcase_add_test(tests, buffer_without_room_for_the_header);
    tcase_add_test(tests, chains_that_share_many_descriptors);
    tcase_add_test(tests, limits_hold_in_both_directions);
    tcase_add_test(tests, moved_with_buffers_taken_ahead);
    tcase_add_test(tests, reset_forgets_buffers);
    tcase_add_test(tests, real_tap);
    tcase_add_test(tests, fds_that_are_no_taps);
    return tap_main(suite);
}
