/* SPDX-License-Identifier: Apache-2.0 */
/* The warm-up of a boot VM before its snapshot: the pool's command is run in it through the agent
 * (guest_abi.h), then the agent is asked to park the guest again. What the command leaves in caches
 * is in every clone then. Loop thread only. */
#ifndef VOLT_POOLD_WARMUP_H
#define VOLT_POOLD_WARMUP_H

#include <uv.h>

#include "base/err.h"

struct warmup;

struct warmup_ops {
    /* Connects fd (borrowed) to the agent's vsock port of the VM. 0 or -errno. */
    int (*connect)(void *owner, int fd);
    /* The guest was asked to park (err NULL), or why it was not. The warmup is gone after it. */
    void (*done)(void *owner, const struct err *err);
};

/* Runs `sh -c command` in a live guest. done comes later, unless it is cancelled. 0 or -errno. */
int warmup_start(struct warmup **ret_warmup, uv_loop_t *loop, const char *command,
                 const struct warmup_ops *ops, void *owner, struct err *err);
/* NULL is fine. */
void warmup_cancel(struct warmup *warmup);

#endif
