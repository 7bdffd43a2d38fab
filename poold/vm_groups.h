/* SPDX-License-Identifier: Apache-2.0 */
/* The control group of each VM (sandbox/cgroup.h): made and joined on the thread pool as soon as
 * the VM's process is known, as joining can take milliseconds that no acquire should wait for.
 * Where cgroups can't be used, nothing happens. Loop thread only, except where said. */
#ifndef VOLT_POOLD_VM_GROUPS_H
#define VOLT_POOLD_VM_GROUPS_H

#include <uv.h>

#include "config.h"
#include "sandbox/cgroup.h"

/* Beside the guest's memory: the VMM, page tables, what KVM needs. */
#define VM_GROUP_EXTRA_BYTES (64ull << 20)
/* Threads of a VM beside its vCPUs: the device thread and those that KVM makes. */
#define VM_GROUP_EXTRA_PIDS 16u

struct vm_groups {
    uv_loop_t *loop;
    struct cgroup_host host;
    char name[24]; /* of the parent group; the same for the same state directory */
};

struct vm_group_job;

void vm_groups_init(struct vm_groups *groups, uv_loop_t *loop, const struct config *config);
/* Every VM is gone. */
void vm_groups_fini(struct vm_groups *groups);

/* Makes group `id` with these limits and moves the process of pidfd (borrowed) into it; then calls
 * done(data, whether it is in) on the loop, which ends the job. A failure is logged. Returns the
 * job, NULL when there is none to be done. */
struct vm_group_job *vm_groups_join(struct vm_groups *groups, const char *id, int pidfd,
                                    const struct cgroup_limits *limits,
                                    void (*done)(void *data, bool joined), void *data);
/* Makes group `id` with these limits for a process that is yet to be started, which joins by
 * writing "0" to each of ret_fds (the caller's). Their number; 0 where there are no groups or one
 * can't be made, which is logged. Takes about 0.1 ms. */
unsigned vm_groups_make(struct vm_groups *groups, const char *id,
                        const struct cgroup_limits *limits, int ret_fds[CGROUP_HIERARCHIES_MAX]);
/* `data` is going away: done will not be called. NULL is fine. */
void vm_groups_abandon(struct vm_group_job *job);

/* Removes the group of a VM that is gone, waiting for its last zombie a little. Any thread. */
void vm_groups_remove(const struct vm_groups *groups, const char *id);

#endif
