/* SPDX-License-Identifier: Apache-2.0 */
/* The warm-up: the pool's command is run in a VM through the agent (guest_abi.h). In a boot VM,
 * before its snapshot, the agent is then asked to park the guest again: what the command leaves in
 * caches is in every clone. In a trial VM it shows which pages the command needs. Loop thread only.
 */
#ifndef VOLT_POOLD_WARMUP_H
#define VOLT_POOLD_WARMUP_H

#include <stdbool.h>
#include <uv.h>

#include "base/err.h"

struct warmup;

struct warmup_ops {
    /* Connects fd (borrowed) to the agent's vsock port of the VM. 0 or -errno. */
    int (*connect)(void *owner, int fd);
    /* The command is through and the guest asked to park, if that was wanted (err NULL), or why
     * not. The warmup is gone after it. */
    void (*done)(void *owner, const struct err *err);
};

/* Runs `sh -c command` in a live guest, which with `park` parks then. done comes later, unless it
 * is cancelled. 0 or -errno. */
int warmup_start(struct warmup **ret_warmup, uv_loop_t *loop, const char *command, bool park,
                 const struct warmup_ops *ops, void *owner, struct err *err);
/* NULL is fine. */
void warmup_cancel(struct warmup *warmup);

#endif
