/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the list of the host's own addresses; see net_host.h.
 *
 * The kernel's news is only that there is some: what is there is read anew, as a whole, so that no
 * lost message and no link that went without a word for each of its routes leaves the list wrong. */
#include "net/net_host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/util.h"

#define LOOPBACK_FIRST 127u
#define BUFFER_BYTES 32768u
#define NEWS_A_TURN 256u

/* ---- Reading what is there ---- */

struct reading {
    struct net_prefixes prefixes;
    uint32_t room;
    int error; /* 0 or -errno */
};

static void add_prefix(struct reading *reading, uint32_t address, uint32_t bits)
{
    uint32_t mask = bits ? ~0u << (32 - bits) : 0;
    struct net_prefixes *all = &reading->prefixes;

    if (address >> 24 == LOOPBACK_FIRST || bits == 0 || bits > 32)
        return;
    if (all->count == reading->room) {
        uint32_t room = reading->room ? 2 * reading->room : 16;
        struct net_prefix *larger = realloc(all->prefix, room * sizeof *larger);

        if (!larger) {
            reading->error = -ENOMEM;
            return;
        }
        all->prefix = larger;
        reading->room = room;
    }
    all->prefix[all->count++] = (struct net_prefix){ address & mask, bits };
}

static bool is_ipv4(const struct nlattr *attribute)
{
    return mnl_attr_validate2(attribute, MNL_TYPE_BINARY, 4) == 0 &&
           mnl_attr_get_payload_len(attribute) == 4;
}

static int on_address(const struct nlmsghdr *header, void *data)
{
    const struct nlattr *attribute;

    if (mnl_nlmsg_get_payload_len(header) < sizeof(struct ifaddrmsg))
        return MNL_CB_OK;
    mnl_attr_for_each(attribute, header, sizeof(struct ifaddrmsg))
    {
        int type = mnl_attr_get_type(attribute);

        if ((type == IFA_LOCAL || type == IFA_BROADCAST) && is_ipv4(attribute))
            add_prefix(data, ntohl(mnl_attr_get_u32(attribute)), 32);
    }
    return MNL_CB_OK;
}

/* In whichever table: rules may send packets to any, and a VRF has one of its own. */
static bool is_of_host(const struct rtmsg *route)
{
    return route->rtm_family == AF_INET &&
           (route->rtm_type == RTN_LOCAL || route->rtm_type == RTN_BROADCAST);
}

static int on_route(const struct nlmsghdr *header, void *data)
{
    const struct rtmsg *route = mnl_nlmsg_get_payload(header);
    const struct nlattr *attribute;

    if (mnl_nlmsg_get_payload_len(header) < sizeof *route || !is_of_host(route))
        return MNL_CB_OK;
    mnl_attr_for_each(attribute, header, sizeof *route)
    {
        if (mnl_attr_get_type(attribute) == RTA_DST && is_ipv4(attribute))
            add_prefix(data, ntohl(mnl_attr_get_u32(attribute)), route->rtm_dst_len);
    }
    return MNL_CB_OK;
}

/* Reads the answer to a dump request, up to its end. 0 or -errno. */
static int receive(struct mnl_socket *socket, uint32_t sequence, mnl_cb_t on_message,
                   struct reading *reading)
{
    uint8_t buffer[BUFFER_BYTES];
    int rc = MNL_CB_OK;

    while (rc > MNL_CB_STOP) {
        ssize_t n = mnl_socket_recvfrom(socket, buffer, sizeof buffer);

        rc = n < 0 ? MNL_CB_ERROR
                   : mnl_cb_run(buffer, (size_t)n, sequence, mnl_socket_get_portid(socket),
                                on_message, reading);
    }
    return rc == MNL_CB_ERROR ? -errno : 0;
}

/* Of the kernel's addresses, or of its routes of one type. 0 or -errno. */
static int dump(struct mnl_socket *socket, uint16_t what, uint8_t route_type,
                struct reading *reading)
{
    const struct rtmsg routes = { .rtm_family = AF_INET, .rtm_type = route_type };
    const struct ifaddrmsg all = { .ifa_family = AF_INET };
    uint8_t buffer[256];
    struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
    uint32_t sequence = (uint32_t)what << 8 | route_type;

    header->nlmsg_type = what;
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    header->nlmsg_seq = sequence;
    if (what == RTM_GETROUTE)
        memcpy(mnl_nlmsg_put_extra_header(header, sizeof routes), &routes, sizeof routes);
    else
        memcpy(mnl_nlmsg_put_extra_header(header, sizeof all), &all, sizeof all);
    if (mnl_socket_sendto(socket, header, header->nlmsg_len) < 0)
        return -errno;
    return receive(socket, sequence, what == RTM_GETROUTE ? on_route : on_address, reading);
}

int net_prefix_compare(const void *a, const void *b)
{
    const struct net_prefix *x = a, *y = b;

    if (x->network != y->network)
        return x->network < y->network ? -1 : 1;
    return (x->bits > y->bits) - (x->bits < y->bits);
}

