/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the text of --net; see net_source.h. */
#include "volt-vmm/net_source.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/util.h"

#define MTU_MIN 68u
#define NET_TEXT_BYTES 256u /* of --net */

static const struct net_source none = NET_SOURCE_NONE;

static bool parse_number(const char *text, uint64_t max, uint64_t *ret_number)
{
    char *end;

    errno = 0;
    *ret_number = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && !*end && !errno && *ret_number <= max;
}

static bool parse_fd(const char *value, int *ret_fd)
{
    uint64_t number;

    if (!parse_number(value, INT32_MAX, &number) || fcntl((int)number, F_GETFD) < 0)
        return false;
    *ret_fd = (int)number;
    return true;
}

static bool set_fd(struct net_source *net, const char *value)
{
    return parse_fd(value, &net->fd);
}

static bool set_vhost_fd(struct net_source *net, const char *value)
{
    net->vhost = true;
    return parse_fd(value, &net->vhost_fd);
}

static bool set_mac(struct net_source *net, const char *value)
{
    unsigned byte[6];
    int used = 0;

    if (strlen(value) != 17 || sscanf(value, "%2x:%2x:%2x:%2x:%2x:%2x%n", &byte[0], &byte[1],
                                      &byte[2], &byte[3], &byte[4], &byte[5], &used) != 6)
        return false;
    for (unsigned i = 0; i < 6; i++)
        net->network.mac[i] = (uint8_t)byte[i];
    return used == 17 && !(net->network.mac[0] & 1);
}

static bool set_mtu(struct net_source *net, const char *value)
{
    uint64_t number;

    if (!parse_number(value, UINT16_MAX, &number) || number < MTU_MIN)
        return false;
    net->mtu = (uint16_t)number;
    return true;
}

static bool set_bandwidth(struct net_source *net, const char *value)
{
    return parse_size(value, &net->limit.bytes.per_s) && net->limit.bytes.per_s > 0 &&
           net->limit.bytes.per_s <= INT64_MAX;
}

static bool set_pps(struct net_source *net, const char *value)
{
    return parse_number(value, UINT32_MAX, &net->limit.ops.per_s) && net->limit.ops.per_s > 0;
}

static bool set_address(struct net_source *net, const char *value)
{
    char text[INET_ADDRSTRLEN];
    const char *slash = strchr(value, '/');
    uint64_t bits;

    if (!slash || (size_t)(slash - value) >= sizeof text || !parse_number(slash + 1, 32, &bits))
        return false;
    snprintf(text, sizeof text, "%.*s", (int)(slash - value), value);
    net->network.prefix_bits = (uint8_t)bits;
    return inet_pton(AF_INET, text, &net->network.address) == 1;
}

static bool set_gateway(struct net_source *net, const char *value)
{
    return inet_pton(AF_INET, value, &net->network.gateway) == 1;
}

static bool set_dns(struct net_source *net, const char *value)
{
    return inet_pton(AF_INET, value, &net->network.dns) == 1;
}

static const struct {
    const char *key;
    bool (*set)(struct net_source *net, const char *value);
    const char *expected;
} keys[] = {
    { "fd", set_fd, "the number of an open file descriptor" },
    { "vhost-fd", set_vhost_fd, "the number of an open file descriptor" },
    { "mac", set_mac, "a unicast address like 02:00:00:00:00:01" },
    { "mtu", set_mtu, "68 to 65535" },
    { "bandwidth", set_bandwidth, "bytes a second, like 10M, from 1 to 9223372036854775807" },
    { "pps", set_pps, "frames a second, from 1 to 4294967295" },
    { "address", set_address, "an IPv4 address with its prefix, like 10.0.0.2/24" },
    { "gateway", set_gateway, "an IPv4 address" },
    { "dns", set_dns, "an IPv4 address" },
};

static int set_key(struct net_source *net, const char *word, struct err *err)
{
    if (strcmp(word, "vhost") == 0) {
        net->vhost = true;
        return 0;
    }
    for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
        size_t bytes = strlen(keys[i].key);

        if (strncmp(word, keys[i].key, bytes) != 0 || word[bytes] != '=')
            continue;
        if (!keys[i].set(net, word + bytes + 1))
            return err_set(err, EINVAL, "--net: '%s': expected %s", word, keys[i].expected);
        return 0;
    }
    return err_set(err, EINVAL,
                   "--net: '%s' is not known: vhost, or fd, vhost-fd, mac, mtu, bandwidth, pps, "
                   "address, gateway or dns, with =VALUE",
                   word);
}

static const char kind_expected[] = "expected tap, user, tap=LINK or macvtap=LINK";

static int set_kind(struct net_source *net, char *kind, struct err *err)
{
    char *link = strchr(kind, '=');

    if (link)
        *link++ = '\0';
    net->macvtap = strcmp(kind, "macvtap") == 0;
    net->offloads = net->macvtap || strcmp(kind, "tap") == 0;
    if ((!net->offloads && strcmp(kind, "user") != 0) || (link && !net->offloads) ||
        (!link && net->macvtap))
        return err_set(err, EINVAL, "--net: '%s': %s", kind, kind_expected);
    if (link && (!*link || strlen(link) >= sizeof net->link || strchr(link, '/')))
        return err_set(err, EINVAL, "--net: '%s': no name of a network link", link);
    snprintf(net->link, sizeof net->link, "%s", link ? link : "");
    return 0;
}

