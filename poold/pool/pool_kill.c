/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the ends of VMs: which are killed now, and which wait for it; see pool.h.
 *
 * How it works
 *   The death of a VM is a millisecond of CPU inside the kernel, where nothing preempts it unless
 *   the host's kernel was built or started so. An acquire that comes then waits for it, several
 *   milliseconds if both a VM and its memory go. So a lease that ends while acquires come is
 *   frozen, which takes microseconds and leaves the guest not one instruction more, and killed when
 *   none has come for POOL_CALM_NS: or sooner, when it has waited for FROZEN_NS_MAX, when too many
 *   are frozen or too much memory is, or when its place is wanted. Whoever's kill is due but must
 *   wait, as dying_max others are dying, is stopped, too: no guest runs on after its release.
 */
#include "pool/pool_internal.h"

/* More than come in FROZEN_NS_MAX from one client that acquires and releases. */
#define FROZEN_MAX 256u
#define FROZEN_NS_MAX (100 * NS_PER_MS)

static bool kill_can_wait(const struct slot *slot, uint64_t *ret_until_ns)
{
    const struct pool *pool = slot->pool;
    const struct pool_env *env = pool->env;

    *ret_until_ns = MIN_OF(env->acquired_ns + POOL_CALM_NS, slot->stopped_ns + FROZEN_NS_MAX);
    return pool_now(pool) < *ret_until_ns && pool->state == POOL_READY && !env->stopping &&
           pool->waiting == 0 && pool_vm_count(pool) <= pool->max && pool_room_has(pool);
}

static void freeze(struct slot *slot)
{
    struct pool_env *env = slot->pool->env;
    uint64_t until_ns;

    if (!kill_can_wait(slot, &until_ns) || env->frozen == FROZEN_MAX ||
        env->ops->freeze(env->context, slot, &slot->frozen_bytes) < 0)
        return;
    if (env->frozen_bytes + slot->frozen_bytes <= env->frozen_bytes_max)
        pool_slot_enter(slot, SLOT_PHASE_FROZEN);
    else
        slot->paused = true;
}

static void kill_now(struct slot *slot)
{
    pool_slot_enter(slot, SLOT_PHASE_KILLED);
    slot->pool->env->ops->kill(slot->pool->env->context, slot);
}

void pool_kill_queue(struct pool_env *env)
{
    struct list *next;

    for (struct list *at = env->kill_queue.next; at != &env->kill_queue; at = next) {
        struct slot *slot = list_entry(at, struct slot, kill_node);
        uint64_t until_ns;

        next = at->next;
        if (env->dying >= env->dying_max)
            return;
        if (slot->phase == SLOT_PHASE_FROZEN && kill_can_wait(slot, &until_ns)) {
            env->ops->arm(env->context, until_ns);
            continue;
        }
        list_remove(&slot->kill_node);
        kill_now(slot);
    }
}

void pool_slot_kill(struct slot *slot, bool may_wait)
{
    struct pool_env *env = slot->pool->env;
    bool paused = slot->paused;

    slot->stopped_ns = pool_now(slot->pool);
    if (slot->phase == SLOT_PHASE_NEW) { /* nothing to kill */
        pool_slot_enter(slot, SLOT_PHASE_KILLED);
        return;
    }
    if (slot->trial) {
        kill_now(slot);
        return;
    }
    pool_slot_enter(slot, SLOT_PHASE_QUEUED);
    slot->paused = paused;
    list_append(&env->kill_queue, &slot->kill_node);
    if (may_wait)
        freeze(slot);
    pool_kill_queue(env);
    /* Others are dying before it: until then it does not run on. */
    if (slot->phase == SLOT_PHASE_QUEUED && !slot->paused)
        slot->paused = env->ops->pause(env->context, slot) == 0;
}
