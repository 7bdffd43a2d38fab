/* SPDX-License-Identifier: Apache-2.0 */
/* Who may have how many of poold's file descriptors: divided once, at the start, so that no part of
 * poold can take what another needs, and nothing that runs is harmed by what is asked for later.
 *
 * How it works
 *   RLIMIT_NOFILE is raised to what it may be. FD_FIXED of it are for poold itself and the work
 *   under way; three eighths of the rest, 16,384 at most, are for connections (FD_CONNECTION each),
 *   an eighth, 320 at most, for VMs' folders in stock, and what is left for pools (FD_POOL each) and
 *   VMs (FD_VM each, and those of its network). Connections, folders, pools and VMs are counted by
 *   those who make them, against the shares here; who has no place gets an error that says so, or
 *   waits for one.
 *   A VM is counted with the most that one of its pool may hold, from before it is made until it is
 *   gone: a parked one may be leased, and its gate started, whatever came in between. The keeper,
 *   under the same limit, holds fewer: of VMs and templates a duplicate of what is theirs here, of
 *   connections only those with a lease. */
#ifndef VOLT_POOLD_FD_BUDGET_H
#define VOLT_POOLD_FD_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Standard descriptors, directories, locks, loop: 26 at rest. Four works at a time (libuv's pool)
 * with a snapshot, an image's packs or a control group open: 64. A process being started, which
 * takes all of its own twice: 48. Deltas and taps in stock: 64. */
#define FD_FIXED 208u
/* A pool's template and disk: 6 at rest; 24 while it boots or its template starts. */
#define FD_POOL 24u
/* Two sockets, a pidfd, one more while it joins its group. Its disk, delta and volumes are its own
 * process's. */
#define FD_VM 4u
/* Of a network with a gate and passt: a socket, memory, two pidfds and two pipes of theirs; and a
 * pidfd and a pipe more while another passt is there and those of the one before are not closed. */
#define FD_VM_GATE 8u
/* Of any other network: its namespace. */
#define FD_VM_NAMESPACE 1u
/* Its socket, and that of a VM whose console is read for it, or which it calls. */
#define FD_CONNECTION 2u
/* What a poold needs that is of any use: a pool of a few VMs and a few clients. */
#define FD_LEAST 336u

struct fd_budget {
    uint32_t limit;                             /* RLIMIT_NOFILE */
    uint32_t connections_all, connections_kept; /* kept: of them, for trusted users */
    uint32_t folders;                           /* of VMs, in stock */
    uint32_t vms;                               /* descriptors of pools and VMs */
};

/* Divides `limit`. 0; -EMFILE with a sentence when it is too little to serve anybody. */
int fd_budget_divide(struct fd_budget *ret_budget, uint64_t limit, struct err *err);
/* The same for this process, whose limit it raises. */
int fd_budget_init(struct fd_budget *ret_budget, struct err *err);

/* How many descriptors all VMs may have beside so many pools. */
uint32_t fd_budget_of_vms(const struct fd_budget *budget, uint32_t pool_count);
/* Whether there may be one pool more: each with a VM of whatever network, and beside VMs that stay
 * and have so many descriptors. */
bool fd_budget_has_pool(const struct fd_budget *budget, uint32_t pool_count, uint32_t staying);

#endif
