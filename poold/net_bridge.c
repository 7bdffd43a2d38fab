/* SPDX-License-Identifier: Apache-2.0 */
/* Owns taps on a given bridge; see net_bridge.h. */
#include "net_bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if_arp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/util.h"

static int control_socket(void)
{
    return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static struct ifreq request_for(const char *link)
{
    struct ifreq request = { 0 };

    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", link);
    return request;
}

/* By its driver's name: /sys may be another network namespace's. */
static bool is_bridge(const char *link)
{
    struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
    struct ifreq request = request_for(link);
    _cleanup_close_ int control = control_socket();

    request.ifr_data = (char *)&info;
    return control >= 0 && ioctl(control, SIOCETHTOOL, &request) == 0 &&
           strcmp(info.driver, "bridge") == 0;
}

int net_bridge_check(const char *bridge, struct err *err)
{
    if (if_nametoindex(bridge) == 0)
        return err_set(err, ENODEV, "network 'bridge': there is no link '%s'", bridge);
    if (!is_bridge(bridge))
        return err_set(err, EINVAL,
                       "network 'bridge': the link '%s' is no bridge (ip link add NAME type bridge "
                       "makes one)",
                       bridge);
    return 0;
}

/* A bridge without a MAC of its own takes the lowest of its ports': fe is above that of any card.
 */
static int set_mac(int control, const char *tap, const uint8_t mac[6])
{
    struct ifreq request = request_for(tap);

    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    memcpy(request.ifr_hwaddr.sa_data, mac, 6);
    request.ifr_hwaddr.sa_data[0] = (char)0xfe;
    return ioctl(control, SIOCSIFHWADDR, &request) < 0 ? -errno : 0;
}

static int join(int control, const char *bridge, const char *tap)
{
    struct ifreq request = request_for(bridge), up = request_for(tap);

    request.ifr_ifindex = (int)if_nametoindex(tap);
    up.ifr_flags = IFF_UP | IFF_RUNNING;
    return ioctl(control, SIOCBRADDIF, &request) < 0 || ioctl(control, SIOCSIFFLAGS, &up) < 0
               ? -errno
               : 0;
}

int net_bridge_tap(const char *bridge, const uint8_t mac[6], char ret_name[IFNAMSIZ], int *ret_fd,
                   struct err *err)
{
    struct ifreq tap = request_for("volt%d");
    _cleanup_close_ int control = control_socket();
    _cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

    tap.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (control < 0 || fd < 0 || ioctl(fd, TUNSETIFF, &tap) < 0)
        return err_set_errno(err, errno, "network 'bridge': making a tap");
    int rc = set_mac(control, tap.ifr_name, mac);
    if (rc == 0)
        rc = join(control, bridge, tap.ifr_name);
    if (rc < 0)
        return err_set_errno(err, -rc, "network 'bridge': making '%s' a port of '%s'", tap.ifr_name,
                             bridge);
    memcpy(ret_name, tap.ifr_name, IFNAMSIZ);
    *ret_fd = take_fd(&fd);
    return 0;
}
