/* SPDX-License-Identifier: Apache-2.0 */
/* Owns taps on a given bridge; see net_bridge.h. */
#include "net/net_bridge.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if_arp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/util.h"
#include "net/net_tap.h"
#include "net/net_walls.h"

#define INDEX_TRIES 8u

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
 * It is not the VM's, which begins with 02: what comes for a port's own MAC a bridge keeps for the
 * host. */
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

int net_bridge_tap(struct net_walls *walls, const char *bridge, const uint8_t mac[6],
                   struct net_bridge_port *ret_port, struct err *err)
{
    struct net_bridge_port port = { .tap_fd = -1 };
    _cleanup_close_ int control = control_socket();
    int rc = control < 0 ? err_set_errno(err, errno, "network 'bridge'") : -EBUSY;

    /* Another link of the host may have the index. */
    for (unsigned i = 0; i < INDEX_TRIES && rc == -EBUSY; i++) {
        snprintf(port.name, sizeof port.name, "volt%%d");
        port.index = net_walls_link_index(walls);
        rc = net_tap_open(walls->kernel, port.index, port.name, &port.tap_fd, err);
    }
    if (rc < 0)
        return err_wrap(err, "network 'bridge'"), rc;
    rc = set_mac(control, port.name, mac);
    if (rc == 0)
        rc = join(control, bridge, port.name);
    if (rc < 0) {
        close_fd(&port.tap_fd);
        return err_set_errno(err, -rc, "network 'bridge': making '%s' a port of '%s'", port.name,
                             bridge);
    }
    *ret_port = port;
    return 0;
}
