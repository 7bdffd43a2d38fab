/* SPDX-License-Identifier: Apache-2.0 */
/* A pool's template process and the clones it is asked for. Loop thread only. */
#ifndef VOLT_POOLD_TEMPLATE_H
#define VOLT_POOLD_TEMPLATE_H

#include "vms/vms.h"

/* The clones' side of pool.h; its context is the struct vms. */
extern const struct vm_ops clone_ops;

/* Opens the snapshot and starts the process; sets hosted->template, which goes back to NULL when it
 * has ended, with hosted_ops.template_ended (also when it could not be started). */
void template_start(struct hosted_pool *hosted);
void template_kill(struct template *template);

/* Sends CLONE with the clone's ends of its control and bell sockets and what is in clone->dir, all
 * of which stay the caller's. The clone is told by clone_born or clone_unborn. 0 or -errno. */
struct clone;
int template_clone(struct template *template, struct clone *clone, const int ends[2]);

/* Has it use a working set (fd stays the caller's) for the clones to come. 0 or -errno. */
int template_working_set(struct template *template, int fd);

/* The template forked it: pidfd is the clone's. */
void clone_born(struct clone *clone, int pidfd);
/* It never came to be. */
void clone_unborn(struct clone *clone, const char *detail);

/* Hands a client's stream to the VM of a leased slot: CONTROL_VSOCK_CONNECT or CONTROL_CONSOLE. fd
 * stays the caller's. 0 or -errno. */
int clone_connect(struct slot *slot, struct control_msg *msg, int fd);
/* A VM's network, and what is done for it once the VM is leased (pool_net.h). */
const struct vm_net *clone_net(const struct slot *slot);
int clone_net_lease(struct slot *slot, struct net_publish *publish);
/* The VM's pid in poold's pid namespace; 0 when it is not known. */
int clone_pid(const struct slot *slot);

#endif
