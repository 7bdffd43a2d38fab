/* SPDX-License-Identifier: Apache-2.0 */
/* Where the programs in the host's kernel are tested: as root, in a network namespace of its own, a VM's
 * tap on a bridge or macvtap, and the network's end of it. */
#ifndef VOLT_TESTS_KERNEL_LAB_H
#define VOLT_TESTS_KERNEL_LAB_H

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

static inline void up(const char *name)
{
    struct ifreq request = { .ifr_flags = IFF_UP | IFF_RUNNING };
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    ck_assert_int_eq(ioctl(fd, SIOCSIFFLAGS, &request), 0);
}

/* A tap without any policy, up. */
static inline int plain_tap(const char *name)
{
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    ck_assert_int_eq(ioctl(fd, TUNSETIFF, &request), 0);
    up(name);
    return fd;
}

static inline uint32_t address_of(const char *text)
{
    struct in_addr in;

    ck_assert_int_eq(inet_pton(AF_INET, text, &in), 1);
    return ntohl(in.s_addr);
}

/* False: this host has none of it, which is said. */
static inline bool lab_open(struct lab *lab)
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

static inline void lab_close(struct lab *lab)
{
    close_fd(&lab->vm_fd);
    close_fd(&lab->peer_fd);
    close_fd(&lab->host_fd);
    close_fd(&lab->netns_fd);
    net_walls_fini(&lab->walls);
    uv_loop_close(&lab->loop);
}

static inline int packet_socket(const char *link)
{
    const struct sockaddr_ll at = { .sll_family = AF_PACKET,
                                    .sll_ifindex = (int)if_nametoindex(link) };
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static inline void on_bridge(struct lab *lab)
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
static inline bool on_macvtap(struct lab *lab)
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
static inline void know(struct lab *lab, uint32_t index)
{
    const struct net_kernel *kernel = lab->walls.kernel;
    struct net_vm vm = frames_vm();
    struct net_rules rules;
    struct err err;

    vm.policy = 5;
    vm.on_bridge = lab->netns_fd < 0;
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

static inline int header_bytes(const struct lab *lab, int fd)
{
    return fd == lab->peer_fd || fd == lab->host_fd ? 0 : (int)HEADER_BYTES;
}

/* 0 or -errno. */
static inline int write_frame(const struct lab *lab, int fd, const struct virtio_net_hdr *header,
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
static inline bool is_same(const uint8_t *got, ssize_t got_bytes, const uint8_t *frame,
                           uint32_t bytes)
{
    return got_bytes >= (ssize_t)MIN_OF(bytes, 38u) &&
           memcmp(got, frame, MIN_OF(bytes, 24u)) == 0 &&
           (bytes < 38 || memcmp(got + 26, frame + 26, 12) == 0);
}

/* Whether that frame comes to fd; others, as links make some themselves, are passed over. */
static inline bool arrives(const struct lab *lab, int fd, const uint8_t *frame, uint32_t bytes,
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

#endif
