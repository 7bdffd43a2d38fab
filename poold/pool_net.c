/* SPDX-License-Identifier: Apache-2.0 */
/* Owns addresses and connections of VMs' networks; see pool_net.h. */
#include "pool_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "log.h"
#include "net_macvtap.h"
#include "net_tap.h"
#include "process.h"
#include "rights.h"

#define PASST "/usr/bin/passt"
#define VHOST_NET "/dev/vhost-net"
#define HOSTS_MAX 65536u       /* of a network, that are made use of */
#define FRAMES_BYTES (1 << 20) /* that wait in a socket pair */

struct network {
    uint32_t base; /* host byte order */
    uint32_t bits;
    uint32_t
        hosts; /* for VMs: all but the network's own, the gateway's and the broadcast address */
};

static bool network_parse(const char *text, struct network *ret)
{
    char address[POOL_NET_ADDRESS_BYTES];
    const char *slash = strchr(text, '/');
    struct in_addr in;
    char *end;

    if (!slash)
        return false;
    snprintf(address, sizeof address, "%.*s", (int)(slash - text), text);
    unsigned long bits = strtoul(slash + 1, &end, 10);
    if (slash[1] < '0' || slash[1] > '9' || *end || bits < 8 || bits > 29 ||
        inet_pton(AF_INET, address, &in) != 1)
        return false;
    uint32_t size = 1u << (32 - bits);
    *ret = (struct network){ .base = ntohl(in.s_addr),
                             .bits = (uint32_t)bits,
                             .hosts = MIN_OF(size - 3, HOSTS_MAX) };
    return (ret->base & (size - 1)) == 0;
}

/* ---- What a pool says ---- */

bool pool_net_is_user(const struct pool_net_spec *spec)
{
    return strcmp(spec->kind, "user") == 0;
}

/* The link that a kind KIND=LINK names; NULL: it is another kind. */
static const char *link_of(const struct pool_net_spec *spec, const char *kind)
{
    size_t bytes = strlen(kind);

    return strncmp(spec->kind, kind, bytes) == 0 && spec->kind[bytes] == '='
               ? spec->kind + bytes + 1
               : NULL;
}

static const char *bridge_of(const struct pool_net_spec *spec)
{
    return link_of(spec, "bridge");
}

static const char *macvtap_parent_of(const struct pool_net_spec *spec)
{
    return link_of(spec, "macvtap");
}

static bool has_limits(const struct pool_net_spec *spec)
{
    return spec->bandwidth || spec->pps;
}

static int check_tap(const struct pool_net_spec *spec, struct err *err)
{
    const char *bridge = bridge_of(spec), *parent = macvtap_parent_of(spec);

    if (geteuid() != 0)
        return err_set(err, EPERM, "network '%s' needs a poold that runs as root; 'user' does not",
                       spec->kind);
    if (parent)
        return net_macvtap_check(parent, err);
    if (access("/dev/net/tun", R_OK | W_OK) < 0)
        return err_set_errno(err, errno, "network '%s' needs /dev/net/tun", spec->kind);
    return bridge ? net_bridge_check(bridge, err) : 0;
}

static int check_vhost(const struct pool_net_spec *spec, struct err *err)
{
    if (!spec->vhost[0] || strcmp(spec->vhost, "auto") == 0 || strcmp(spec->vhost, "off") == 0)
        return 0;
    if (strcmp(spec->vhost, "on") != 0)
        return err_set(err, EINVAL, "'net_vhost' is auto, on or off, not '%s'", spec->vhost);
    if (pool_net_is_user(spec))
        return err_set(err, EINVAL,
                       "'net_vhost' on is for 'net' tap, bridge=LINK and macvtap=LINK");
    if (has_limits(spec))
        return err_set(
            err, EINVAL,
            "'net_vhost' on knows no limits: leave out 'net_bandwidth' and 'net_pps', or "
            "it");
    _cleanup_close_ int fd = open(VHOST_NET, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "'net_vhost' on needs " VHOST_NET " (modprobe vhost_net)");
    return 0;
}

