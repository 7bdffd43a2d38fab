/* SPDX-License-Identifier: Apache-2.0 */
/* What volume_attach.c and volume_release.c share. Loop thread only. */
#ifndef VOLT_POOLD_VOLUME_STEPS_H
#define VOLT_POOLD_VOLUME_STEPS_H

#include "vms/vms.h"

/* The slot of a lease; NULL: it has ended. */
struct slot *volume_slot_of(const struct vms *vms, const char *lease);
/* Connects fd (borrowed) to the agent of its VM. 0 or -errno. */
int volume_agent_connect(const struct vms *vms, const char *lease, int fd);

/* Whether a volumes_release of the lease is under way. */
bool volume_releasing(const struct volumes *volumes, const char *lease);

/* Its lease is over: it is taken out, and whoever waits for it is told. */
void volume_attachment_end(struct attachment *attachment);

/* On the thread pool, with nobody waiting: removes contents ("": none) and a lease's file (NULL: none). */
void volume_work_remove(struct vms *vms, const char *data, const char *lease);

#endif
