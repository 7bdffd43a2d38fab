/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine's network card is connected to, as --net says it. */
#ifndef VOLT_VMM_NET_SOURCE_H
#define VOLT_VMM_NET_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "control/control.h"
#include "volt-vmm/machine.h"

struct net_source {
    bool given;
    bool offloads; /* what a card without a back end offers: a tap's, or a stream's */
    int fd;        /* borrowed; -1: none */
    int vhost_fd;  /* an open /dev/vhost-net for the tap fd; borrowed; -1: none */
    bool vhost;    /* wanted */
    char link[16]; /* of a tap or macvtap that the kind names; "": none */
    bool macvtap;
    uint16_t mtu; /* 0: not told to the guest */
    struct rate_limit_config limit;
    struct control_network network; /* the card's MAC; address 0: the guest is told of none */
};

/* The MAC that a boot VM's guest sees, and any other until volt-init gives it its own. */
#define NET_SOURCE_NONE                                                                            \
    {                                                                                              \
        .fd = -1, .vhost_fd = -1, .network.mac = { 0x02, 'V', 'O', 'L', 'T', 0 }                   \
    }

/* Parses KIND[,vhost][,KEY=VALUE]...; KIND is tap, user, tap=LINK or macvtap=LINK. -EINVAL with a
 * sentence; *ret_net is untouched on failure. */
int net_source_parse(const char *text, struct net_source *ret_net, struct err *err);

/* Opens the tap or macvtap that net->link names, if it names one: net->fd, which stays open for the
 * process's life, as does net->vhost_fd, if vhost is wanted. A macvtap has the MAC of its link.
 * Needs the rights to (CAP_NET_ADMIN, or to be the link's owner). 0; -EBUSY: another program has
 * it; or another -errno with a sentence. */
int net_source_open_link(struct net_source *net, struct err *err);

/* Describes the card to `config` (has_net). *fd (taken) is its back end, -1: it leads nowhere.
 * *vhost_fd (taken) has the kernel serve its rings, -1: volt-vmm does. mac NULL: the source's. 0 or
 * -errno with a sentence. */
int net_source_configure(const struct net_source *net, int *fd, int *vhost_fd, const uint8_t *mac,
                         struct machine_config *config, struct err *err);

/* What a WAKE tells of it, where no daemon says it; NULL: nothing. */
const struct control_network *net_source_network(const struct net_source *net);

#endif
