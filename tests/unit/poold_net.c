/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what a pool says of its network is checked and reaches volt-vmm; taps on a bridge and
 * macvtaps are made as asked, and are gone with their fds. Method: a table of what is refused; as
 * root, a network namespace with a bridge of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "net/net_bridge.h"
#include "net/net_macvtap.h"
#include "net/net_passt.h"
#include "net/net_tap.h"
#include "net/net_walls.h"
#include "net/pool_net.h"
#include "tap_main.h"

static const struct {
    struct pool_net_spec spec;
    uint32_t max;
    const char *told;
} refused[] = {
    { { .kind = "wan" }, 4, "'net' is none, user, tap" },
    { { .kind = "bridge" }, 4, "'net' is none, user, tap" },
    { { .kind = "taps" }, 4, "'net' is none, user, tap" },
    { { .kind = "tap", .address = "10.0.0.0" }, 4, "'net_address' is a network" },
    { { .kind = "tap", .address = "10.0.0.1/24" }, 4, "'net_address' is a network" },
    { { .kind = "tap", .address = "10.0.0.0/29" }, 6, "has 5 addresses" },
    { { .kind = "tap", .vhost = "yes" }, 4, "auto, on or off" },
    { { .kind = "user", .vhost = "on" }, 4, "is for 'net' tap" },
    { { .kind = "bridge=br0", .vhost = "on", .pps = 1 }, 4, "knows no limits" },
    { { .kind = "tap", .vhost = "on", .bandwidth = 5000 }, 4, "knows no limits" },
    { { .kind = "tap", .address = "10.0.0.0/24", .allow = "10.0.0.1/8" }, 4, "'net_allow': '10.0" },
    { { .kind = "user", .address = "10.0.0.0/24", .deny = "::1" }, 4, "'net_deny': '::1': expect" },
    { { .kind = "", .deny = "10.0.0.0/8" }, 4, "'net_deny' goes with a network" },
    { { .kind = "", .pps = 5 }, 4, "'net_pps' goes with a network" },
    { { .kind = "", .bandwidth = 5000 }, 4, "'net_bandwidth' goes with a network" },
    { { .kind = "", .vhost = "on" }, 4, "'net_vhost' goes with a network" },
    { { .kind = "", .any_source = true }, 4, "'net_any_source' goes with a network" },
};

START_TEST(what_can_not_be_is_told)
{
    struct err err = { 0 };

    ck_assert_int_lt(pool_net_check(&refused[_i].spec, refused[_i].max, &err), 0);
    ck_assert_msg(strstr(err.msg, refused[_i].told) != NULL, "%s", err.msg);
}
END_TEST

START_TEST(volt_vmm_is_given_a_tap_or_a_stream)
{
    static const struct {
        struct pool_net_spec spec;
        const char *option;
    } options[] = {
        { { .kind = "" }, "" },
        { { .kind = "user", .pps = 5 }, "user,pps=5" },
        { { .kind = "tap" }, "tap" },
        { { .kind = "bridge=fifteen-letters", .bandwidth = 4096 }, "tap,bandwidth=4096" },
        { { .kind = "macvtap=eth0" }, "tap" },
    };
    char text[POOL_NET_OPTION_BYTES];

    for (unsigned i = 0; i < ARRAY_LEN(options); i++) {
        pool_net_option(&options[i].spec, text);
        ck_assert_str_eq(text, options[i].option);
    }
}
END_TEST

/* Two pools on one link would give the same addresses; elsewhere they may. */
START_TEST(addresses_on_one_link_are_given_once)
{
    static const struct {
        struct pool_net_spec a, b;
        bool overlap;
    } pairs[] = {
        { { .kind = "bridge=br0", .address = "10.0.0.0/16" },
          { .kind = "bridge=br0", .address = "10.0.128.0/24" },
          true },
        { { .kind = "bridge=br0", .address = "10.0.0.0/16" },
          { .kind = "bridge=br0", .address = "10.1.0.0/16" },
          false },
        { { .kind = "bridge=br0", .address = "10.0.0.0/16" },
          { .kind = "bridge=br1", .address = "10.0.0.0/16" },
          false },
        { { .kind = "macvtap=br0", .address = "10.0.0.0/24" },
          { .kind = "macvtap=br0", .address = "10.0.0.0/16" },
          true },
        { { .kind = "tap", .address = "10.0.0.0/16" },
          { .kind = "tap", .address = "10.0.0.0/16" },
          false },
        { { .kind = "user", .address = "10.0.0.0/16" },
          { .kind = "user", .address = "10.0.0.0/16" },
          false },
    };

    for (unsigned i = 0; i < ARRAY_LEN(pairs); i++) {
        ck_assert_int_eq(pool_net_overlap(&pairs[i].a, &pairs[i].b), pairs[i].overlap);
        ck_assert_int_eq(pool_net_overlap(&pairs[i].b, &pairs[i].a), pairs[i].overlap);
    }
}
END_TEST

