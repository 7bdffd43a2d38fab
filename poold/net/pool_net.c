/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the making and the end of VMs' networks; see pool_net.h. */
#include "net/pool_net.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "host/fd_budget.h"
#include "net/net_bridge.h"
#include "net/net_kernel.h"
#include "net/net_macvtap.h"
#include "net/net_passt.h"
#include "net/net_tap.h"

#define VHOST_NET "/dev/vhost-net"
#define FRAMES_BYTES (1 << 20) /* that wait in a socket pair */

static const char *const verdict_names[] = {
#define X(name, text) [name] = text,
    NET_VERDICT_MAP(X)
#undef X
};
static_assert(NET_PUBLISH_MAX <= NET_OPENED_MAX, "passt may have all that is published");
static_assert(ARRAY_LEN(verdict_names) == NET_VERDICT_COUNT, "every verdict has a name");

const char *net_verdict_name(enum net_verdict verdict)
{
    return verdict_names[verdict];
}

/* ---- Whether there can be one ---- */

static int try_user(const struct net_walls *walls, struct err *err)
{
    if (access(NET_PASST, X_OK) < 0)
        return err_set(err, ENOENT,
                       "network 'user' needs " NET_PASST
                       ": install the package passt (apt-get install passt)");
    if (access(walls->gate_path, X_OK) < 0)
        return err_set_errno(err, errno, "network 'user' needs volt-gate, which is not %s%s",
                             walls->gate_path[0] ? "at " : "beside poold (--volt-gate PATH)",
                             walls->gate_path);
    if (geteuid() == 0 && (!walls->uids || !walls->uids->base))
        return err_set(err, EPERM,
                       "network 'user' needs uids for VMs, by which passt is held to the pool's "
                       "policy: start poold without --uid-base 0, or not as root");
    return 0;
}

static int try_tap(const struct pool_net_spec *spec, struct net_walls *walls, struct err *err)
{
    const char *bridge = pool_net_bridge(spec), *parent = pool_net_macvtap_parent(spec);
    struct stock_item tap;

    if (parent)
        return net_macvtap_check(walls, parent, err);
    int rc = net_tap_try(walls, &tap, err);
    if (rc < 0)
        return err_wrap(err, "network '%s'", spec->kind), rc;
    stock_item_close(&tap);
    return bridge ? net_bridge_check(bridge, err) : 0;
}

static int try_vhost(const struct pool_net_spec *spec, struct err *err)
{
    if (strcmp(spec->vhost, "on") != 0)
        return 0;
    _cleanup_close_ int fd = open(VHOST_NET, O_RDWR | O_CLOEXEC);
    return fd < 0 ? err_set_errno(err, errno,
                                  "'net_vhost' on needs " VHOST_NET " (modprobe vhost_net)")
                  : 0;
}

int pool_net_try(const struct pool_net_spec *spec, struct net_walls *walls, struct err *err)
{
    bool user = pool_net_is_user(spec);
    int rc;

    if (!spec->kind[0])
        return 0;
    if (!user && geteuid() != 0)
        return err_set(err, EPERM, "network '%s' needs a poold that runs as root; 'user' does not",
                       spec->kind);
    rc = try_vhost(spec, err);
    if (rc == 0 && user)
        rc = try_user(walls, err);
    if (rc < 0)
        return rc;
    rc = net_walls_load(walls, user, err);
    if (rc < 0)
        return err_wrap(err, "network '%s'", spec->kind), rc;
    return user ? 0 : try_tap(spec, walls, err);
}

uint32_t pool_net_vm_fds(const struct pool_net_spec *spec)
{
    if (!spec->kind[0])
        return 0;
    return pool_net_is_user(spec) ? FD_VM_GATE : FD_VM_NAMESPACE;
}

int pool_net_prepare(struct pool_net *pool, const struct pool_net_spec *spec,
                     struct net_walls *walls, struct err *err)
{
    struct net_network network;
    int rc;

    if (!spec->kind[0] || pool->prepared)
        return 0;
    if (!net_network_parse(spec->address, &network))
        return err_set(err, EINVAL, "'%s' is no network", spec->address);
    rc = net_policy_parse(spec->allow, spec->deny, net_network_gateway(&network),
                          pool_net_is_user(spec), &pool->rules, err);
    if (rc == 0)
        rc = net_walls_load(walls, pool_net_is_user(spec), err);
    if (rc == 0 && walls->kernel) {
        if (!pool->policy) /* else that of VMs that were taken over */
            pool->policy = net_walls_policy_number(walls);
        rc = net_kernel_put_policy(walls->kernel, pool->policy, &pool->rules);
        if (rc < 0)
            err_set_errno(err, -rc, "putting the pool's policy into the kernel");
    }
    if (rc < 0)
        return err_wrap(err, "network '%s'", spec->kind), rc;
    pool->prepared = true;
    return 0;
}