int pool_net_check(const struct pool_net_spec *spec, uint32_t max, struct err *err)
{
    bool user = pool_net_is_user(spec);
    struct network network;

    if (!spec->kind[0])
        return 0;
    if (!user && strcmp(spec->kind, "tap") != 0 && !bridge_of(spec) && !macvtap_parent_of(spec))
        return err_set(err, EINVAL,
                       "'net' is none, user, tap, bridge=LINK or macvtap=LINK, not '%s'",
                       spec->kind);
    int rc = check_vhost(spec, err);
    if (rc < 0)
        return rc;
    if (!network_parse(spec->address, &network))
        return err_set(err, EINVAL,
                       "'net_address' is a network like " POOL_NET_ADDRESS_DEFAULT
                       ", of 8 to 29 bits, not '%s'",
                       spec->address);
    if (max > network.hosts)
        return err_set(err, EINVAL, "'net_address' %s has %u addresses for VMs, but 'max' is %u",
                       spec->address, network.hosts, max);
    if (user && access(PASST, X_OK) < 0)
        return err_set(err, ENOENT,
                       "network 'user' needs " PASST ": install the package passt (apt-get "
                       "install passt)");
    return user ? 0 : check_tap(spec, err);
}

void pool_net_option(const struct pool_net_spec *spec, char ret_text[POOL_NET_OPTION_BYTES])
{
    /* The VM is given a tap, wherever that leads. */
    int used = snprintf(ret_text, POOL_NET_OPTION_BYTES, "%s",
                        pool_net_is_user(spec) || !spec->kind[0] ? spec->kind : "tap");

    if (spec->bandwidth)
        used += snprintf(ret_text + used, (size_t)(POOL_NET_OPTION_BYTES - used), ",bandwidth=%llu",
                         (unsigned long long)spec->bandwidth);
    if (spec->pps)
        snprintf(ret_text + used, (size_t)(POOL_NET_OPTION_BYTES - used), ",pps=%u", spec->pps);
}

/* ---- Addresses ---- */

static int address_take(struct pool_net *pool, uint32_t hosts, uint32_t *ret_number)
{
    if (!pool->used)
        pool->used = calloc(HOSTS_MAX / 64, sizeof *pool->used);
    if (!pool->used)
        return -ENOMEM;
    for (uint32_t i = 0; i < hosts; i++) {
        uint32_t n = (pool->next + i) % hosts;

        if (!(pool->used[n / 64] & 1ull << n % 64)) {
            pool->used[n / 64] |= 1ull << n % 64;
            pool->next = n + 1;
            *ret_number = n;
            return 0;
        }
    }
    return -EADDRNOTAVAIL;
}

/* ---- A tap in a namespace of its own ---- */

static void take_tap(struct vm_net *net, struct stock_item *tap)
{
    net->vm_fd = take_fd(&tap->fds[NET_TAP_FD]);
    net->netns_fd = take_fd(&tap->fds[NET_NETNS_FD]);
}

static int tap_make(struct vm_net *net, struct stock *stock, struct err *err)
{
    struct stock_item tap;
    int rc = stock_take(stock, &tap);

    if (rc < 0)
        return err_set_errno(err, -rc, "making a tap");
    rc = net_tap_configure(&tap, net->gateway, net->prefix_bits);
    if (rc == 0)
        take_tap(net, &tap);
    stock_item_close(&tap);
    return rc < 0 ? err_set_errno(err, -rc, "making a tap") : 0;
}

static int macvtap_make(struct vm_net *net, const char *parent, struct err *err)
{
    struct stock_item tap;
    int rc = net_macvtap_make(parent, net->mac, &tap, err);

    if (rc < 0)
        return rc;
    take_tap(net, &tap);
    stock_item_close(&tap);
    return 0;
}

/* ---- Taps' rings ---- */

/* Each VM needs one of its own. */
static int vhost_make(struct vm_net *net, const struct pool_net_spec *spec, struct err *err)
{
    bool wanted = strcmp(spec->vhost, "on") == 0;

    if (net->user || has_limits(spec) || strcmp(spec->vhost, "off") == 0)
        return 0;
    net->vhost_fd = open(VHOST_NET, O_RDWR | O_CLOEXEC);
    net->vhost = net->vhost_fd >= 0;
    return wanted && !net->vhost ? err_set_errno(err, errno, VHOST_NET) : 0;
}

/* ---- passt ---- */

static int pair_make(struct vm_net *net, struct err *err)
{
    int pair[2], bytes = FRAMES_BYTES;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set_errno(err, errno, "making a socket pair");
    for (unsigned i = 0; i < 2; i++)
        setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    net->vm_fd = pair[0];
    net->peer_fd = pair[1];
    return 0;
}

