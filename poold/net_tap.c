/* SPDX-License-Identifier: Apache-2.0 */
/* Makes taps in namespaces; see net_tap.h. */
#include "net_tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/util.h"
#include "log.h"

static int tap_open(struct stock_item *tap)
{
    struct ifreq request = { .ifr_name = NET_TAP_NAME,
                             .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };

    tap->fds[NET_TAP_FD] = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    return tap->fds[NET_TAP_FD] < 0 || ioctl(tap->fds[NET_TAP_FD], TUNSETIFF, &request) < 0 ? -errno
                                                                                            : 0;
}

/* Of the namespace that the thread is in. */
static int namespace_open(struct stock_item *item)
{
    item->fds[NET_NETNS_FD] = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (item->fds[NET_NETNS_FD] < 0)
        return -errno;
    item->fds[NET_CONTROL_FD] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return item->fds[NET_CONTROL_FD] < 0 ? -errno : 0;
}

int net_namespace_make(int (*fill)(struct stock_item *item), struct stock_item *ret_item)
{
    _cleanup_close_ int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

    if (own < 0 || unshare(CLONE_NEWNET) < 0)
        return -errno;
    int rc = namespace_open(ret_item);
    if (rc == 0 && fill)
        rc = fill(ret_item);
    if (setns(own, CLONE_NEWNET) < 0) {
        log_error("can't go back to the host's network namespace: %s", strerror(errno));
        abort(); /* whatever the thread did from here on would be done in a VM's */
    }
    return rc;
}

int net_tap_make(int context_fd, struct stock_item *ret_tap)
{
    (void)context_fd;
    return net_namespace_make(tap_open, ret_tap);
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
