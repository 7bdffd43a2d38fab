/* SPDX-License-Identifier: Apache-2.0 */
/* The trial restore of a pool whose snapshot has no working set yet: its VM runs the pool's warm-up
 * command and reaches for its service, if there are such, what it has touched is recorded and stored in the snapshot, the running
 * template is told, and the VM ends. Whatever fails is logged and costs only speed. Loop thread
 * only. */
#ifndef VOLT_POOLD_TRIAL_H
#define VOLT_POOLD_TRIAL_H

#include "base/err.h"

struct hosted_pool;
struct trial;

struct trial_ops {
    /* Connects fd (borrowed) to the agent of the trial's VM. 0 or -errno. */
    int (*connect)(void *owner, int fd);
    /* The VM's pid; 0: not known. */
    int (*pid)(void *owner);
    /* The end, with err NULL if the working set was recorded. The trial is gone after it. */
    void (*over)(void *owner, const struct err *err);
};

/* A trial VM is READY. NULL when it ended at once, by `over` too. */
struct trial *trial_start(struct hosted_pool *hosted, const struct trial_ops *ops, void *owner);
/* The VM is gone, and `over` will not be called. NULL is fine. */
void trial_abandon(struct trial *trial);

#endif