/* No two addresses have one MAC, and none begins as those of the host's ends of links do. */
START_TEST(macs_are_those_of_addresses)
{
    static const uint32_t addresses[] = { 0x0a560002, 0x0a560003, 0xfe000002, 0x0a56fe02,
                                          0x0a570002 };
    uint8_t macs[ARRAY_LEN(addresses)][6];

    for (unsigned i = 0; i < ARRAY_LEN(addresses); i++) {
        net_mac_of(addresses[i], macs[i]);
        ck_assert_uint_eq(macs[i][0], 2);
        for (unsigned j = 0; j < i; j++)
            ck_assert_int_ne(memcmp(macs[i], macs[j], 6), 0);
    }
}
END_TEST

/* ---- Real links ---- */

static const uint8_t mac[6] = { 2, 0, 0, 1, 2, 3 };

/* A namespace with a bridge br0 and, as a link that can have macvtaps, a tap t0. The tap's fd; -1:
 * this can't be had here. */
static int make_links(int control)
{
    struct ifreq tap = { .ifr_name = "t0", .ifr_flags = IFF_TAP | IFF_NO_PI };
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    if (fd >= 0 && (ioctl(control, SIOCBRADDBR, "br0") < 0 || ioctl(fd, TUNSETIFF, &tap) < 0))
        close_fd(&fd);
    return fd;
}

static int enter_namespace(void)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0)
        return -1;
    return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

/* Loaded walls. False: this kernel has none. */
static bool make_walls(struct net_walls *walls, uv_loop_t *loop)
{
    struct err err = { 0 };

    uv_loop_init(loop);
    net_walls_init(walls, loop, "/nonexistent", NULL, "unit-net");
    return net_walls_load(walls, false, &err) == 0;
}

static void free_walls(struct net_walls *walls, uv_loop_t *loop)
{
    net_walls_fini(walls);
    uv_loop_close(loop);
}

/* As root, each of what holds passt taken away in turn. */
START_TEST(a_passt_that_can_not_be_held_is_refused)
{
    static const struct {
        const char *without; /* a command, in a mount namespace of its own */
        bool uids;
        const char *told;
    } rows[] = {
        { "true", false, "network 'user' needs uids for VMs" },
        { "umount -l -a -t cgroup2", true, "there is no cgroup v2 (mount" },
    };
    const struct pool_net_spec spec = { .kind = "user", .address = "10.0.0.0/24" };
    struct vm_uids uids = { .base = 900000 };
    struct net_walls walls;
    struct err err = { 0 };
    uv_loop_t loop;

    if (geteuid() != 0 || access(NET_PASST, X_OK) < 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        printf("# not run: this needs root, and " NET_PASST "\n");
        return;
    }
    ck_assert_int_eq(system(rows[_i].without), 0);
    uv_loop_init(&loop);
    net_walls_init(&walls, &loop, "/bin/true", rows[_i].uids ? &uids : NULL, "unit-net");
    ck_assert_int_lt(pool_net_try(&spec, &walls, &err), 0);
    ck_assert_msg(strstr(err.msg, rows[_i].told) != NULL, "%s", err.msg);
    ck_assert_int_lt(walls.procs_fd, 0);
    free_walls(&walls, &loop);
}
END_TEST

/* 0, or -errno: -EBUSY while it has macvtaps. */
static int join_and_leave(int control, const char *link)
{
    struct ifreq request = { .ifr_name = "br0", .ifr_ifindex = (int)if_nametoindex(link) };

    return ioctl(control, SIOCBRADDIF, &request) < 0 || ioctl(control, SIOCBRDELIF, &request) < 0
               ? -errno
               : 0;
}

