/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the stock of taps in namespaces; see net_stock.h. */
#include "net_stock.h"

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
#include "work.h"

/* ---- Making one ---- */

/* In the namespace that the thread is in. */
static int tap_open(struct net_tap *tap)
{
    struct ifreq request = { .ifr_name = NET_TAP_NAME,
                             .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };

    tap->netns_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (tap->netns_fd < 0)
        return -errno;
    tap->control_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (tap->control_fd < 0)
        return -errno;
    tap->tap_fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    return tap->tap_fd < 0 || ioctl(tap->tap_fd, TUNSETIFF, &request) < 0 ? -errno : 0;
}

/* Any thread. */
static int tap_make(struct net_tap *ret_tap)
{
    _cleanup_close_ int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

    *ret_tap = NET_TAP_INIT;
    if (own < 0 || unshare(CLONE_NEWNET) < 0)
        return -errno;
    int rc = tap_open(ret_tap);
    if (setns(own, CLONE_NEWNET) < 0) {
        log_error("can't go back to the host's network namespace: %s", strerror(errno));
        abort(); /* whatever the thread did from here on would be done in a VM's */
    }
    if (rc < 0)
        net_tap_close(ret_tap);
    return rc;
}

void net_tap_close(struct net_tap *tap)
{
    close_fd(&tap->tap_fd);
    close_fd(&tap->netns_fd);
    close_fd(&tap->control_fd);
}

/* ---- Its address ---- */

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

int net_tap_configure(const struct net_tap *tap, uint32_t address, uint8_t prefix_bits)
{
    int rc = set_address(tap->control_fd, SIOCSIFADDR, address);

    if (rc == 0)
        rc = set_address(tap->control_fd, SIOCSIFNETMASK, htonl(~0u << (32 - prefix_bits)));
    if (rc == 0)
        rc = set_up(tap->control_fd, NET_TAP_NAME);
    return rc == 0 ? set_up(tap->control_fd, "lo") : rc;
}

/* ---- The stock ---- */

static void fill_run(void *data)
{
    struct net_stock *stock = data;

    for (stock->made_count = 0; stock->made_count < NET_STOCK; stock->made_count++) {
        if (tap_make(&stock->made[stock->made_count]) < 0)
            break;
    }
}

static void fill_done(void *data)
{
    struct net_stock *stock = data;

    stock->busy = false;
    while (stock->made_count > 0) {
        struct net_tap *tap = &stock->made[--stock->made_count];

        if (stock->count < NET_STOCK)
            stock->taps[stock->count++] = *tap;
        else
            net_tap_close(tap);
    }
}

void net_stock_init(struct net_stock *stock, uv_loop_t *loop)
{
    *stock = (struct net_stock){ .loop = loop };
}

int net_stock_take(struct net_stock *stock, struct net_tap *ret_tap)
{
    int rc = 0;

    if (stock->count > 0)
        *ret_tap = stock->taps[--stock->count];
    else
        rc = tap_make(ret_tap);
    if (rc == 0 && stock->count < NET_STOCK / 2 && !stock->busy)
        stock->busy = work_start(stock->loop, fill_run, fill_done, stock) == 0;
    return rc;
}

bool net_stock_idle(const struct net_stock *stock)
{
    return !stock->busy;
}

void net_stock_fini(struct net_stock *stock)
{
    while (stock->count > 0)
        net_tap_close(&stock->taps[--stock->count]);
}
