/* SPDX-License-Identifier: Apache-2.0 */
/* Network interfaces by ioctl: see net.h. */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/if_ether.h>
#include <netpacket/packet.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "text.h"

#define INTERFACE "eth0"
#define RESOLVER "/etc/resolv.conf"

static int set_flags(int fd, const char *name, short flags)
{
    struct ifreq request = { .ifr_flags = flags };

    memcpy(request.ifr_name, name, strlen(name) + 1);
    return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

int net_loopback_up(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), status;

    if (fd < 0)
        return -errno;
    status = set_flags(fd, "lo", IFF_UP | IFF_RUNNING);
    close(fd);
    return status;
}

static int set_mac(int fd, const uint8_t mac[6])
{
    struct ifreq request = { .ifr_name = INTERFACE, .ifr_hwaddr = { .sa_family = ARPHRD_ETHER } };

    memcpy(request.ifr_hwaddr.sa_data, mac, 6);
    return ioctl(fd, SIOCSIFHWADDR, &request) < 0 ? -errno : 0;
}

static int set_address(int fd, unsigned long what, uint32_t address)
{
    struct ifreq request = { .ifr_name = INTERFACE };
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { .s_addr = address } };

    memcpy(&request.ifr_addr, &in, sizeof(in));
    return ioctl(fd, (int)what, &request) < 0 ? -errno : 0;
}

static int set_default_route(int fd, uint32_t gateway)
{
    const struct sockaddr_in any = { .sin_family = AF_INET };
    struct sockaddr_in via = { .sin_family = AF_INET, .sin_addr = { .s_addr = gateway } };
    struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY };

    memcpy(&route.rt_dst, &any, sizeof(any));
    memcpy(&route.rt_genmask, &any, sizeof(any));
    memcpy(&route.rt_gateway, &via, sizeof(via));
    return ioctl(fd, SIOCADDRT, &route) < 0 && errno != EEXIST ? -errno : 0;
}

static int write_resolver(uint32_t dns)
{
    const uint8_t *bytes = (const uint8_t *)&dns;
    int fd = open(RESOLVER, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    char line[40];
    struct text text;
    ssize_t count;

    /* A link into what a service that does not run here would make: a file in its place. */
    if (fd < 0 && unlink(RESOLVER) == 0)
        fd = open(RESOLVER, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    text_init(&text, line, sizeof(line));
    text_add(&text, "nameserver ");
    for (int i = 0; i < 4; i++) {
        text_add_u64(&text, bytes[i]);
        text_add(&text, i < 3 ? "." : "\n");
    }
    count = write(fd, line, text.length);
    close(fd);
    return count == (ssize_t)text.length ? 0 : -EIO;
}

/* "This address is at this MAC", to everybody: switches and neighbours learn the clone's place. */
static int announce(int unused, const struct doorbell_mailbox *mailbox)
{
    struct ether_arp arp = {
        .ea_hdr = { .ar_hrd = htons(ARPHRD_ETHER),
                    .ar_pro = htons(ETHERTYPE_IP),
                    .ar_hln = 6,
                    .ar_pln = 4,
                    .ar_op = htons(ARPOP_REQUEST) },
    };
    struct sockaddr_ll to = { .sll_family = AF_PACKET,
                              .sll_protocol = htons(ETHERTYPE_ARP),
                              .sll_ifindex = (int)if_nametoindex(INTERFACE),
                              .sll_halen = 6 };
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETHERTYPE_ARP)), status = 0;

    (void)unused;
    if (fd < 0)
        return -errno;
    memcpy(arp.arp_sha, mailbox->mac, 6);
    memcpy(arp.arp_spa, &mailbox->ipv4_address, 4);
    memcpy(arp.arp_tpa, &mailbox->ipv4_address, 4);
    memset(to.sll_addr, 0xff, 6);
    if (sendto(fd, &arp, sizeof(arp), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
        status = -errno;
    close(fd);
    return status;
}

/* ---- Steps of net_configure: 0 or -errno. ---- */

static int stop(int fd, const struct doorbell_mailbox *mailbox)
{
    (void)mailbox;
    return set_flags(fd, INTERFACE, 0);
}

static int give_mac(int fd, const struct doorbell_mailbox *mailbox)
{
    return set_mac(fd, mailbox->mac);
}

static int give_address(int fd, const struct doorbell_mailbox *mailbox)
{
    const unsigned bits = MIN_OF(mailbox->ipv4_prefix_bits, 32u);
    const uint32_t mask = bits ? htonl(~0u << (32 - bits)) : 0;
    int status = set_address(fd, SIOCSIFADDR, mailbox->ipv4_address);

    return status < 0 ? status : set_address(fd, SIOCSIFNETMASK, mask);
}

static int start(int fd, const struct doorbell_mailbox *mailbox)
{
    (void)mailbox;
    return set_flags(fd, INTERFACE, IFF_UP | IFF_RUNNING);
}

static int give_route(int fd, const struct doorbell_mailbox *mailbox)
{
    return mailbox->ipv4_gateway ? set_default_route(fd, mailbox->ipv4_gateway) : 0;
}

static int give_resolver(int fd, const struct doorbell_mailbox *mailbox)
{
    (void)fd;
    return mailbox->ipv4_dns ? write_resolver(mailbox->ipv4_dns) : 0;
}

int net_configure(const struct doorbell_mailbox *mailbox, struct fail *fail)
{
    static const struct {
        int (*work)(int fd, const struct doorbell_mailbox *mailbox);
        const char *what, *subject;
    } steps[] = {
        { stop, "can't stop", INTERFACE },
        { give_mac, "can't set the MAC address of", INTERFACE },
        { give_address, "can't set the address of", INTERFACE },
        { start, "can't start", INTERFACE },
        { give_route, "can't set the default route over", INTERFACE },
        { give_resolver, "can't write", RESOLVER },
        { announce, "can't announce the address of", INTERFACE },
    };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), status = 0;

    if (fd < 0)
        return fail_set_errno(fail, errno, "no network", NULL);
    for (size_t i = 0; status == 0 && i < ARRAY_LEN(steps); i++) {
        status = steps[i].work(fd, mailbox);
        if (status < 0)
            fail_set_errno(fail, -status, steps[i].what, steps[i].subject);
    }
    close(fd);
    return status;
}
