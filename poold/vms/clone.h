/* SPDX-License-Identifier: Apache-2.0 */
/* A clone: the VM of a slot, slot->vm, in its process. Loop thread only. */
#ifndef VOLT_POOLD_CLONE_H
#define VOLT_POOLD_CLONE_H

#include "vms/vms.h"

/* The clones' side of pool.h; its context is the struct vms. */
extern const struct vm_ops clone_ops;

/* Hands a client's stream to the VM of a leased slot: CONTROL_VSOCK_CONNECT or CONTROL_CONSOLE. fd
 * stays the caller's. 0 or -errno. */
int clone_connect(struct slot *slot, struct control_msg *msg, int fd);
/* The same of any message, with its fds. */
int clone_send(struct slot *slot, struct control_msg *msg, const int *fds, unsigned fd_count);
/* The VM is leased, and its owner is noted: the lease outlives poold from now on. connection_fd: of
 * the connection that it is bound to, borrowed; -1: none. */
void clone_lease_kept(struct slot *slot, int connection_fd);
/* Something of the lease is another. */
void clone_lease_renewed(struct slot *slot);
/* The VM's pid in poold's pid namespace; 0 when it is not known. */
int clone_pid(const struct slot *slot);

/* A VM's network, and what is done for it once the VM is leased (pool_net.h). */
const struct vm_net *clone_net(const struct slot *slot);
int clone_net_lease(struct slot *slot, struct net_publish *publish);

#endif