void pool_net_fini(struct pool_net *pool, struct net_walls *walls)
{
    if (pool->policy)
        net_kernel_remove_policy(walls->kernel, pool->policy);
    net_addresses_fini(&pool->addresses);
    pool->policy = 0;
    pool->prepared = false;
}

/* ---- What a VM is connected to ---- */

static void take_tap(struct vm_net *net, struct stock_item *tap)
{
    net->vm_fd = take_fd(&tap->fds[NET_TAP_FD]);
    net->netns_fd = take_fd(&tap->fds[NET_NETNS_FD]);
    net->index = tap->number;
    stock_item_close(tap);
}

static int tap_make(struct vm_net *net, struct stock *taps, struct err *err)
{
    struct stock_item tap;
    int rc = stock_take(taps, &tap);

    if (rc < 0)
        return err_set_errno(err, -rc, "making a tap");
    rc = net_tap_configure(&tap, net->gateway, net->prefix_bits);
    take_tap(net, &tap);
    return rc < 0 ? err_set_errno(err, -rc, "making a tap") : 0;
}

static int macvtap_make(struct vm_net *net, struct net_walls *walls, const char *parent,
                        struct err *err)
{
    struct stock_item tap;
    int rc = net_macvtap_make(walls, parent, net->mac, &tap, err);

    if (rc == 0)
        take_tap(net, &tap);
    return rc;
}

static int bridge_make(struct vm_net *net, struct net_walls *walls, const char *bridge,
                       struct err *err)
{
    struct net_bridge_port port;
    int rc = net_bridge_tap(walls, bridge, net->mac, &port, err);

    if (rc < 0)
        return rc;
    net->vm_fd = port.tap_fd;
    net->index = port.index;
    memcpy(net->link, port.name, sizeof net->link);
    return 0;
}

/* Of a tap, each VM needs one of its own. */
static int vhost_make(struct vm_net *net, const struct pool_net_spec *spec, struct err *err)
{
    bool wanted = strcmp(spec->vhost, "on") == 0;

    if (net->user || pool_net_has_limits(spec) || strcmp(spec->vhost, "off") == 0)
        return 0;
    net->vhost_fd = open(VHOST_NET, O_RDWR | O_CLOEXEC);
    net->vhost = net->vhost_fd >= 0;
    return wanted && !net->vhost ? err_set_errno(err, errno, VHOST_NET) : 0;
}

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

static struct net_vm sender_of(const struct vm_net *net, const struct pool_net *pool,
                               struct net_walls *walls)
{
    struct net_vm vm = { .policy = pool->policy,
                         .address = ntohl(net->address),
                         .source_check = net->source_check,
                         .passt = net->user,
                         .on_bridge = net->on_bridge,
                         .key = net_walls_flow_key(walls) };

    memcpy(vm.mac, net->mac, sizeof vm.mac);
    return vm;
}

/* ---- A VM's network ---- */

static int connect_vm(struct vm_net *net, const struct pool_net *pool,
                      const struct pool_net_spec *spec, struct net_walls *walls, struct stock *taps,
                      struct err *err)
{
    const char *bridge = pool_net_bridge(spec), *parent = pool_net_macvtap_parent(spec);
    int rc;

    if (net->user)
        return pair_make(net, err);
    if (bridge)
        rc = bridge_make(net, walls, bridge, err);
    else
        rc = parent ? macvtap_make(net, walls, parent, err) : tap_make(net, taps, err);
    if (rc == 0)
        rc = vhost_make(net, spec, err);
    if (rc < 0)
        return rc;
    const struct net_vm vm = sender_of(net, pool, walls);
    rc = net_kernel_put_vm(walls->kernel, net->index, &vm);
    if (rc < 0)
        net->index = 0; /* it may be another's */
    return rc < 0 ? err_set_errno(err, -rc, "holding the VM to its policy") : 0;
}

int vm_net_make(struct vm_net *net, struct pool_net *pool, const struct pool_net_spec *spec,
                struct net_walls *walls, struct stock *taps)
{
    struct net_network network;
    struct err err;
    int rc;

    *net = (struct vm_net){ .vm_fd = -1, .peer_fd = -1, .vhost_fd = -1, .netns_fd = -1 };
    if (!spec->kind[0])
        return 0;
    if (!pool->prepared || !net_network_parse(spec->address, &network))
        return -EINVAL;
    rc = net_addresses_take(&pool->addresses, network.hosts, &net->number);
    if (rc < 0)
        return rc;
    net->on = true;
    net->user = pool_net_is_user(spec);
    net->source_check = !spec->any_source;
    net->on_bridge = pool_net_bridge(spec) != NULL;
    net->prefix_bits = (uint8_t)network.bits;
    net->gateway = htonl(net_network_gateway(&network));
    net->address = htonl(net_network_address(&network, net->number));
    net_mac_of(ntohl(net->address), net->mac);
    rc = connect_vm(net, pool, spec, walls, taps, &err);
    if (rc < 0) {
        log_error("a VM can't be connected to its network: %s", err.msg);
        vm_net_free(net, pool, walls);
    }
    return rc;
}

