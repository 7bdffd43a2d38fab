/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the making of macvtaps; see net_macvtap.h.
 *
 * A macvtap's node is /dev/tapINDEX, INDEX being the link's in its namespace: as /dev is the
 * host's, one is chosen that no other is likely to have. Should it be another's all the same, its
 * MAC tells. */
#include "net/net_macvtap.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/util.h"
#include "net/net_kernel.h"
#include "net/net_tap.h"
#include "net/net_walls.h"

#define MACVTAP_NAME "macvtap0"
#define INDEX_TRIES 8u

/* ---- The link: one message to the kernel, rtnetlink(7) ---- */

static void describe(struct nlmsghdr *header, uint32_t parent_index, uint32_t index,
                     const uint8_t mac[6], int netns_fd)
{
    struct ifinfomsg *link;
    struct nlattr *info, *data;

    header->nlmsg_type = RTM_NEWLINK;
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
    link = mnl_nlmsg_put_extra_header(header, sizeof *link);
    link->ifi_index = (int)index;
    mnl_attr_put_u32(header, IFLA_LINK, parent_index);
    mnl_attr_put_u32(header, IFLA_NET_NS_FD, (uint32_t)netns_fd);
    mnl_attr_put_strz(header, IFLA_IFNAME, MACVTAP_NAME);
    mnl_attr_put(header, IFLA_ADDRESS, 6, mac);
    info = mnl_attr_nest_start(header, IFLA_LINKINFO);
    mnl_attr_put_str(header, IFLA_INFO_KIND, "macvtap");
    data = mnl_attr_nest_start(header, IFLA_INFO_DATA);
    mnl_attr_put_u32(header, IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
    mnl_attr_nest_end(header, data);
    mnl_attr_nest_end(header, info);
}

static int add_link(uint32_t parent_index, uint32_t index, const uint8_t mac[6], int netns_fd)
{
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    uint8_t request[512], answer[4096]; /* with the kernel's own words */
    struct nlmsghdr *header = mnl_nlmsg_put_header(request);
    ssize_t n;
    int rc = 0;

    describe(header, parent_index, index, mac, netns_fd);
    if (!socket || mnl_socket_sendto(socket, header, header->nlmsg_len) < 0 ||
        (n = mnl_socket_recvfrom(socket, answer, sizeof answer)) < 0 ||
        mnl_cb_run(answer, (size_t)n, 0, 0, NULL, NULL) < 0)
        rc = -errno;
    if (socket)
        mnl_socket_close(socket);
    return rc;
}

/* ---- Its node ---- */

static int open_node(uint32_t index, const uint8_t mac[6], int *ret_fd)
{
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
    char path[32];

    snprintf(path, sizeof path, "/dev/tap%u", index);
    _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, SIOCGIFHWADDR, &request) < 0)
        return -errno;
    if (memcmp(request.ifr_hwaddr.sa_data, mac, 6) != 0)
        return -EADDRINUSE;
    *ret_fd = take_fd(&fd);
    return 0;
}

struct macvtap {
    const struct net_walls *walls;
    uint32_t index;
    int control_fd;
};

/* In its namespace: it is held to a policy before anything can be sent by it. */
static int hold_and_set_up(void *context, struct err *err)
{
    const struct macvtap *macvtap = context;
    struct ifreq request = { .ifr_name = MACVTAP_NAME, .ifr_flags = IFF_UP | IFF_RUNNING };
    int rc = net_kernel_attach(macvtap->walls->kernel, macvtap->index, true, err);

    if (rc == 0 && ioctl(macvtap->control_fd, SIOCSIFFLAGS, &request) < 0)
        rc = err_set_errno(err, errno, "setting it up");
    return rc;
}

static int nothing_more(void *context, struct stock_item *item, struct err *err)
{
    (void)context;
    (void)item;
    (void)err;
    return 0;
}

static int make(struct net_walls *walls, uint32_t parent_index, const uint8_t mac[6],
                struct stock_item *item, struct err *err)
{
    int rc = net_namespace_make(nothing_more, NULL, item, err);

    if (rc < 0)
        return rc;
    item->number = net_walls_link_index(walls);
    rc = add_link(parent_index, item->number, mac, item->fds[NET_NETNS_FD]);
    if (rc < 0)
        return err_set_errno(err, -rc, "making the link");
    struct macvtap macvtap = { walls, item->number, item->fds[NET_CONTROL_FD] };
    rc = net_namespace_do(item->fds[NET_NETNS_FD], hold_and_set_up, &macvtap, err);
    if (rc < 0)
        return rc;
    rc = open_node(item->number, mac, &item->fds[NET_TAP_FD]);
    return rc < 0 ? err_set_errno(err, -rc, "its node /dev/tap%u", item->number) : 0;
}

int net_macvtap_make(struct net_walls *walls, const char *parent, const uint8_t mac[6],
                     struct stock_item *ret_item, struct err *err)
{
    uint32_t parent_index = if_nametoindex(parent);
    int rc = -EEXIST;

    if (parent_index == 0)
        return err_set(err, ENODEV, "network 'macvtap': there is no link '%s'", parent);
    /* Another poold's may have the index, or its node. */
    for (unsigned i = 0; i < INDEX_TRIES && (rc == -EEXIST || rc == -EBUSY || rc == -EADDRINUSE);
         i++) {
        struct stock_item item = STOCK_ITEM_INIT;

        rc = make(walls, parent_index, mac, &item, err);
        if (rc < 0)
            stock_item_close(&item);
        else
            *ret_item = item;
    }
    return rc < 0 ? err_wrap(err, "network 'macvtap' over '%s'", parent), rc : 0;
}

int net_macvtap_check(struct net_walls *walls, const char *parent, struct err *err)
{
    struct stock_item item;
    uint8_t mac[6];

    random_bytes(mac, sizeof mac);
    mac[0] = (uint8_t)((mac[0] & ~3u) | 6u); /* no VM's, which begins with 02 */
    int rc = net_macvtap_make(walls, parent, mac, &item, err);
    if (rc == 0)
        stock_item_close(&item);
    return rc;
}
