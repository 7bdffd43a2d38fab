/* SPDX-License-Identifier: Apache-2.0 */
/* What a poold does with the keeper as a whole: it takes over what the one before has left, and sees
 * to it that the one after can. Pools and their VMs: adopt.h, clone_keep.h. Loop thread. */
#ifndef VOLT_POOLD_TAKEOVER_H
#define VOLT_POOLD_TAKEOVER_H

#include "vms/vms.h"

/* Reaches the keeper, or starts one. The state directory is locked. 0 or -errno with a sentence. */
int takeover_begin(struct vms *vms, const char *run_dir, struct err *err);
/* Whether the folder of that VM is to stay (vm_dirs.h). */
bool takeover_keeps_dir(void *data, const char *id);
/* The uids' blocks, before vm_dirs_init, and those of VMs that go on, before anyone takes one; the
 * networks' walls, after net_walls_init. */
void takeover_uids(struct vms *vms);
void takeover_uids_hold(struct vms *vms);
void takeover_walls(struct vms *vms);
/* The connection of an earlier poold that has that number, by one of its fds, which is taken, and the
 * fd that it has here; NULL: it is gone. */
void *takeover_connection(struct vms *vms, uint64_t number, int fd, int *ret_fd);
/* All pools are there: ends what is no pool's, and watches the keeper. */
void takeover_finish(struct vms *vms);

/* Puts what all VMs share as it comes about, and what is due. */
void takeover_pump(struct vms *vms, bool pressed);

#endif