int vm_net_adopt(const struct vm_net *net, struct pool_net *pool, const struct pool_net_spec *spec)
{
    struct net_network network;

    if (!spec->kind[0] || !pool->prepared || !net_network_parse(spec->address, &network) ||
        net->user != pool_net_is_user(spec) ||
        net->address != htonl(net_network_address(&network, net->number)))
        return -EINVAL;
    return net_addresses_retake(&pool->addresses, network.hosts, net->number);
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

/* What passt sends is judged by where it goes alone. */
static int hold_passt(const struct pool_net *pool, struct net_walls *walls,
                      const struct vm_net_lease *lease)
{
    const struct net_vm vm = { .policy = pool->policy, .key = net_walls_flow_key(walls) };
    struct net_opened opened[NET_PUBLISH_MAX];

    if (!walls->kernel || lease->uid == UINT32_MAX)
        return 0;
    for (unsigned i = 0; i < lease->publish->count; i++) {
        const struct net_port *port = &lease->publish->port[i];

        opened[i] = (struct net_opened){ .address = ntohl(port->address),
                                         .port = port->host,
                                         .protocol = port->udp ? IPPROTO_UDP : IPPROTO_TCP };
    }
    return net_kernel_put_passt(walls->kernel, lease->uid, &vm, opened, lease->publish->count);
}

static struct net_gate_start gate_start_of(const struct vm_net *net, const struct pool_net *pool,
                                           struct net_walls *walls,
                                           const struct vm_net_lease *lease)
{
    return (struct net_gate_start){ .vm_id = lease->vm_id,
                                    .uid = lease->uid,
                                    .vm = sender_of(net, pool, walls),
                                    .rules = &pool->rules,
                                    .address = net->address,
                                    .gateway = net->gateway,
                                    .prefix_bits = net->prefix_bits,
                                    .publish = lease->publish,
                                    .vm_fd = -1,
                                    .lost = lease->lost,
                                    .started = lease->started,
                                    .data = lease->data };
}

int vm_net_lease(struct vm_net *net, const struct pool_net *pool, struct net_walls *walls,
                 const struct vm_net_lease *lease)
{
    int rc;

    if (!net->on || net->peer_fd < 0)
        return 0;
    rc = hold_passt(pool, walls, lease);
    if (rc < 0) {
        net_publish_release(lease->publish);
        return rc;
    }
    struct net_gate_start start = gate_start_of(net, pool, walls, lease);
    start.vm_fd = take_fd(&net->peer_fd);
    net->gate = net_gate_start(walls, &start);
    return net->gate ? 0 : -ENOMEM;
}

int vm_net_lease_adopt(struct vm_net *net, const struct pool_net *pool, struct net_walls *walls,
                       const struct vm_net_lease *lease, int fds[NET_GATE_FDS])
{
    /* Maps that go on know it, with its flows. */
    int rc = walls->reused ? 0 : hold_passt(pool, walls, lease);

    if (rc < 0) {
        net_publish_release(lease->publish);
        return rc;
    }
    const struct net_gate_start start = gate_start_of(net, pool, walls, lease);
    net->gate = net_gate_adopt(walls, &start, fds);
    return net->gate ? 0 : -ENOMEM;
}

const struct net_publish *vm_net_published(const struct vm_net *net)
{
    return net->on && net->gate ? net_gate_published(net->gate) : NULL;
}

void vm_net_drops(const struct vm_net *net, const struct net_walls *walls,
                  struct net_drops *ret_drops)
{
    *ret_drops = (struct net_drops){ .denied_address = 0 };
    if (net->gate)
        net_gate_drops(net->gate, ret_drops);
    else if (net->index)
        net_kernel_drops(walls->kernel, net->index, ret_drops);
}

void vm_net_free(struct vm_net *net, struct pool_net *pool, struct net_walls *walls)
{
    struct net_drops drops;

    if (!net->on)
        return;
    vm_net_drops(net, walls, &drops);
    for (unsigned i = 0; i < NET_VERDICT_COUNT; i++)
        pool->dropped[i] += drops.count[i];
    vm_net_handed(net);
    net->on = false;
    close_fd(&net->peer_fd);
    close_fd(&net->netns_fd);
    net_addresses_free(&pool->addresses, net->number);
    if (net->index)
        net_kernel_remove_vm(walls->kernel, net->index);
    net_gate_end(net->gate);
    net->gate = NULL;
    net->index = 0;
}