struct passt {
    uv_process_t process; /* first */
    struct vm_net *net;   /* NULL: its VM is gone */
    uint32_t *running;
};

static void on_passt_closed(uv_handle_t *handle)
{
    struct passt *passt = (struct passt *)handle;

    --*passt->running;
    free(passt);
}

static void on_passt_exit(uv_process_t *process, int64_t status, int signal)
{
    struct passt *passt = (struct passt *)process;

    if (passt->net) {
        if (status || signal)
            log_warn("a VM has no network any more: passt ended with %s %lld",
                     signal ? "signal" : "status", signal ? signal : (long long)status);
        passt->net->passt = NULL;
    }
    uv_close((uv_handle_t *)process, on_passt_closed);
}

struct publish {
    unsigned host, guest; /* host 0: what was written is none */
    bool udp;
};

/* Next HOST:GUEST[/udp] of *text; false at the end. */
static bool publish_next(const char **text, struct publish *ret)
{
    struct publish publish = { 0 };
    int used = 0;

    *ret = publish;
    if (!**text)
        return false;
    if (sscanf(*text, "%5u:%5u%n", &publish.host, &publish.guest, &used) != 2)
        return true;
    publish.udp = strncmp(*text + used, "/udp", 4) == 0;
    used += publish.udp ? 4 : 0;
    if (publish.host < 1024 || publish.host > 65535 || publish.guest < 1 || publish.guest > 65535 ||
        ((*text)[used] && (*text)[used] != ','))
        return true;
    *text += used + ((*text)[used] == ',');
    *ret = publish;
    return true;
}

static int port_probe(const struct publish *publish)
{
    _cleanup_close_ int fd =
        socket(AF_INET, (publish->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)publish->host) };
    int one = 1;

    if (fd < 0)
        return -errno;
    if (!publish->udp) /* of UDP it would let two have the port */
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&in, sizeof in) < 0)
        return -errno;
    return !publish->udp && listen(fd, 1) < 0 ? -errno : 0;
}

int vm_net_check_publish(const char *text, struct err *err)
{
    struct publish publish;
    unsigned count = 0;

    for (const char *at = text; publish_next(&at, &publish); count++) {
        if (!publish.host || count == POOL_NET_PUBLISH_MAX)
            return err_set(err, EINVAL,
                           "'publish' is HOST:GUEST, HOST:GUEST/udp, or up to %d of them with "
                           "commas between, with HOST from 1024 on; not '%s'",
                           POOL_NET_PUBLISH_MAX, text);
        int rc = port_probe(&publish);
        if (rc < 0)
            return err_set_errno(err, -rc, "%s port %u of the host can't be published",
                                 publish.udp ? "UDP" : "TCP", publish.host);
    }
    return 0;
}

static int passt_spawn(struct vm_net *net, uv_loop_t *loop, uint32_t uid, const char *publish,
                       uint32_t *running)
{
    char address[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN], bits[4], ids[24],
        ports[POOL_NET_PUBLISH_MAX][12];
    char *argv[24 + 2 * POOL_NET_PUBLISH_MAX] = {
        (char[]){ PASST },
        (char[]){ "-f" },
        (char[]){ "-q" },
        (char[]){ "-4" },
        (char[]){ "--fd" },
        (char[]){ "3" },
        (char[]){ "-a" },
        address,
        (char[]){ "-n" },
        bits,
        (char[]){ "-g" },
        gateway,
        (char[]){ "--mtu" },
        (char[]){ "1500" },
        (char[]){ "--no-map-gw" },
        (char[]){ "--dns-forward" },
        gateway,
    };
    uv_stdio_container_t stdio[4] = { [3] = { .flags = UV_INHERIT_FD, .data.fd = net->peer_fd } };
    uv_process_options_t options = { .exit_cb = on_passt_exit,
                                     .file = PASST,
                                     .args = argv,
                                     .env = process_environment(),
                                     .stdio = stdio,
                                     .stdio_count = 4,
                                     .flags = UV_PROCESS_DETACHED };
    struct passt *passt = calloc(1, sizeof *passt);
    struct publish port;
    unsigned n = 17;

    if (!passt)
        return -ENOMEM;
    inet_ntop(AF_INET, &net->address, address, sizeof address);
    inet_ntop(AF_INET, &net->gateway, gateway, sizeof gateway);
    snprintf(bits, sizeof bits, "%u", net->prefix_bits);
    if (uid != UINT32_MAX) {
        snprintf(ids, sizeof ids, "%u:%u", uid, uid);
        argv[n++] = (char *)(uintptr_t) "--runas";
        argv[n++] = ids;
    }
    for (unsigned i = 0; i < POOL_NET_PUBLISH_MAX && publish_next(&publish, &port) && port.host;
         i++) {
        snprintf(ports[i], sizeof ports[i], "%u:%u", port.host, port.guest);
        argv[n++] = (char *)(uintptr_t)(port.udp ? "-u" : "-t");
        argv[n++] = ports[i];
    }
    passt->net = net;
    passt->running = running;
    ++*running;
    int rc = uv_spawn(loop, &passt->process, &options);
    if (rc < 0)
        uv_close((uv_handle_t *)&passt->process, on_passt_closed);
    else
        net->passt = &passt->process;
    if (rc == 0)
        rights_oom_adjust(passt->process.pid, -1, RIGHTS_OOM_VM);
    return rc;
}

