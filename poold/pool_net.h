/* SPDX-License-Identifier: Apache-2.0 */
/* Networks of VMs: what a pool says of them, an address for each VM, and what its card is connected
 * to. Loop thread only, but for pool_net_check.
 *
 * How it works
 *   tap   each VM gets a network namespace of its own with one tap in it, which has the gateway's
 *         address. Nothing has a name outside: the namespace lives as long as the VM's process and
 *         poold's fd of it, so nothing is left behind by any death.
 *   bridge  the same with the tap in poold's own namespace, a port of a bridge that is there.
 *   macvtap  a macvtap over a link of the host's, in a namespace of its own as a tap is.
 *   user  the card is one end of a socket pair. The other end waits until the VM is leased and goes
 *         to a passt process then, which translates to sockets of its own, with the rights of the
 *         VM's uid, and ends with the VM.
 */
#ifndef VOLT_POOLD_POOL_NET_H
#define VOLT_POOLD_POOL_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "control/control.h"
#include "net_bridge.h"
#include "stock.h"

#define POOL_NET_KIND_BYTES 24
#define POOL_NET_VHOST_BYTES 8
#define POOL_NET_ADDRESS_BYTES 24
#define POOL_NET_ADDRESS_DEFAULT "10.86.0.0/16"
#define POOL_NET_OPTION_BYTES 96
#define POOL_NET_PUBLISH_BYTES 256 /* HOST:GUEST[/udp], with commas between */
#define POOL_NET_PUBLISH_MAX 16

struct pool_net_spec {
    char kind[POOL_NET_KIND_BYTES]; /* "": none; else tap, user, bridge=LINK or macvtap=LINK */
    char address[POOL_NET_ADDRESS_BYTES];
    uint64_t bandwidth; /* bytes a second each way, each VM; 0: no limit */
    uint32_t pps;
    /* Whether the host's kernel serves a tap's rings: on, off, or "" or auto: where it can. */
    char vhost[POOL_NET_VHOST_BYTES];
};

/* Addresses of a pool's VMs. Zeroes: none given out yet. */
struct pool_net {
    uint64_t *used; /* bit n: host number n + 2 of the network */
    uint32_t next;
};

struct vm_net {
    bool on;
    uint8_t mac[6];
    uint8_t prefix_bits;
    uint32_t number;           /* of its address */
    uint32_t address, gateway; /* network byte order */
    bool user;
    int vm_fd;           /* what the VM gets; -1 once it has it */
    int peer_fd;         /* user: the other end, until passt has it */
    int vhost_fd;        /* of a tap: /dev/vhost-net, until the VM has it; -1 */
    bool vhost;          /* it has */
    int netns_fd;        /* tap */
    char link[IFNAMSIZ]; /* bridge: the tap's name; else "" */
    uv_process_t *passt;
};

/* Whether a pool of `max` VMs can have this network here. 0 or -errno with a sentence. Any thread.
 */
int pool_net_check(const struct pool_net_spec *spec, uint32_t max, struct err *err);

/* volt-vmm's value of --net. */
void pool_net_option(const struct pool_net_spec *spec, char ret_text[POOL_NET_OPTION_BYTES]);

/* Whether its VMs are connected by passt. */
bool pool_net_is_user(const struct pool_net_spec *spec);

/* Connects a VM; net->on stays false for a pool without a network. 0 or -errno. */
int vm_net_make(struct vm_net *net, struct pool_net *pool, const struct pool_net_spec *spec,
                const uint8_t generation_id[16], struct stock *stock);
/* The VM has what vm_net_make made for it. */
void vm_net_handed(struct vm_net *net);
void vm_net_tell(const struct vm_net *net, struct control_network *ret_network);

/* Whether text (pool_net.h's PUBLISH) can be published now: 0; -EINVAL: it is none; -EADDRINUSE;
 * each with a sentence. "" can. */
int vm_net_check_publish(const char *text, struct err *err);
/* The VM is leased: starts passt where there is one. *running is counted down when it has ended. */
int vm_net_lease(struct vm_net *net, uv_loop_t *loop, uint32_t uid, const char *publish,
                 uint32_t *running);
/* The VM is gone. Zeroes and twice are fine. */
void vm_net_free(struct vm_net *net, struct pool_net *pool);
void pool_net_fini(struct pool_net *pool);

#endif