START_TEST(taps_on_a_bridge)
{
    _cleanup_close_ int control = enter_namespace();
    _cleanup_close_ int link = control >= 0 ? make_links(control) : -1;
    struct net_bridge_port port[2], none;
    struct net_walls walls;
    struct err err = { 0 };
    uv_loop_t loop;

    if (link < 0 || !make_walls(&walls, &loop))
        return;
    ck_assert_int_eq(net_bridge_check("br0", &err), 0);
    ck_assert_int_eq(net_bridge_check("nowhere", &err), -ENODEV);
    ck_assert_ptr_nonnull(strstr(err.msg, "there is no link 'nowhere'"));
    ck_assert_int_eq(net_bridge_check("t0", &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "'t0' is no bridge"));
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_msg(net_bridge_tap(&walls, "br0", mac, &port[i], &err) == 0, "%s", err.msg);
        ck_assert_uint_eq(if_nametoindex(port[i].name), port[i].index);
        ck_assert_int_eq(join_and_leave(control, port[i].name), -EBUSY); /* it is on it */
    }
    ck_assert_str_ne(port[0].name, port[1].name);
    close(port[0].tap_fd);
    ck_assert_uint_eq(if_nametoindex(port[0].name), 0);
    ck_assert_uint_ne(if_nametoindex(port[1].name), 0);
    close(port[1].tap_fd);
    ck_assert_int_lt(net_bridge_tap(&walls, "t0", mac, &none, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.msg, "a port of 't0'"));
    ck_assert_uint_eq(if_nametoindex("volt0"), 0); /* nothing is left of it */
    free_walls(&walls, &loop);
}
END_TEST

/* Another program's link has the index that is next: the one after it is taken. */
START_TEST(an_index_that_is_taken_is_passed_over)
{
    _cleanup_close_ int control = enter_namespace();
    _cleanup_close_ int link = control >= 0 ? make_links(control) : -1;
    _cleanup_close_ int other = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    struct ifreq request = { .ifr_name = "other", .ifr_flags = IFF_TAP | IFF_NO_PI };
    struct net_bridge_port port;
    struct net_walls walls;
    struct err err = { 0 };
    uv_loop_t loop;

    if (link < 0 || !make_walls(&walls, &loop))
        return;
    uint32_t taken = net_walls_link_index(&walls);
    walls.next_index--;
    ck_assert_int_eq(ioctl(other, TUNSETIFINDEX, &taken), 0);
    ck_assert_int_eq(ioctl(other, TUNSETIFF, &request), 0);
    ck_assert_msg(net_bridge_tap(&walls, "br0", mac, &port, &err) == 0, "%s", err.msg);
    ck_assert_uint_ne(port.index, taken);
    close(port.tap_fd);
    free_walls(&walls, &loop);
}
END_TEST

START_TEST(macvtaps)
{
    _cleanup_close_ int control = enter_namespace();
    _cleanup_close_ int link = control >= 0 ? make_links(control) : -1;
    struct stock_item item;
    struct ifreq request = { 0 };
    struct net_walls walls;
    struct err err = { 0 };
    uv_loop_t loop;
    int rc = -EBUSY;

    if (link < 0 || !make_walls(&walls, &loop))
        return;
    ck_assert_int_eq(net_macvtap_check(&walls, "nowhere", &err), -ENODEV);
    ck_assert_ptr_nonnull(strstr(err.msg, "there is no link 'nowhere'"));
    if (net_macvtap_check(&walls, "t0", &err) < 0) {
        /* A kernel without them, or a /dev that is not the kernel's own. */
        ck_assert_ptr_nonnull(strstr(err.msg, "network 'macvtap'"));
        return;
    }
    ck_assert_msg(net_macvtap_make(&walls, "t0", mac, &item, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(ioctl(item.fds[NET_TAP_FD], SIOCGIFHWADDR, &request), 0);
    ck_assert_mem_eq(request.ifr_hwaddr.sa_data, mac, sizeof mac);
    ck_assert_int_eq(join_and_leave(control, "t0"), -EBUSY);
    stock_item_close(&item);
    for (unsigned i = 0; i < 3000 && rc == -EBUSY;
         i++) { /* the kernel takes namespaces down later */
        poll(NULL, 0, 10);
        rc = join_and_leave(control, "t0");
    }
    ck_assert_int_eq(rc, 0);
    free_walls(&walls, &loop);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("poold_net");
    TCase *tests = tap_case(suite, "net");

    tcase_add_loop_test(tests, what_can_not_be_is_told, 0, ARRAY_LEN(refused));
    tcase_add_test(tests, volt_vmm_is_given_a_tap_or_a_stream);
    tcase_add_test(tests, addresses_on_one_link_are_given_once);
    tcase_add_test(tests, macs_are_those_of_addresses);
    tcase_add_loop_test(tests, a_passt_that_can_not_be_held_is_refused, 0, 2);
    tcase_add_test(tests, taps_on_a_bridge);
    tcase_add_test(tests, an_index_that_is_taken_is_passed_over);
    tcase_add_test(tests, macvtaps);
    return tap_main(suite);
}
