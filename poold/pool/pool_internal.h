/* SPDX-License-Identifier: Apache-2.0 */
/* What pool.c (queue and serving), slots.c (the phases of slots), pool_events.c (what VMs say),
 * pool_kill.c (their ends), pool_refill.c (refill, shrink, deadlines) and pool_room.c share; nobody else includes it. */
#ifndef VOLT_POOLD_POOL_INTERNAL_H
#define VOLT_POOLD_POOL_INTERNAL_H

#include "pool/pool.h"

static inline uint64_t pool_now(const struct pool *pool)
{
    return pool->env->ops->now(pool->env->context);
}

static inline void pool_schedule(const struct pool *pool)
{
    pool->env->ops->schedule(pool->env->context);
}

/* A NEW slot, or a trial's, which does not count as refilling; NULL without memory. */
struct slot *pool_slot_create(struct pool *pool, bool trial);
/* Moves it, and all that follows from its phase. A state that is entered has no deadline yet. */
void pool_slot_enter(struct slot *slot, enum slot_phase phase);
void pool_slot_deadline(struct slot *slot, uint64_t deadline_ns);

/* Kills the VM or puts it into the kill queue. Its acquire must have been taken from it. A lease is
 * stopped by pool_lease_end. */
void pool_slot_stop(struct slot *slot);
/* detail: a sentence more, "" for none. */
void pool_lease_end(struct slot *slot, enum lease_end why, const char *detail);
/* The part of it that is about the kill: at once, or later if may_wait. */
void pool_slot_kill(struct slot *slot, bool may_wait);
/* Discards a VM that failed and counts it; its acquire is tried again or told. */
void pool_slot_fail(struct slot *slot, enum failure failure, const char *detail);
/* What a clone that no acquire waits for is made for. */
enum clone_use {
    CLONE_PARKED,
    CLONE_SHELL,
    CLONE_TRIAL,
    CLONE_PROOF, /* to be parked */
};

/* Starts a clone in a new slot: for acquire (use is CLONE_PARKED then), or (NULL) for the pool.
 * False when it failed. */
bool pool_clone_start(struct pool *pool, struct acquire *acquire, enum clone_use use);
/* Moves a PROVING pool on: starts its proof, or tells how it ended. */
void pool_prove(struct pool *pool);
/* The pool's proof has got there, or (false) is no more. */
void pool_proof_end(struct slot *slot, bool parked);

/* Restores a SHELL: for acquire, or (NULL) to be parked. */
void pool_shell_restore(struct slot *slot, struct acquire *acquire);

/* Lets VMs go on that others' answers have held or paused, as many as may. */
void pool_held_release(struct pool_env *env);

/* Why an acquire gets no VM in its time. */
enum acquire_result pool_shortage(const struct pool *pool);
void pool_acquire_finish(struct acquire *acquire, enum acquire_result result, struct slot *slot);
/* Puts an acquire whose VM failed back to the head of the queue. */
void pool_acquire_retry(struct acquire *acquire);
void pool_waiters_dismiss(struct pool *pool, enum acquire_result result);
void pool_serve(struct pool *pool);
/* The same for all pools, whoever has waited longest first. */
void pool_serve_all(struct pool_env *env);
/* Stops VMs of a state, oldest first, until `keep` are left. */
void pool_stop_down_to(struct pool *pool, enum slot_state state, uint32_t keep);

/* ---- pool_room.c ---- */

/* Counts a VM of the pool: by is 1, or (uint32_t)-1 for one that it is no more. */
void pool_room_count(struct pool_room *room, const struct pool *pool, uint32_t by);
/* Whether a VM of the pool may be made: for an acquire; for the stock. */
bool pool_room_has(const struct pool *pool);
bool pool_room_has_spare(const struct pool *pool);
/* Whether one more acquire gets room without any lease's end. */
bool pool_room_comes(const struct pool *pool);
/* Stops VMs that nobody has asked for, as far as others take more than there is. */
void pool_room_make(struct pool_env *env);

#endif
