/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a back end that serves the rings itself has them while the driver is up and at no other
 * time; whoever goes on with a saved device goes on where it had got to; the kernel's vhost-net is
 * such a back end.
 * Method: one in this process that sends back what it is sent, and looks when it is told to. Where
 * there is a /dev/vhost-net (the hwkvm lane has it), the real one over a tap.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/util.h"
#include "tap_main.h"
#include "virtio/net.h"
#include "virtio_driver.h"

#define NUM 16u
#define FRAME_BYTES 200u
#define RX_BYTES 2048u
#define MERGE (1ull << VIRTIO_NET_F_MRG_RXBUF)

enum { RX, TX };

/* ---- A back end that sends back. ---- */

struct echo {
    struct net_backend backend; /* first */
    const int *kicks;
    struct virtq queue[2];
    bool running;
    unsigned starts, stops;
    int attach_rc, start_rc;
};

static unsigned echoes; /* that exist */

static int echo_attach(struct net_backend *backend, const struct guest_mem *mem,
                       const int kick_fds[2], struct err *err)
{
    struct echo *echo = (struct echo *)backend;

    ck_assert_ptr_nonnull(mem->hva);
    echo->kicks = kick_fds;
    return echo->attach_rc ? err_set(err, -echo->attach_rc, "no echo") : 0;
}

static int echo_start(struct net_backend *backend, const struct virtq *queues, uint64_t features)
{
    struct echo *echo = (struct echo *)backend;

    ck_assert(!echo->running);
    ck_assert(features & VIRTIO_FEATURE_VERSION_1);
    memcpy(echo->queue, queues, sizeof echo->queue);
    echo->running = echo->start_rc == 0;
    echo->starts++;
    return echo->start_rc;
}

static void echo_stop(struct net_backend *backend)
{
    struct echo *echo = (struct echo *)backend;

    echo->running = false;
    echo->stops++;
}

static int echo_next_avail(struct net_backend *backend, unsigned queue, uint16_t *ret_next_avail)
{
    const struct echo *echo = (struct echo *)backend;

    ck_assert(!echo->running);
    *ret_next_avail = echo->queue[queue].next_avail;
    return 0;
}

static int echo_set_offloads(struct net_backend *backend, uint32_t offloads)
{
    (void)backend;
    (void)offloads;
    return 0;
}

static void echo_destroy(struct net_backend *backend)
{
    close_fd(&backend->fd);
    echoes--;
    free(backend);
}

static const struct net_ring_ops echo_rings = {
    .attach = echo_attach,
    .start = echo_start,
    .stop = echo_stop,
    .next_avail = echo_next_avail,
};

static const struct net_backend_ops echo_ops = {
    .name = "echo",
    .rings = &echo_rings,
    .offloads = NET_OFFLOAD_ALL,
    .set_offloads = echo_set_offloads,
    .destroy = echo_destroy,
};

static struct echo *echo_make(void)
{
    struct echo *echo = calloc(1, sizeof *echo);

    echo->backend =
        (struct net_backend){ .ops = &echo_ops, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    echoes++;
    return echo;
}

/* Whether the driver's notification of a queue has come since the last call. */
static bool kicked(const struct echo *echo, unsigned queue)
{
    uint64_t count;

    return read(echo->kicks[queue], &count, sizeof count) > 0;
}

/* What its thread would do: at most `most` frames. Returns how many there were. */
static unsigned echo_serve(struct echo *echo, unsigned most)
{
    static struct virtq_chain out, in;
    static uint8_t frame[RX_BYTES];
    const uint64_t one = 1;
    unsigned count = 0;

    ck_assert(echo->running);
    for (; count < most && virtq_pop(&echo->queue[TX], &out) == 1; count++) {
        uint32_t bytes = virtq_iov_read(out.iov, out.out_count, 0, frame, sizeof frame);

        ck_assert_int_eq(virtq_pop(&echo->queue[RX], &in), 1);
        virtq_iov_write(in.iov, in.in_count, 0, frame, bytes);
        virtq_push(&echo->queue[TX], out.head, 0);
        virtq_push(&echo->queue[RX], in.head, bytes);
    }
    bool wanted = virtq_flush(&echo->queue[TX]);
    wanted |= virtq_flush(&echo->queue[RX]);
    if (wanted)
        ck_assert_int_eq(write(echo->backend.fd, &one, sizeof one), sizeof one);
    return count;
}

/* ---- The fixture. ---- */

struct fixture {
    struct vm *vm;
    struct device *dev;
    struct virtio_driver driver;
};

static struct device *make_device(struct vm *vm, struct net_backend *backend)
{
    struct net_config config = { .backend = backend, .mac = { 2, 0, 0, 1, 2, 3 } };
    struct device *dev;
    struct err err = { 0 };

