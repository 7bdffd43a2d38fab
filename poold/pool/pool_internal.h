/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share; nobody else includes it. Each calls those below it alone:
 *
 *   pool_heir        how one pool takes another's place
 *   pool_refill      refill, shrink, deadlines
 *   pool_proof       the clone that proves a pool
 *   pool_events      what VMs say
 *   pool             what is asked of a pool
 *   pool_serve, pool_room_make: what VM an acquire gets; what is stopped for it
 *   pool_stop        how slots end, and who goes on in their place
 *   pool_queue, pool_kill: the acquires that wait; the VMs that wait for their end
 *   pool_room        the room that all pools share
 *   slots            the phases of slots, and what they are counted as */
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

/* So long another pool's priority goes before what a pool is short of, or an acquire waits for. */
#define POOL_YIELD_NS (1 * NS_PER_S)

/* ---- slots.c ---- */

/* A NEW slot, or a trial's, which does not count as refilling; NULL without memory. */
struct slot *pool_slot_create(struct pool *pool, bool trial);
/* Moves it, and all that follows from its phase. A state that is entered has no deadline yet. */
void pool_slot_enter(struct slot *slot, enum slot_phase phase);
void pool_slot_deadline(struct slot *slot, uint64_t deadline_ns);
/* VMs on their way to acquires, or leased, of pools whose place it has taken. */
uint32_t pool_taken_before(const struct pool *pool);

/* ---- pool_room.c ---- */

/* Whether a VM of the pool may be made: for an acquire; for the stock. */
bool pool_room_has(const struct pool *pool);
bool pool_room_has_spare(const struct pool *pool);
/* Whether one more acquire gets room without any lease's end. */
bool pool_room_comes(const struct pool *pool);
/* What is there and does not end, and what is wanted by acquires and for the stock of pools of a higher
 * priority, is more than there may be. */
bool pool_room_is_short(const struct pool_env *env, uint32_t priority);

/* ---- pool_kill.c ---- */

/* The part of pool_slot_stop that is about the kill: at once, or later if may_wait. */
void pool_slot_kill(struct slot *slot, bool may_wait);

/* ---- pool_queue.c ---- */

/* Why an acquire gets no VM in its time. */
enum acquire_result pool_shortage(const struct pool *pool);
void pool_acquire_finish(struct acquire *acquire, enum acquire_result result, struct slot *slot);
/* Puts an acquire at the end of the queue; one whose VM failed back to its head. */
void pool_acquire_wait(struct acquire *acquire, uint64_t deadline_ns);
void pool_acquire_retry(struct acquire *acquire);
void pool_waiter_unlink(struct acquire *acquire);
void pool_waiters_dismiss(struct pool *pool, enum acquire_result result);
/* How long the making of one VM may take. */
uint64_t pool_making_ns(const struct pool *pool);

/* ---- pool_stop.c ---- */

/* An acquire waits for an answer: VMs that are past their own are paused. */
void pool_readying_pause(struct pool_env *env);
void pool_slot_resume(struct slot *slot);
/* The slot's VM has answered and may go on to READY, for which it has its time from now on. */
void pool_ready_expect(struct slot *slot, enum slot_phase phase, uint64_t now);
/* Lets VMs go on that others' answers have held or paused, as many as may. */
void pool_held_release(struct pool_env *env);
/* Kills the VM or puts it into the kill queue. Its acquire must have been taken from it. A lease is
 * stopped by pool_lease_end. */
void pool_slot_stop(struct slot *slot);
/* detail: a sentence more, "" for none. */
void pool_lease_end(struct slot *slot, enum lease_end why, const char *detail);
/* Discards a VM that failed and counts it; its acquire is tried again or told. */
void pool_slot_fail(struct slot *slot, enum failure failure, const char *detail);
/* The pool's proof has got there, or (false) is no more. */
void pool_proof_end(struct slot *slot, bool parked);
/* Stops VMs of a state, oldest first, until `keep` are left. */
void pool_stop_down_to(struct pool *pool, enum slot_state state, uint32_t keep);

/* ---- pool_serve.c ---- */

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
/* Restores a SHELL: for acquire, or (NULL) to be parked. */
void pool_shell_restore(struct slot *slot, struct acquire *acquire);
/* Wakes a parked VM for the acquire, which is in no queue. False: there is none. */
bool pool_parked_take(struct pool *pool, struct acquire *acquire);
/* What follows, once nothing waits for it: one that waits for a call has nothing to say before that, and
 * is a lease. acquire->done is called from within, then. */
void pool_parked_taken(struct acquire *acquire);
/* The acquire's VM is its client's. */
void pool_lease_begin(struct slot *slot, uint64_t now);
void pool_serve(struct pool *pool);
/* The same for all pools: by priority, and whoever has waited longest first. */
void pool_serve_all(struct pool_env *env);

/* ---- pool_proof.c ---- */

/* Moves a PROVING pool on: starts its proof, or tells how it ended. */
void pool_prove(struct pool *pool);

/* ---- pool_refill.c ---- */

/* Of more VMs than `max`, stops those that nobody has leased. */
void pool_excess_stop(struct pool *pool);

/* ---- pool_room_make.c ---- */

/* Stops VMs that nobody has asked for, as far as others take more than there is, or clients lack a
 * descriptor. */
void pool_room_make(struct pool_env *env);

#endif
