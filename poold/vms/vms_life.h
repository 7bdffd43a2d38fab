/* SPDX-License-Identifier: Apache-2.0 */
/* The start, the turns and the end of all that struct vms has. Loop thread only. */
#ifndef VOLT_POOLD_VMS_LIFE_H
#define VOLT_POOLD_VMS_LIFE_H

#include "vms/vms.h"

/* Where things are on this host. */
struct vms_host {
    const char *run_dir, *state_dir; /* both are there */
    const char *volt_gate;           /* the program; outlives vms */
    const char *uid_locks;           /* with the next two: vm_dirs.h */
    uint32_t uid_base, uid_count;
    bool idle_vms; /* struct cgroup_owner */
};

/* The first; after it vms_fini is fine. What is given outlives vms; the caller sets `told` and
 * env.timeouts. */
void vms_init(struct vms *vms, struct turn *turn, const struct fd_budget *fds,
              const struct vms_settings *settings);
/* Opens the stores, brings them up to date, and starts stocks and groups. Blocks. 0 or -errno with a
 * sentence. */
int vms_open(struct vms *vms, const struct vms_host *host, struct err *err);

/* Of each turn. True: VMs are on their way to acquires, and need the CPU. */
bool vms_pump(struct vms *vms);
/* Acts on deadlines that have passed; returns the next one, UINT64_MAX for none. */
uint64_t vms_tick(struct vms *vms, uint64_t now);

/* The end begins, with env.stopping set: every VM and process is stopped. */
void vms_stop(struct vms *vms);
/* No acquire gets a lease any more, and no VM is made for one. */
void vms_drain(struct vms *vms);
/* The end begins that VMs outlive, with env.stopping set: no acquire waits any more. */
void vms_leave(struct vms *vms);
/* Whether nothing is being written that the next poold reads. */
bool vms_left(const struct vms *vms);
/* Whether nothing of it is left. Ends refills. */
bool vms_stopped(struct vms *vms);
/* Frees the pools, when they are stopped, before the loop's handles are closed. */
void vms_pools_free(struct vms *vms);
/* The loop is closed. */
void vms_fini(struct vms *vms);

#endif