static void sort(struct net_prefixes *all)
{
    uint32_t kept = 0;

    if (all->count)
        qsort(all->prefix, all->count, sizeof all->prefix[0], net_prefix_compare);
    for (uint32_t i = 0; i < all->count; i++) {
        if (i == 0 || net_prefix_compare(&all->prefix[i], &all->prefix[kept - 1]) != 0)
            all->prefix[kept++] = all->prefix[i];
    }
    all->count = kept;
}

static int read_all(struct net_prefixes *ret)
{
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    struct reading reading = { 0 };
    int rc = socket ? 0 : -errno, on = 1;

    if (rc == 0) {
        /* Of the type asked for alone; without it (before 4.20) all of them are gone through. */
        mnl_socket_setsockopt(socket, NETLINK_GET_STRICT_CHK, &on, sizeof on);
        if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0)
            rc = -errno;
    }
    if (rc == 0)
        rc = dump(socket, RTM_GETADDR, 0, &reading);
    if (rc == 0)
        rc = dump(socket, RTM_GETROUTE, RTN_LOCAL, &reading);
    if (rc == 0)
        rc = dump(socket, RTM_GETROUTE, RTN_BROADCAST, &reading);
    if (rc == 0)
        rc = reading.error;
    if (socket)
        mnl_socket_close(socket);
    if (rc < 0) {
        free(reading.prefixes.prefix);
        return rc;
    }
    sort(&reading.prefixes);
    *ret = reading.prefixes;
    return 0;
}

/* ---- News ---- */

static int on_news(const struct nlmsghdr *header, void *data)
{
    const struct rtmsg *route = mnl_nlmsg_get_payload(header);
    bool *relevant = data;

    switch (header->nlmsg_type) {
    case RTM_NEWADDR:
    case RTM_DELADDR:
        *relevant = true;
        break;
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
        *relevant |= mnl_nlmsg_get_payload_len(header) >= sizeof *route && is_of_host(route);
        break;
    default:
        break;
    }
    return MNL_CB_OK;
}

/* Takes what has come. True: the list may be another. */
static bool drain(struct mnl_socket *watch)
{
    uint8_t buffer[BUFFER_BYTES];
    bool relevant = false;

    for (unsigned i = 0; i < NEWS_A_TURN; i++) {
        ssize_t n = recv(mnl_socket_get_fd(watch), buffer, sizeof buffer, MSG_DONTWAIT);

        if (n < 0 && errno == ENOBUFS) /* some were lost */
            relevant = true;
        else if (n <= 0)
            break;
        else
            mnl_cb_run(buffer, (size_t)n, 0, 0, on_news, &relevant);
    }
    return relevant;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct net_host *host = poll->data;
    struct net_prefixes before = host->now;
    bool relevant = drain(host->watch); /* takes its error, too */
    int rc = 0;

    (void)events;
    if (status < 0) /* news were lost: libuv has stopped at that */
        rc = uv_poll_start(poll, UV_READABLE, on_readable);
    if (rc == 0 && !relevant && status == 0)
        return;
    if (rc == 0)
        rc = read_all(&host->now);
    if (rc < 0) {
        log_error("the host's addresses can't be read: %s; VMs are kept from those known before",
                  strerror(-rc));
        return;
    }
    host->changed(host, &before);
    free(before.prefix);
}

static int watch_open(struct mnl_socket **ret_watch)
{
    static const int groups[] = { RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE };
    struct mnl_socket *watch = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int rc = watch && mnl_socket_bind(watch, 0, MNL_SOCKET_AUTOPID) == 0 ? 0 : -errno;

    for (unsigned i = 0; i < ARRAY_LEN(groups) && rc == 0; i++) {
        int group = groups[i];

        if (mnl_socket_setsockopt(watch, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
            rc = -errno;
    }
    if (rc == 0)
        *ret_watch = watch;
    else if (watch)
        mnl_socket_close(watch);
    return rc;
}

int net_host_start(struct net_host *host, uv_loop_t *loop,
                   void (*changed)(struct net_host *host, const struct net_prefixes *before),
                   struct err *err)
{
    int rc;

    if (host->watch)
        return 0;
    rc = watch_open(&host->watch); /* before they are read: nothing falls between */
    if (rc == 0)
        rc = read_all(&host->now);
    if (rc == 0)
        rc = uv_poll_init(loop, &host->poll, mnl_socket_get_fd(host->watch));
    if (rc < 0) {
        net_host_fini(host);
        return err_set_errno(err, -rc, "the host's own addresses can't be watched");
    }
    host->poll.data = host;
    host->changed = changed;
    return uv_poll_start(&host->poll, UV_READABLE, on_readable);
}

void net_host_fini(struct net_host *host)
{
    if (host->watch)
        mnl_socket_close(host->watch);
    free(host->now.prefix);
    *host = (struct net_host){ .watch = NULL };
}