/* ---- A VM's network ---- */

static int connect_vm(struct vm_net *net, const struct pool_net_spec *spec, struct stock *stock,
                      struct err *err)
{
    if (net->user)
        return pair_make(net, err);
    if (bridge_of(spec))
        return net_bridge_tap(bridge_of(spec), net->mac, net->link, &net->vm_fd, err);
    if (macvtap_parent_of(spec))
        return macvtap_make(net, macvtap_parent_of(spec), err);
    return tap_make(net, stock, err);
}

int vm_net_make(struct vm_net *net, struct pool_net *pool, const struct pool_net_spec *spec,
                const uint8_t generation_id[16], struct stock *stock)
{
    struct network network;
    struct err err;
    int rc;

    *net = (struct vm_net){ .vm_fd = -1, .peer_fd = -1, .vhost_fd = -1, .netns_fd = -1 };
    if (!spec->kind[0] || !network_parse(spec->address, &network))
        return 0;
    rc = address_take(pool, network.hosts, &net->number);
    if (rc < 0)
        return rc;
    net->on = true;
    net->user = pool_net_is_user(spec);
    net->prefix_bits = (uint8_t)network.bits;
    net->gateway = htonl(network.base + 1);
    net->address = htonl(network.base + 2 + net->number);
    memcpy(net->mac, generation_id, sizeof net->mac);
    net->mac[0] = (uint8_t)((net->mac[0] & ~1u) | 2u); /* unicast, locally administered */
    rc = connect_vm(net, spec, stock, &err);
    if (rc == 0)
        rc = vhost_make(net, spec, &err);
    if (rc < 0) {
        log_error("a VM can't be connected to its network: %s", err.msg);
        vm_net_free(net, pool);
    }
    return rc;
}

void vm_net_handed(struct vm_net *net)
{
    if (!net->on)
        return;
    close_fd(&net->vm_fd);
    close_fd(&net->vhost_fd);
}

void vm_net_tell(const struct vm_net *net, struct control_network *ret_network)
{
    *ret_network = (struct control_network){ .prefix_bits = net->prefix_bits,
                                             .address = net->address,
                                             .gateway = net->gateway,
                                             .dns = net->user ? net->gateway : 0 };
    memcpy(ret_network->mac, net->mac, sizeof ret_network->mac);
}

int vm_net_lease(struct vm_net *net, uv_loop_t *loop, uint32_t uid, const char *publish,
                 uint32_t *running)
{
    int rc;

    if (!net->on || net->peer_fd < 0)
        return 0;
    rc = passt_spawn(net, loop, uid, publish, running);
    close_fd(&net->peer_fd);
    return rc;
}

void vm_net_free(struct vm_net *net, struct pool_net *pool)
{
    if (!net->on)
        return;
    vm_net_handed(net);
    net->on = false;
    close_fd(&net->peer_fd);
    close_fd(&net->netns_fd);
    pool->used[net->number / 64] &= ~(1ull << net->number % 64);
    if (net->passt) {
        ((struct passt *)net->passt)->net = NULL;
        uv_process_kill(net->passt, SIGKILL);
        net->passt = NULL;
    }
}

void pool_net_fini(struct pool_net *pool)
{
    free(pool->used);
    pool->used = NULL;
}