/* What does not go together. */
static int check(const struct net_source *net, struct err *err)
{
    if (net->link[0] && (net->fd >= 0 || net->vhost_fd >= 0))
        return err_set(err, EINVAL, "--net: give 'fd' or the name of a link, not both");
    if (!net->vhost)
        return 0;
    if (!net->offloads || (!net->link[0] && (net->fd < 0 || net->vhost_fd < 0)))
        return err_set(err, EINVAL,
                       "--net: 'vhost' goes with tap=LINK or macvtap=LINK, 'vhost-fd' with tap and "
                       "'fd'");
    if (net->limit.bytes.per_s || net->limit.ops.per_s)
        return err_set(err, EINVAL,
                       "--net: 'vhost' knows no limits: leave out 'bandwidth' and 'pps', or it");
    return 0;
}

int net_source_parse(const char *text, struct net_source *ret_net, struct err *err)
{
    struct net_source net = none;
    char words[NET_TEXT_BYTES];
    char *rest = words;

    net.given = true;
    if ((size_t)snprintf(words, sizeof words, "%s", text) >= sizeof words)
        return err_set(err, EINVAL, "--net: longer than %zu characters", sizeof words - 1);
    int rc = set_kind(&net, strsep(&rest, ","), err);
    while (rest && rc == 0)
        rc = set_key(&net, strsep(&rest, ","), err);
    if (rc == 0)
        rc = check(&net, err);
    if (rc == 0)
        *ret_net = net;
    return rc;
}

/* ---- Links by name ---- */

static int open_tap(struct net_source *net, unsigned flags, struct err *err)
{
    struct ifreq request = { .ifr_flags = (short)flags };
    _cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return err_set_errno(err, errno, "--net: /dev/net/tun");
    memcpy(request.ifr_name, net->link, sizeof net->link);
    if (ioctl(fd, TUNSETIFF, &request) < 0)
        return err_set_errno(err, errno,
                             errno == EBUSY ? "--net: another program has the tap '%s'"
                             : errno == EINVAL
                                 ? "--net: '%s' is no tap with one queue (ip tuntap add mode tap)"
                                 : "--net: the tap '%s'",
                             net->link);
    net->fd = take_fd(&fd);
    return 0;
}

/* The node of a macvtap is /dev/tapINDEX; frames for it are those to its own MAC. */
static int open_macvtap(struct net_source *net, unsigned flags, struct err *err)
{
    struct ifreq request = { .ifr_flags = (short)flags }, mac = { 0 };
    _cleanup_close_ int fd = -1;
    char path[32];

    snprintf(path, sizeof path, "/dev/tap%u", if_nametoindex(net->link));
    fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set_errno(err, errno,
                             errno == EBUSY ? "--net: another program has the macvtap '%s' (%s)"
                                            : "--net: '%s' is no macvtap with a node %s",
                             net->link, path);
    memcpy(mac.ifr_name, net->link, sizeof net->link);
    if (ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, SIOCGIFHWADDR, &mac) < 0)
        return err_set_errno(err, errno, "--net: the macvtap '%s'", net->link);
    if (memcmp(net->network.mac, none.network.mac, sizeof net->network.mac) != 0 &&
        memcmp(net->network.mac, mac.ifr_hwaddr.sa_data, sizeof net->network.mac) != 0)
        return err_set(err, EINVAL, "--net: the macvtap '%s' has a MAC already: leave 'mac' out",
                       net->link);
    memcpy(net->network.mac, mac.ifr_hwaddr.sa_data, sizeof net->network.mac);
    net->fd = take_fd(&fd);
    return 0;
}

static int open_vhost(struct net_source *net, struct err *err)
{
    net->vhost_fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
    if (net->vhost_fd < 0)
        return err_set_errno(
            err, errno,
            "--net: 'vhost' needs /dev/vhost-net (modprobe vhost_net; the right to "
            "open it), or leave it out");
    return 0;
}

int net_source_open_link(struct net_source *net, struct err *err)
{
    const unsigned flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;

    if (!net->link[0])
        return 0;
    /* TUNSETIFF would make one that goes with the VM. */
    if (if_nametoindex(net->link) == 0)
        return err_set(err, ENODEV, "--net: there is no link '%s'", net->link);
    int rc = net->macvtap ? open_macvtap(net, flags, err) : open_tap(net, flags, err);
    return rc == 0 && net->vhost ? open_vhost(net, err) : rc;
}

int net_source_configure(const struct net_source *net, int *fd, int *vhost_fd, const uint8_t *mac,
                         struct machine_config *config, struct err *err)
{
    struct net_backend **backend = &config->net.backend;
    int rc;

    if (*fd >= 0 && *vhost_fd >= 0)
        rc = net_vhost_open(take_fd(fd), take_fd(vhost_fd), backend, err);
    else
        rc = *fd >= 0 ? net_backend_open(take_fd(fd), backend, err)
                      : net_none_open(net->offloads, backend, err);
    if (rc < 0)
        return rc;
    config->has_net = true;
    memcpy(config->net.mac, mac ? mac : net->network.mac, sizeof config->net.mac);
    config->net.mtu = net->mtu;
    config->net.rx_limit = config->net.tx_limit = net->limit;
    return 0;
}

const struct control_network *net_source_network(const struct net_source *net)
{
    return net->given && net->network.address ? &net->network : NULL;
}
