/* SPDX-License-Identifier: Apache-2.0 */
/* How passt is called for a VM, and which resolver it will find. Any thread. */
#ifndef VOLT_POOLD_NET_PASST_H
#define VOLT_POOLD_NET_PASST_H

#include <netinet/in.h>
#include <stdint.h>

#include "net/net_publish.h"

#define NET_PASST "/usr/bin/passt"
#define NET_PASST_STREAM_FD 3 /* spawn_process's fds: its stream, */
#define NET_PASST_PROCS_FD 4  /* and its control group's cgroup.procs; not there: it has none */
#define NET_PASST_ARGS 25u

struct net_passt {
    const char *gate_path;     /* volt-gate, which starts it */
    uint32_t uid;              /* and gid; UINT32_MAX: poold's own */
    bool grouped;              /* NET_PASST_PROCS_FD is there */
    uint32_t address, gateway; /* network byte order */
    uint8_t prefix_bits;
    const struct net_publish *publish;
};

struct net_passt_args {
    char *argv[NET_PASST_ARGS + 2 * NET_PUBLISH_MAX]; /* for spawn_process; in what is here */
    char uid[12], address[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN], bits[4];
    char ports[NET_PUBLISH_MAX][INET_ADDRSTRLEN + 14];
};

/* ret_args stays where it is while its argv is used. */
void net_passt_args(const struct net_passt *passt, struct net_passt_args *ret_args);

/* Calls each(data, address) for the IPv4 name servers of /etc/resolv.conf; host byte order. */
void net_passt_resolvers(void (*each)(void *data, uint32_t address), void *data);

#endif
