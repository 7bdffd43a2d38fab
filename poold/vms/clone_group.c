/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a clone's way into its control group, and what waits for that; see clone.h. */
#include "vms/clone_keep.h"

void clone_prompt(struct clone *clone)
{
    if (clone->slot && clone->slot->state == SLOT_PARKED && !clone->group_job)
        prompt_vm_park(&clone->prompt, clone->link.fds[LINK_PIDFD]);
}

static void on_group(void *data, bool joined)
{
    struct clone *clone = data;

    clone->group_job = NULL;
    clone->in_group = joined;
    if (clone->slot) {
        clone->slot->layers &= ~CONTROL_LAYER_CGROUP;
        clone->slot->layers |= joined ? CONTROL_LAYER_CGROUP : 0;
        clone_keep_layers(clone);
    }
    clone_prompt(clone);
}

void clone_group_join(struct clone *clone, int pidfd)
{
    const struct hosted_pool *hosted = clone->slot->pool->owner;
    const struct cgroup_limits limits = {
        .memory_bytes = hosted->spec.memory_bytes + VM_GROUP_EXTRA_BYTES,
        .pids = hosted->spec.vcpus + VM_GROUP_EXTRA_PIDS,
        .cpu_weight = hosted->spec.cpu_weight,
        .cpu_percent = hosted->spec.cpu_percent,
    };

    clone->group_job =
        vm_groups_join(&clone->vms->vm_groups, clone->dir.id, pidfd, &limits, on_group, clone);
    turn_schedule(clone->vms->turn);
}
