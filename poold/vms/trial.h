/* SPDX-License-Identifier: Apache-2.0 */
/* The trial restore of a pool whose snapshot has no working set yet: its VM runs the pool's warm-up
 * command, if there is one, what it has touched is recorded and stored in the snapshot, the running
 * template is told, and the VM ends. Whatever fails is logged and costs only speed. Loop thread
 * only. */
#ifndef VOLT_POOLD_TRIAL_H
#define VOLT_POOLD_TRIAL_H

struct slot;
struct trial;

/* slot's trial VM is READY. Ends in pool_trial_over(slot), later, unless it is abandoned before;
 * NULL when it ended at once. */
struct trial *trial_start(struct slot *slot);
/* The VM is gone. NULL is fine. */
void trial_abandon(struct trial *trial);

#endif