    ck_assert_msg(net_create(vm, 3, "net0", &config, &dev, &err) == 0, "%s", err.msg);
    return dev;
}

static void bring_up(struct fixture *f)
{
    ck_assert(driver_start(&f->driver, f->vm, f->dev, MERGE, 2, NUM));
    for (unsigned i = 0; i < NUM; i++) {
        const struct driver_buffer buffer = { driver_alloc(&f->driver, RX_BYTES), RX_BYTES };

        driver_add(&f->driver, RX, &buffer, 0, 1);
    }
    driver_notify(&f->driver, RX);
}

static void set_up(struct fixture *f, struct net_backend *backend)
{
    memset(f, 0, sizeof *f);
    f->vm = fake_vm_create();
    f->dev = make_device(f->vm, backend);
    bring_up(f);
    fake_vm_run(f->vm, 100);
}

static void tear_down(struct fixture *f)
{
    f->dev->ops->destroy(f->dev);
    ck_assert_uint_eq(f->vm->polls, 0);
    ck_assert_uint_eq(echoes, 0);
    fake_vm_destroy(f->vm);
}

static void guest_send(struct fixture *f, unsigned number)
{
    const struct driver_buffer buffer = { driver_alloc(&f->driver, FRAME_BYTES), FRAME_BYTES };
    uint8_t *frame = driver_at(&f->driver, buffer.gpa);

    memset(frame, 0, NET_HEADER_BYTES);
    memset(frame + NET_HEADER_BYTES, 0xff, 6); /* a broadcast of an experimental ethertype */
    memset(frame + NET_HEADER_BYTES + 12, 0, FRAME_BYTES - NET_HEADER_BYTES - 12);
    memcpy(frame + NET_HEADER_BYTES + 6, "\x02\0\0\1\2\3\x88\xb5", 8);
    frame[FRAME_BYTES - 1] = (uint8_t)number;
    driver_add(&f->driver, TX, &buffer, 1, 0);
    driver_notify(&f->driver, TX);
}

static unsigned used(struct fixture *f, unsigned queue)
{
    unsigned count = 0;
    uint16_t head;
    uint32_t bytes;

    while (driver_used(&f->driver, queue, &head, &bytes))
        count++;
    return count;
}

/* ---- Tests ---- */

START_TEST(notifications_and_interrupts)
{
    struct echo *echo = echo_make();
    struct fixture f;

    set_up(&f, &echo->backend);
    ck_assert_uint_eq(echo->starts, 1);
    ck_assert(kicked(echo, RX) && kicked(echo, TX)); /* to look at what is there already */
    guest_send(&f, 1);
    ck_assert(kicked(echo, TX));
    ck_assert(!kicked(echo, RX));
    ck_assert_uint_eq(fake_vm_run(f.vm, 100), 0); /* nobody else has to do with it */
    driver_interrupts(&f.driver);
    ck_assert_uint_eq(echo_serve(echo, 9), 1);
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(driver_interrupts(&f.driver), 1);
    ck_assert_uint_eq(used(&f, RX), 1);
    ck_assert_uint_eq(used(&f, TX), 1);
    tear_down(&f);
}
END_TEST

/* _i: who goes on. 0: another of its kind; 1: one that is given each frame; 2: the same device. */
START_TEST(goes_on_where_it_had_got_to)
{
    struct echo *echo = echo_make(), *next = NULL;
    struct net_backend *none;
    struct fixture f;
    struct err err = { 0 };

    set_up(&f, &echo->backend);
    for (unsigned i = 0; i < 8; i++)
        guest_send(&f, i);
    ck_assert_uint_eq(echo_serve(echo, 5), 5);
    driver_interrupts(&f.driver);
    struct device *old = f.dev;
    if (_i == 0) {
        next = echo_make();
        f.dev = make_device(f.vm, &next->backend);
    } else if (_i == 1) {
        ck_assert_int_eq(net_none_open(true, &none, &err), 0);
        f.dev = make_device(f.vm, none);
    }
    if (_i < 2) {
        ck_assert_msg(fake_vm_move(old, f.dev, &err) == 0, "%s", err.msg);
        driver_follow(&f.driver, f.dev);
    } else {
        ck_assert_int_eq(old->ops->quiesce(old, &err), 0);
        ck_assert(!echo->running);
        old->ops->resume(old);
        next = echo;
    }
    ck_assert_uint_eq(echo->stops, 1);
    ck_assert_uint_ge(driver_interrupts(&f.driver), 1); /* it was on its way */
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(used(&f, RX), 5);
    if (next) {
        ck_assert_uint_eq(next->queue[TX].next_avail, 5);
        ck_assert(kicked(next, TX));
        ck_assert_uint_eq(echo_serve(next, 9), 3);
        fake_vm_run(f.vm, 100);
    }
    ck_assert_uint_eq(used(&f, TX), 8);
    ck_assert_uint_eq(used(&f, RX), next ? 3 : 0);
    if (old != f.dev)
        old->ops->destroy(old);
    tear_down(&f);
}
END_TEST

START_TEST(reset_stops_it_at_once)
{
    struct echo *echo = echo_make();
    struct fixture f;

    set_up(&f, &echo->backend);
    guest_send(&f, 1);
    fake_write(f.dev, 0x070, 0, 4);
    ck_assert(!echo->running); /* before the device thread had a turn */
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(echo->starts, 1);
    bring_up(&f);
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(echo->starts, 2);
    ck_assert_uint_eq(echo->queue[TX].next_avail, 0);
    guest_send(&f, 2);
    ck_assert_uint_eq(echo_serve(echo, 9), 1);
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(used(&f, RX), 1);
    tear_down(&f);
}
END_TEST

START_TEST(what_does_not_start_is_an_unplugged_cable)
{
    struct echo *echo = echo_make();
    struct fixture f;

    echo->start_rc = -EFAULT;
    set_up(&f, &echo->backend);
    ck_assert_uint_eq(echoes, 0);
    ck_assert_uint_eq(fake_read(f.dev, 0x106, 2), 0);
    guest_send(&f, 1); /* goes nowhere */
    fake_vm_run(f.vm, 100);
    fake_write(f.dev, 0x070, 0, 4);
    tear_down(&f);
}
END_TEST

START_TEST(devices_that_can_not_be)
{
    struct vm *vm = fake_vm_create();
    struct device *dev;
    struct err err = { 0 };
    struct echo *echo = echo_make();
    struct net_config config = { .backend = &echo->backend };

    config.rx_limit.bytes.per_s = 1000;
    ck_assert_int_eq(net_create(vm, 3, "net0", &config, &dev, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "limits"));
    echo = echo_make();
    echo->attach_rc = -EBUSY;
    config = (struct net_config){ .backend = &echo->backend };
    ck_assert_int_eq(net_create(vm, 3, "net0", &config, &dev, &err), -EBUSY);
    ck_assert_ptr_nonnull(strstr(err.msg, "no echo"));
    ck_assert_uint_eq(echoes, 0);
    ck_assert_uint_eq(vm->polls, 0);
    fake_vm_destroy(vm);
}
END_TEST

/* ---- The kernel's. ---- */

/* A tap in a network namespace of its own; -1: none can be made here. */
static int make_tap(void)
{
    struct ifreq ifr = { .ifr_name = "t0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };

    if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return -1;
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd >= 0 && ioctl(fd, TUNSETIFF, &ifr) < 0)
        close_fd(&fd);
    return fd;
}

static int open_interface(void)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x88b5));
    struct ifreq ifr = { .ifr_name = "t0" };
    struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(0x88b5) };

    ck_assert_int_eq(ioctl(fd, SIOCGIFINDEX, &ifr), 0);
    address.sll_ifindex = ifr.ifr_ifindex;
    ifr.ifr_flags = IFF_UP;
    ck_assert_int_eq(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

START_TEST(fds_that_are_not_vhost_net)
{
    struct net_backend *backend = NULL;
    struct err err = { 0 };
    int tap_fd = make_tap();

    ck_assert_int_lt(net_vhost_open(-1, -1, &backend, &err), 0);
    if (tap_fd < 0)
        return;
    ck_assert_int_eq(net_vhost_open(tap_fd, open("/dev/null", O_RDWR), &backend, &err), -ENOTTY);
    ck_assert_ptr_nonnull(strstr(err.msg, "no /dev/vhost-net"));
    ck_assert_int_lt(fcntl(tap_fd, F_GETFD), 0); /* it was taken */
    ck_assert_ptr_null(backend);
}
END_TEST

/* Waits for the driver to be given at least one buffer of the queue back. */
static unsigned await_used(struct fixture *f, unsigned queue)
{
    unsigned count = 0;

    for (unsigned i = 0; i < 10000 && count == 0; i++) {
        poll(NULL, 0, 1);
        fake_vm_run(f->vm, 100);
        count = used(f, queue);
    }
    return count;
}

static void frames_cross(struct fixture *f, int packets, unsigned number)
{
    uint8_t frame[RX_BYTES];

    driver_interrupts(&f->driver);
    guest_send(f, number);
    ck_assert_int_eq(recv(packets, frame, sizeof frame, 0), FRAME_BYTES - NET_HEADER_BYTES);
    ck_assert_uint_eq(frame[FRAME_BYTES - NET_HEADER_BYTES - 1], number);
    ck_assert_uint_eq(await_used(f, TX), 1);
    ck_assert_int_eq(send(packets, frame, 100, 0), 100);
    ck_assert_uint_ge(await_used(f, RX), 1); /* the kernel's own IPv6 chatter may be there too */
    ck_assert_uint_ge(driver_interrupts(&f->driver), 1);
}

/* Returns false where there is none. */
static bool open_real(int tap_fd, struct net_backend **ret_backend)
{
    int vhost_fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
    struct err err = { 0 };

    if (vhost_fd < 0)
        return false;
    ck_assert_msg(net_vhost_open(tap_fd, vhost_fd, ret_backend, &err) == 0, "%s", err.msg);
    return true;
}

START_TEST(real_vhost_net)
{
    struct net_backend *backend;
    struct fixture f;
    struct err err = { 0 };
    int tap_fd = make_tap();

    if (tap_fd < 0 || !open_real(dup(tap_fd), &backend))
        return;
    set_up(&f, backend);
    int packets = open_interface();
    frames_cross(&f, packets, 1);
    /* To another, a few times. */
    for (unsigned i = 2; i < 5; i++) {
        struct device *old = f.dev;

        ck_assert(open_real(dup(tap_fd), &backend));
        f.dev = make_device(f.vm, backend);
        ck_assert_msg(fake_vm_move(old, f.dev, &err) == 0, "%s", err.msg);
        old->ops->destroy(old);
        driver_follow(&f.driver, f.dev);
        fake_vm_run(f.vm, 100);
        frames_cross(&f, packets, i);
    }
    fake_write(f.dev, 0x070, 0, 4);
    fake_vm_run(f.vm, 100);
    bring_up(&f);
    fake_vm_run(f.vm, 100);
    frames_cross(&f, packets, 5);
    close(packets);
    close(tap_fd);
    tear_down(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_vhost");
    TCase *tests = tap_case(suite, "vhost");

    tcase_add_test(tests, notifications_and_interrupts);
    tcase_add_loop_test(tests, goes_on_where_it_had_got_to, 0, 3);
    tcase_add_test(tests, reset_stops_it_at_once);
    tcase_add_test(tests, what_does_not_start_is_an_unplugged_cable);
    tcase_add_test(tests, devices_that_can_not_be);
    tcase_add_test(tests, fds_that_are_not_vhost_net);
    tcase_add_test(tests, real_vhost_net);
    return tap_main(suite);
}
