/* SPDX-License-Identifier: Apache-2.0 */
/* What holds the networks of all VMs of a poold to their policies, beside the rules themselves:
 *   - the programs in the host's kernel, for taps, and as root for passt (net_kernel.h), loaded
 *     when the first pool needs them;
 *   - the control group that passt processes are in;
 *   - the host's own addresses (net_host.h), for the kernel and, in a file that gates map, for them;
 *   - the ports that are published.
 * Loop thread only, except where said. */
#ifndef VOLT_POOLD_NET_WALLS_H
#define VOLT_POOLD_NET_WALLS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "host/vm_uids.h"
#include "net/net_host.h"
#include "net/net_publish.h"

#define NET_WALLS_NAME_BYTES 40

struct net_kernel;
struct gate_host;

/* What the next poold goes on with: the host's addresses, then the kernel's (net_kernel.h). */
#define NET_WALLS_FDS 12u

struct net_walls {
    uv_loop_t *loop;
    const char *gate_path;           /* volt-gate; borrowed */
    struct vm_uids *uids;            /* of VMs; NULL or base 0: they have none of their own */
    char name[NET_WALLS_NAME_BYTES]; /* of passt's control group */
    struct net_ports ports;
    struct net_host host;
    int host_fd; /* struct gate_host; -1 until net_walls_watch */
    struct gate_host *shared;
    uint32_t gates;                /* that are there, with those that are ending */
    void (*gate_gone)(void *data); /* one is there no more; NULL: nobody waits for it */
    void *gate_gone_data;
    uint64_t passt_restarts; /* ever */
    uint32_t next_index;     /* of links; as what follows atomic */
    uint32_t next_key;       /* of what is remembered */

    pthread_mutex_t lock;      /* of what follows */
    struct net_kernel *kernel; /* once set it stays; NULL: not loaded */
    struct net_prefixes known; /* what the kernel was told to be the host's */
    int group_fd, procs_fd;    /* passt's control group and its cgroup.procs; -1 */
    uint32_t next_policy;
    bool reused;                  /* the maps are those of the poold before, with what is in them */
    int inherited[NET_WALLS_FDS]; /* of the poold before, until they are used; -1: none */
};

/* `name`: of this poold among those of the host, a to z, 0 to 9 and '-'. */
void net_walls_init(struct net_walls *walls, uv_loop_t *loop, const char *gate_path,
                    struct vm_uids *uids, const char *name);
/* Goes on with those of the poold before, which are taken (-1: none). Before all that follows. */
void net_walls_inherit(struct net_walls *walls, int fds[NET_WALLS_FDS], uint32_t next_policy);
/* Those that are to outlive this poold, borrowed; -1: there is none (yet). */
void net_walls_fds(struct net_walls *walls, int ret_fds[NET_WALLS_FDS]);
/* Every VM is gone, and the loop's handles are closed. Zeroes are fine. */
void net_walls_fini(struct net_walls *walls);

/* Has the host's addresses watched from now on. Before the first of net_walls_load. 0 or -errno with
 * a sentence. */
int net_walls_watch(struct net_walls *walls, struct err *err);

/* Loads what pools need: `passt` of the network `user`, else of taps. Again it is nothing. Up to
 * 50 ms; any thread. 0 or -errno with a sentence that says what to do. */
int net_walls_load(struct net_walls *walls, bool passt, struct err *err);

/* A number that no policy had before. Any thread. */
uint32_t net_walls_policy_number(struct net_walls *walls);
/* An index for a link that no other of this poold has, and hardly any of the host's. Any thread. */
uint32_t net_walls_link_index(struct net_walls *walls);

/* A key for what is remembered of a VM, which no other has had. Any thread. */
uint32_t net_walls_flow_key(struct net_walls *walls);

/* A read-only fd of struct gate_host for a gate, the caller's; -errno. Any thread. */
int net_walls_open_host(const struct net_walls *walls);

#endif
