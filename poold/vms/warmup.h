/* SPDX-License-Identifier: Apache-2.0 */
/* The warm-up: what is done in a VM through its agent (guest_abi.h) before it is of use to its pool.
 * In a boot VM the pool's command is run and its service started and awaited, then the guest parks
 * for its snapshot: what is in caches then, and the service with all that it has done, is in every
 * clone. In a trial VM it shows which pages that takes. Loop thread only. */
#ifndef VOLT_POOLD_WARMUP_H
#define VOLT_POOLD_WARMUP_H

#include <stdbool.h>
#include <uv.h>

#include "base/err.h"

struct pool_spec;
struct warmup;

struct warmup_ops {
    /* Connects fd (borrowed) to the agent's vsock port of the VM. 0 or -errno. */
    int (*connect)(void *owner, int fd);
    /* All is done and the guest asked to park, if that was wanted (err NULL), or why not. The warmup
     * is gone after it. */
    void (*done)(void *owner, const struct err *err);
};

/* Whether there is something to do for a pool that is to be so. */
bool warmup_wanted(const struct pool_spec *spec);

/* What the pool is to be (name and spec are borrowed until it is over), in a live guest; `boot`: this one is to be the
 * snapshot, so the service is not there yet, and it parks in the end. image_config: how its image's
 * programs are started (borrowed; NULL: nothing is said), for the service. wait_ms: for the service. done
 * comes later, unless it is cancelled. 0 or -errno. */
int warmup_start(struct warmup **ret_warmup, uv_loop_t *loop, const char *name,
                 const struct pool_spec *spec, const char *image_config, bool boot,
                 uint64_t wait_ms, const struct warmup_ops *ops, void *owner, struct err *err);
/* NULL is fine. */
void warmup_cancel(struct warmup *warmup);

#endif
