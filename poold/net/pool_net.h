/* SPDX-License-Identifier: Apache-2.0 */
/* Networks of VMs: what a pool says of them (net_spec.h), an address for each VM, what its card is
 * connected to, and the policy that holds what it sends. Loop thread only, except where said.
 *
 * How it works
 *   tap   each VM gets a network namespace of its own with one tap in it, which has the gateway's
 *         address. Nothing has a name outside: the namespace lives as long as the VM's process and
 *         poold's fd of it, so nothing is left behind by any death.
 *   bridge  the same with the tap in poold's own namespace, a port of a bridge that is there.
 *   macvtap  a macvtap over a link of the host's, in a namespace of its own as a tap is.
 *   user  the card is one end of a socket pair. The other end waits until the VM is leased and goes
 *         to its gate then (net_gate.h), which hands what the policy allows to passt.
 *
 * Whatever the kind, the policy is in force before the VM's process has its end, and out of that
 * process's reach: in the host's kernel (net_kernel.h), or in the gate. */
#ifndef VOLT_POOLD_POOL_NET_H
#define VOLT_POOLD_POOL_NET_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "control/control.h"
#include "host/stock.h"
#include "net/net_address.h"
#include "net/net_gate.h"
#include "net/net_publish.h"
#include "net/net_rules.h"
#include "net/net_spec.h"
#include "net/net_walls.h"

/* Of a pool's VMs. Zeroes: nothing yet. */
struct pool_net {
    struct net_addresses addresses;
    struct net_rules rules; /* as is what follows, the pool's once it is prepared */
    uint32_t policy;        /* the rules' number in the kernel's map */
    bool prepared;
    uint64_t dropped[NET_VERDICT_COUNT]; /* of VMs that are gone */
};

struct vm_net {
    bool on;
    uint8_t mac[6];
    uint8_t prefix_bits;
    uint32_t number;           /* of its address */
    uint32_t address, gateway; /* network byte order */
    bool user;
    bool source_check, on_bridge; /* as struct net_vm has them */
    int vm_fd;                    /* what the VM gets; -1 once it has it */
    int peer_fd;                  /* user: the other end, until a gate has it */
    int vhost_fd;                 /* of a tap: /dev/vhost-net, until the VM has it; -1 */
    bool vhost;                   /* it has */
    int netns_fd;                 /* tap */
    uint32_t index;               /* of the tap's link, in the kernel's map; 0: it is not there */
    char link[IFNAMSIZ];          /* bridge: the tap's name; else "" */
    struct net_gate *gate;        /* user, once leased */
};

/* Whether a pool can have this network here and now, by making one: the walls are loaded for it. 0
 * or -errno with a sentence that says what to do. Blocks; any thread. The walls are being watched. */
int pool_net_try(const struct pool_net_spec *spec, struct net_walls *walls, struct err *err);

/* The most descriptors that such a network of one VM takes of poold's. */
uint32_t pool_net_vm_fds(const struct pool_net_spec *spec);

/* Has the pool's policy in force; before its first VM, again it is nothing. 0 or -errno with a
 * sentence. Blocks; any thread, one at a time for a pool. */
int pool_net_prepare(struct pool_net *pool, const struct pool_net_spec *spec,
                     struct net_walls *walls, struct err *err);
void pool_net_fini(struct pool_net *pool, struct net_walls *walls);

/* Connects a VM; net->on stays false for a pool without a network. 0 or -errno. */
int vm_net_make(struct vm_net *net, struct pool_net *pool, const struct pool_net_spec *spec,
                struct net_walls *walls, struct stock *taps);
/* Of a VM that was taken over: the caller has filled in all of net but its gate. Before anything is
 * made. 0; -EINVAL: the pool has another network now; -EADDRINUSE; -ENOMEM. */
int vm_net_adopt(const struct vm_net *net, struct pool_net *pool, const struct pool_net_spec *spec);
/* The VM has what vm_net_make made for it. */
void vm_net_handed(struct vm_net *net);
/* As a WAKE tells it; of a network that is on. */
void vm_net_tell(const struct vm_net *net, struct control_network *ret_network);

/* What becomes of a leased VM whose policy is held by nobody any more: it is to end. */
struct vm_net_lease {
    const char *vm_id; /* stays while the VM is there */
    uint32_t uid;
    struct net_publish *publish; /* reserved; taken over */
    void (*lost)(void *data, const char *why);
    void (*started)(void *data); /* the gate, or passt again: it has other fds (net_gate_fds) */
    void *data;
};

/* A lease that was taken over: its gate's fds (taken, -1: none). 0 or -ENOMEM. */
int vm_net_lease_adopt(struct vm_net *net, const struct pool_net *pool, struct net_walls *walls,
                       const struct vm_net_lease *lease, int fds[NET_GATE_FDS]);
/* The VM is leased: starts what connects it, where something is to be. 0 or -ENOMEM. */
int vm_net_lease(struct vm_net *net, const struct pool_net *pool, struct net_walls *walls,
                 const struct vm_net_lease *lease);

/* The ports of a leased VM's; NULL: none. */
const struct net_publish *vm_net_published(const struct vm_net *net);
const char *net_verdict_name(enum net_verdict verdict);
/* What was dropped of its frames so far. */
void vm_net_drops(const struct vm_net *net, const struct net_walls *walls,
                  struct net_drops *ret_drops);

/* The VM is gone. Zeroes and twice are fine. */
void vm_net_free(struct vm_net *net, struct pool_net *pool, struct net_walls *walls);

#endif
