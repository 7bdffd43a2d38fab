/* SPDX-License-Identifier: Apache-2.0 */
/* The pools of an earlier run. Blocks: start-up only. */
#ifndef VOLT_POOLD_HOSTED_LOAD_H
#define VOLT_POOLD_HOSTED_LOAD_H

#include "vms/vms.h"

/* Adds them, and deletes snapshots that are no pool's. A pool whose file can't be read is
 * failed, and can be deleted. */
void hosted_load_all(struct vms *vms);

#endif
