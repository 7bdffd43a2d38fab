/* SPDX-License-Identifier: Apache-2.0 */
/* Makes taps, and namespaces; see net_tap.h. */
#include "net/net_tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/util.h"
#include "net/net_kernel.h"
#include "net/net_walls.h"

int net_tap_open(const struct net_kernel *kernel, uint32_t index, char name[IFNAMSIZ], int *ret_fd,
                 struct err *err)
{
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
    _cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

    memcpy(request.ifr_name, name, IFNAMSIZ);
    if (fd < 0 || ioctl(fd, TUNSETIFINDEX, &index) < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
        return err_set_errno(err, errno, "making a tap");
    int rc = net_kernel_attach(kernel, index, false, err);
    if (rc < 0)
        return rc;
    memcpy(name, request.ifr_name, IFNAMSIZ);
    *ret_fd = take_fd(&fd);
    return 0;
}

/* ---- Namespaces ---- */

static void go_back(int own_fd)
{
    if (setns(own_fd, CLONE_NEWNET) == 0)
        return;
    log_error("can't go back to the host's network namespace: %s", strerror(errno));
    abort(); /* whatever the thread did from here on would be done in a VM's */
}

static int open_own(void)
{
    return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

/* Of the namespace that the thread is in. */
static int namespace_open(struct stock_item *item, struct err *err)
{
    item->fds[NET_NETNS_FD] = open_own();
    if (item->fds[NET_NETNS_FD] >= 0)
        item->fds[NET_CONTROL_FD] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return item->fds[NET_CONTROL_FD] < 0 ? err_set_errno(err, errno, "making a network namespace")
                                         : 0;
}

int net_namespace_make(int (*fill)(void *context, struct stock_item *item, struct err *err),
                       void *context, struct stock_item *ret_item, struct err *err)
{
    _cleanup_close_ int own = open_own();

    if (own < 0 || unshare(CLONE_NEWNET) < 0)
        return err_set_errno(err, errno, "making a network namespace");
    int rc = namespace_open(ret_item, err);
    if (rc == 0)
        rc = fill(context, ret_item, err);
    go_back(own);
    return rc;
}

int net_namespace_do(int netns_fd, int (*work)(void *context, struct err *err), void *context,
                     struct err *err)
{
    _cleanup_close_ int own = open_own();

    if (own < 0 || setns(netns_fd, CLONE_NEWNET) < 0)
        return err_set_errno(err, errno, "entering a network namespace");
    int rc = work(context, err);
    go_back(own);
    return rc;
}

/* ---- A tap in one ---- */

static int fill_with_tap(void *context, struct stock_item *item, struct err *err)
{
    struct net_walls *walls = context;
    char name[IFNAMSIZ] = NET_TAP_NAME;

    item->number = net_walls_link_index(walls);
    return net_tap_open(walls->kernel, item->number, name, &item->fds[NET_TAP_FD], err);
}

int net_tap_try(struct net_walls *walls, struct stock_item *ret_tap, struct err *err)
{
    struct stock_item tap = STOCK_ITEM_INIT;
    int rc = net_namespace_make(fill_with_tap, walls, &tap, err);

    if (rc < 0)
        stock_item_close(&tap);
    else
        *ret_tap = tap;
    return rc;
}

int net_tap_make(void *context, struct stock_item *ret_tap)
{
    return net_namespace_make(fill_with_tap, context, ret_tap, NULL);
}

static int set_address(int fd, unsigned long what, uint32_t address)
{
    struct ifreq request = { .ifr_name = NET_TAP_NAME };
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = address };

    memcpy(&request.ifr_addr, &in, sizeof in);
    return ioctl(fd, what, &request) < 0 ? -errno : 0;
}

static int set_up(int fd, const char *name)
{
    struct ifreq request = { .ifr_flags = IFF_UP | IFF_RUNNING };

    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

int net_tap_configure(const struct stock_item *tap, uint32_t address, uint8_t prefix_bits)
{
    int rc = set_address(tap->fds[NET_CONTROL_FD], SIOCSIFADDR, address);

    if (rc == 0)
        rc =
            set_address(tap->fds[NET_CONTROL_FD], SIOCSIFNETMASK, htonl(~0u << (32 - prefix_bits)));
    if (rc == 0)
        rc = set_up(tap->fds[NET_CONTROL_FD], NET_TAP_NAME);
    return rc == 0 ? set_up(tap->fds[NET_CONTROL_FD], "lo") : rc;
}
