/* SPDX-License-Identifier: Apache-2.0 */
/* The control group of each VM (host/cgroup.h), and its place among those whom the kernel kills
 * when the host runs out of memory (rights.h; a VM's process can't write that itself): made and
 * joined on the thread pool once the VM's process is known and no acquire needs the CPU, as it can
 * take milliseconds. The guest runs its first few instructions before that, up to its answer. Where
 * cgroups can't be used, there are none. Loop thread only, except where said. */
#ifndef VOLT_POOLD_VM_GROUPS_H
#define VOLT_POOLD_VM_GROUPS_H

#include <uv.h>

#include "base/list.h"
#include "host/cgroup.h"

/* Beside the guest's memory: the VMM, page tables, what KVM needs. */
#define VM_GROUP_EXTRA_BYTES (64ull << 20)
/* Threads of a VM beside its vCPUs: the device thread and those that KVM makes. */
#define VM_GROUP_EXTRA_PIDS 16u

struct vm_groups {
    uv_loop_t *loop;
    struct cgroup_host host;
    struct list waiting;         /* jobs */
    char name[24];               /* of the parent group; the same for the same state directory */
    void (*changed)(void *data); /* there is something to pump: called on the loop */
    void *changed_data;
};

struct vm_group_job;

/* state_dir: what tells its poold from others. keeper: that this poold has started; 0: none. idle: as
 * in struct cgroup_owner. */
void vm_groups_init(struct vm_groups *groups, uv_loop_t *loop, const char *state_dir, pid_t keeper,
                    bool idle);
/* Every VM is gone. */
void vm_groups_fini(struct vm_groups *groups);

/* Has group `id` made with these limits and the process of pidfd (the caller's, until done is called
 * or the job is abandoned) moved into it by one of the next vm_groups_pump; then done(data, whether
 * it is in) is called on the loop, which ends the job. What is short for a moment, descriptors or
 * memory, is waited for; a failure is logged. Returns the job, NULL when there is none to be done or
 * no memory for it. */
struct vm_group_job *vm_groups_join(struct vm_groups *groups, const char *id, int pidfd,
                                    const struct cgroup_limits *limits,
                                    void (*done)(void *data, bool joined), void *data);
/* Makes group `id` with these limits for a process that is yet to be started, which joins by
 * writing "0" to each of ret_fds (the caller's). Their number; 0 where there are no groups or one
 * can't be made, which is logged. Takes about 0.1 ms. */
unsigned vm_groups_make(struct vm_groups *groups, const char *id,
                        const struct cgroup_limits *limits, int ret_fds[CGROUP_HIERARCHIES_MAX]);
/* Starts the jobs: all of them, or while VMs are on their way to acquires those that have waited
 * for too long. Returns when the next will have, UINT64_MAX for none. */
uint64_t vm_groups_pump(struct vm_groups *groups, bool busy);
/* `data` and the pidfd are going away: done will not be called. NULL is fine. */
void vm_groups_abandon(struct vm_group_job *job);

/* Removes the group of a VM that is gone, waiting for its last zombie a little. Any thread. */
void vm_groups_remove(const struct vm_groups *groups, const char *id);

#endif
