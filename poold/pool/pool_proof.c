/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a pool's proof: one clone that gets all the way to PARKED before the pool is READY, so that no
 * pool is ready of which no VM can ever come; see pool.h. */
#include "pool/pool_internal.h"

void pool_prove(struct pool *pool)
{
    struct pool_env *env = pool->env;

    if (pool->state != POOL_PROVING || pool->proof)
        return;
    if (pool->proven) {
        pool_stop_down_to(pool, SLOT_PARKED, pool->min); /* made for nobody, it is not kept */
        env->ops->proved(env->context, pool, NULL);
    } else if (pool->proof_failures >= PROOF_ATTEMPTS) {
        env->ops->proved(env->context, pool, pool->last_failure);
    } else if (!backoff_active(&pool->backoff, pool_now(pool)) && pool_room_has(pool)) {
        pool_clone_start(pool, NULL, CLONE_PROOF);
    }
}
