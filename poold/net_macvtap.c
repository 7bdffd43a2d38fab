/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the making of macvtaps; see net_macvtap.h.
 *
 * A macvtap's node is /dev/tapINDEX, INDEX being the link's in its namespace: as /dev is the
 * host's, one is chosen that no other is likely to have. Should it be another's all the same, its
 * MAC tells. */
#include "net_macvtap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/util.h"
#include "net_tap.h"

#define MACVTAP_NAME "macvtap0"
#define INDEX_LEAST (1u << 24) /* those that the kernel gives out are small */
#define INDEX_COUNT (1u << 30)

/* ---- The link: one message to the kernel, rtnetlink(7) ---- */

struct link_request {
    struct nlmsghdr header;
    struct ifinfomsg link;
    uint8_t attributes[256];
};

struct link_answer {
    struct nlmsghdr header;
    struct nlmsgerr error;
    uint8_t more[1024]; /* the kernel's own words */
};

static struct rtattr *add_attribute(struct link_request *request, unsigned type, const void *data,
                                    size_t bytes)
{
    struct rtattr *at =
        (struct rtattr *)(void *)((uint8_t *)request + NLMSG_ALIGN(request->header.nlmsg_len));

    at->rta_type = (unsigned short)type;
    at->rta_len = (unsigned short)RTA_LENGTH(bytes);
    if (bytes)
        memcpy(RTA_DATA(at), data, bytes);
    request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(at->rta_len);
    return at;
}

/* What was added since `outer` is inside it. */
static void end_attribute(struct link_request *request, struct rtattr *outer)
{
    outer->rta_len =
        (unsigned short)((uint8_t *)request + request->header.nlmsg_len - (uint8_t *)outer);
}

static void describe(struct link_request *request, uint32_t parent_index, uint32_t index,
                     const uint8_t mac[6], int netns_fd)
{
    const uint32_t mode = MACVLAN_MODE_BRIDGE;

    *request = (struct link_request){
        .header = { .nlmsg_len = NLMSG_LENGTH(sizeof request->link),
                    .nlmsg_type = RTM_NEWLINK,
                    .nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK },
        .link = { .ifi_family = AF_UNSPEC, .ifi_index = (int)index },
    };
    add_attribute(request, IFLA_LINK, &parent_index, sizeof parent_index);
    add_attribute(request, IFLA_NET_NS_FD, &netns_fd, sizeof netns_fd);
    add_attribute(request, IFLA_IFNAME, MACVTAP_NAME, sizeof MACVTAP_NAME);
    add_attribute(request, IFLA_ADDRESS, mac, 6);
    struct rtattr *info = add_attribute(request, IFLA_LINKINFO, NULL, 0);
    add_attribute(request, IFLA_INFO_KIND, "macvtap", strlen("macvtap"));
    struct rtattr *data = add_attribute(request, IFLA_INFO_DATA, NULL, 0);
    add_attribute(request, IFLA_MACVLAN_MODE, &mode, sizeof mode);
    end_attribute(request, data);
    end_attribute(request, info);
}

static int add_link(const struct link_request *request)
{
    _cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct link_answer answer;

    if (fd < 0 || send(fd, request, request->header.nlmsg_len, 0) < 0)
        return -errno;
    ssize_t n = recv(fd, &answer, sizeof answer, 0);
    if (n < 0)
        return -errno;
    if (n < (ssize_t)NLMSG_LENGTH(sizeof answer.error) || answer.header.nlmsg_type != NLMSG_ERROR)
        return -EPROTO;
    return answer.error.error;
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

static int set_up(int control_fd)
{
    struct ifreq request = { .ifr_name = MACVTAP_NAME, .ifr_flags = IFF_UP | IFF_RUNNING };

    return ioctl(control_fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

int net_macvtap_make(const char *parent, const uint8_t mac[6], struct stock_item *ret_item,
                     struct err *err)
{
    struct stock_item item = STOCK_ITEM_INIT;
    struct link_request request;
    uint32_t parent_index = if_nametoindex(parent), index;

    if (parent_index == 0)
        return err_set(err, ENODEV, "network 'macvtap': there is no link '%s'", parent);
    random_bytes(&index, sizeof index);
    index = INDEX_LEAST + index % INDEX_COUNT;
    int rc = net_namespace_make(NULL, &item);
    if (rc == 0) {
        describe(&request, parent_index, index, mac, item.fds[NET_NETNS_FD]);
        rc = add_link(&request);
    }
    if (rc == 0)
        rc = set_up(item.fds[NET_CONTROL_FD]);
    if (rc < 0) {
        err_set_errno(err, -rc, "network 'macvtap': making one over '%s'", parent);
    } else {
        rc = open_node(index, mac, &item.fds[NET_TAP_FD]);
        if (rc < 0)
            err_set_errno(err, -rc, "network 'macvtap': its node /dev/tap%u", index);
    }
    if (rc < 0)
        stock_item_close(&item);
    else
        *ret_item = item;
    return rc;
}

int net_macvtap_check(const char *parent, struct err *err)
{
    struct stock_item item;
    uint8_t mac[6];

    random_bytes(mac, sizeof mac);
    mac[0] = (uint8_t)((mac[0] & ~1u) | 2u);
    int rc = net_macvtap_make(parent, mac, &item, err);
    if (rc == 0)
        stock_item_close(&item);
    return rc;
}
