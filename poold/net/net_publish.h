/* SPDX-License-Identifier: Apache-2.0 */
/* Ports of the host that lead to VMs': what an acquire asks for, and which of them are given already,
 * so that none is given twice. Loop thread only, but for net_publish_parse. */
#ifndef VOLT_POOLD_NET_PUBLISH_H
#define VOLT_POOLD_NET_PUBLISH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"

#define NET_PUBLISH_BYTES 512u /* [ADDRESS:]HOST:GUEST[/udp], with commas between; also ranges */
#define NET_PUBLISH_MAX 16u

struct net_port {
    uint32_t address; /* of the host, network byte order; 0: all */
    uint16_t host, guest;
    bool udp;
};

struct net_publish {
    struct list node; /* in the net_ports that it was reserved of */
    unsigned count;
    struct net_port port[NET_PUBLISH_MAX];
};

/* Those that are given. */
struct net_ports {
    struct list taken;
};

void net_ports_init(struct net_ports *ports);

/* Reads NET_PUBLISH_BYTES's text; "" is none. 0; -EINVAL with a sentence. */
int net_publish_parse(const char *text, struct net_publish *ret_publish, struct err *err);
/* Has them taken until net_publish_release. 0; -EADDRINUSE: a lease has one, or another program;
 * -EADDRNOTAVAIL: an address is not the host's; -errno; each with a sentence. */
int net_publish_reserve(struct net_publish *publish, struct net_ports *ports, struct err *err);
/* The same for a lease that was taken over, whose ports are in use. */
void net_publish_retake(struct net_publish *publish, struct net_ports *ports);
/* Also of one that was not reserved, or twice. */
void net_publish_release(struct net_publish *publish);
/* What `from` has is *to's, which has none. */
void net_publish_move(struct net_publish *from, struct net_publish *to);

#endif
