/* SPDX-License-Identifier: Apache-2.0 */
/* A pool: its slots, its queue of acquires, and the rules that refill and shrink it.
 *
 * Pure logic over an abstract clock and abstract VMs (struct vm_ops): it makes no system call, so
 * that unit tests run it with a fake clock and fake VMs. Loop thread only.
 *
 * Rules
 *   1. An acquire takes the best there is: parked, shell, then a cold clone while the pool has
 *      fewer than `max` VMs; else it waits. Acquires are served strictly first come, first served.
 *   2. `min` VMs are kept parked and `shells` as shells. Refilling is bounded (refill_max at once,
 *      in all pools), pauses while an acquire of the pool waits or one of any pool is being woken,
 *      waits for 10 ms without an acquire while the stock is half full, and backs off when it
 *      fails. Pools are refilled in turn; one that is short of VMs gets one every 200 ms (STARVED_NS)
 *      however many acquires come, of its own or of others'. What frees a place on the way to an
 *      answer lets the acquire in that has waited longest, of whichever pool.
 *      VMs that are restored for acquires first all give their answers; what their kernels do to
 *      get READY, which takes far longer, comes after, going_max at a time, in order. Those that
 *      are at it when an acquire finds nothing parked are paused until it has its answer.
 *   3. Parked VMs beyond `min` and shells beyond `shells` are stopped after surplus_ns.
 *   4. A VM that fails in any way is discarded and counted. The acquire that it was meant for is
 *      tried again with another, ACQUIRE_ATTEMPTS times in all, at the head of the queue.
 *   5. Closing a KVM VM is slow: at most dying_max VMs die at a time, the others wait in the kill
 *      queue and still count towards `max`.
 *   6. Before it is READY a pool is PROVING: one clone is made, whatever `min` is, and gets all the way
 *      to PARKED, the first of the stock if `min` wants one. PROOF_ATTEMPTS that fail are the end
 *      of the pool.
 *   7. The VMs of all pools together fit into `room`: what would not is not made, and an acquire
 *      that finds nothing parked waits for it, or is told. What acquires wait for is not taken by
 *      refills, and VMs that nobody has asked for are stopped for it.
 *   8. A trial VM may be wanted once, to record the snapshot's working set: started when there is
 *      nothing to refill, given to nobody, counted neither in `max` nor in any metric.
 *   9. A pool that is READY may take the place of another one, which gives no more leases then: whoever
 *      waits, or whose VM fails, is served by the newer, whose are all figures, too. VMs that the older
 *      ones have leased count towards its `max` (pool_heir.c).
 *   10. What pools share (refills at a time, restores at a time, room) goes to those of the highest
 *      `priority` first, and is taken from the stock of those of the lowest. But an acquire that has
 *      waited for a second, and a pool that has been short of VMs without a refill for as long, goes
 *      before all that have not, and no stock is kept while an acquire of any pool wants its room.
 */
#ifndef VOLT_POOLD_POOL_H
#define VOLT_POOLD_POOL_H

#include "base/backoff.h"
#include "base/list.h"
#include "control/control.h"
#include "pool/lease_end.h"
#include "pool/metrics.h"
#include "pool/slot.h"

#define ACQUIRE_ATTEMPTS 3
#define PROOF_ATTEMPTS 3u
#define POOL_NAME_BYTES 64
#define POOL_ERROR_BYTES 512

enum pool_state {
    POOL_BOOTING,      /* cold boot to the banner */
    POOL_SNAPSHOTTING, /* the snapshot is being written */
    POOL_LOADING,      /* the template process verifies and loads it */
    POOL_PROVING,      /* its first clone is on the way */
    POOL_READY,
    POOL_FAILED,   /* pool->error says why */
    POOL_DRAINING, /* no new leases; those out may finish */
    POOL_STATE_COUNT,
};

const char *pool_state_name(enum pool_state state);

/* What the pool asks of the outside. Events come back through pool_vm_*, never from within a call.
 */
struct vm_ops {
    /* Makes a VM for slot and fills in its identity. With a wake the WAKE is sent along (RESTORE
     * with wake_flags). 0 or -errno; after a failure no event follows. */
    int (*clone)(void *context, struct slot *slot, bool wake, uint32_t wake_flags);
    /* 0 or -errno. */
    int (*wake)(void *context, struct slot *slot, enum doorbell_op op, uint32_t flags);
    /* Lets a VM go on that was woken with DOORBELL_FLAG_HOLD; once it is READY, its guest rests for
     * rest_ms or until something is asked of it. One that can't be told has ended, which is heard of
     * later, or is late: this is called while others of its pool are gone through. */
    void (*go)(void *context, struct slot *slot, uint32_t rest_ms);
    /* Stops it where it is, until resume or its kill. 0 or -errno: it goes on. */
    int (*pause)(void *context, struct slot *slot);
    void (*resume)(void *context, struct slot *slot);
    /* Stops it where it is: it runs no more until its kill. 0 and how much of the host's memory it
     * keeps until then; or -errno: it can't be or must not, and is killed now. */
    int (*freeze)(void *context, struct slot *slot, uint64_t *ret_bytes);
    /* Kills it; pool_vm_gone follows. */
    void (*kill)(void *context, struct slot *slot);
    /* Asks a leased VM whether streams are open; pool_vm_streams follows. 0 or -errno: it can't be. */
    int (*ask)(void *context, struct slot *slot);
    /* A trial VM is READY: do with it what it was made for, then call pool_trial_over. */
    void (*trial)(void *context, struct slot *slot);
    /* The pool's proof has come (trouble is NULL), or won't: a sentence. From pool_pump. */
    void (*proved)(void *context, struct pool *pool, const char *trouble);
    /* The slot has come into another state; of a lease that has ended, slot->end says why. */
    void (*note)(void *context, struct slot *slot);
    /* Frees slot->vm; its process is gone. */
    void (*forget)(void *context, struct slot *slot);
    uint64_t (*now)(void *context);
    /* Have pool_pump called on all pools soon, but not from within this call. */
    void (*schedule)(void *context);
    /* Have pool_tick called on all pools at deadline_ns or earlier. */
    void (*arm)(void *context, uint64_t deadline_ns);
};

struct pool_timeouts {
    uint64_t setup_ns;   /* CLONE to HELLO */
    uint64_t awake_ns;   /* WAKE to AWAKE */
    uint64_t ready_ns;   /* AWAKE to READY or PARKED */
    uint64_t surplus_ns; /* how long a VM beyond `min` is kept */
    uint64_t trial_ns;   /* READY to pool_trial_over */
};

/* What VMs take of what all pools share. */
struct pool_room {
    uint32_t vms;
    uint32_t fds;   /* descriptors of poold's */
    uint64_t bytes; /* guest memory */
};

/* Shared by all pools of a daemon. */
struct pool_env {
    const struct vm_ops *ops;
    void *context; /* of ops */
    struct pool_timeouts timeouts;
    uint32_t refill_max;       /* VMs being prepared at a time, all pools */
    uint32_t demand_max;       /* VMs on their way to AWAKE for acquires at a time, all pools */
    uint32_t going_max;        /* VMs for acquires told to go on to READY at a time */
    uint32_t dying_max;        /* VMs whose kill has been sent at a time */
    uint64_t frozen_bytes_max; /* memory that frozen VMs keep */
    struct pool_room room;     /* of the VMs of all pools, those that die, too */
    struct list *pools;        /* all of them, by pool.node */

    uint32_t refilling, demanded, going, waking, dying; /* now */
    uint32_t frozen;                                    /* VMs in the kill queue that run no more */
    uint64_t frozen_bytes;                              /* what they keep of the host's memory */
    struct pool_room made, claimed, ending; /* of all VMs; those WAKING or LEASED; STOPPING */
    uint64_t acquired_ns;                   /* when the last acquire was asked for */
    struct list held;     /* slots that answered and wait for their turn to get READY */
    struct list readying; /* slots whose guests are getting READY, for acquires or not */
    struct list kill_queue;
    bool draining; /* no new leases, and no VMs for them */
    bool cramped;  /* there is no descriptor for a client: no stock is made, and some of it goes */
    bool stopping; /* shutdown: nothing new */
};

struct pool {
    struct list node; /* the owner's */
    struct pool_env *env;
    char name[POOL_NAME_BYTES];
    enum pool_state state;
    char error[POOL_ERROR_BYTES];
    uint32_t min, max, shells;
    uint32_t priority; /* among pools that want more than there is: higher is first */
    struct list slots[SLOT_STATE_COUNT];
    uint32_t counts[SLOT_STATE_COUNT];
    uint64_t vm_bytes; /* guest memory of one VM */
    uint32_t vm_fds;   /* the most descriptors that one takes of poold's */
    bool at_bell; /* its parked VMs wait for a call, not a WAKE: acquires get them as they are */
    uint32_t vacated; /* of counts[SLOT_STOPPING]: kill sent, or frozen: their places are free */
    struct pool *before, *after; /* whose place it has taken, and which has taken its own; NULL */
    struct list waiters;
    uint32_t waiting;
    uint32_t trials_left;    /* attempts; 0: no trial is wanted */
    struct slot *trial;      /* until it is STOPPING; NULL: none */
    struct slot *proof;      /* PREPARING, the clone that is to prove the pool; NULL: none */
    uint32_t proof_failures; /* attempts */
    bool proven;             /* by a clone that got to PARKED */
    struct backoff backoff;
    uint64_t surplus_since_ns; /* 0: no VM is beyond min or shells */
    uint64_t short_since_ns;   /* 0: it has min and shells, or they are on their way */
    uint64_t refilled_ns;      /* when the last VM for the stock was begun */
    bool passed_over;          /* its first waiter can't be served now: while pool_serve_all runs */
    char last_failure[POOL_ERROR_BYTES];
    struct pool_counters counters;
    uint64_t lease_ends[LEASE_END_COUNT]; /* since poold was started */
    void *owner;                          /* the caller's own */
};

enum acquire_result {
    ACQUIRE_OK,
    ACQUIRE_NO_VM_FREE,
    ACQUIRE_NO_ROOM,   /* all pools together have as many VMs as they may: pool_room_lack */
    ACQUIRE_NOT_READY, /* the pool is not ready, or failed: pool->error */
    ACQUIRE_DRAINING,
    ACQUIRE_RESTORE_FAILED, /* pool->last_failure */
    ACQUIRE_SHUTTING_DOWN,
    ACQUIRE_RESULT_COUNT,
};

const char *acquire_result_name(enum acquire_result result);

/* A wish for a lease. The caller's storage, until done or pool_acquire_cancel. */
struct acquire {
    struct list node;
    struct pool *pool;
    struct slot *slot; /* WAKING for it */
    uint64_t asked_ns; /* when the request was read */
    uint64_t wait_ns;  /* how long it may queue; 0: not at all */
    uint64_t deadline_ns;
    uint64_t ttl_ms;
    bool kept_by_streams; /* of the lease: ttl_ms is what is given to those who ask for none */
    uint32_t attempts;
    bool queued;
    /* Called once, never from within pool_acquire_cancel; with OK slot is LEASED and the callee
     * fills in its owner. It must not call back into the pool. */
    void (*done)(struct acquire *acquire, enum acquire_result result, struct slot *slot);
};

void pool_init(struct pool *pool, struct pool_env *env, const char *name);

/* Moves the pool on; error (may be NULL) is kept. PROVING ends in vm_ops.proved, at once if the pool
 * is proven already; READY starts refilling; FAILED and DRAINING send
 * the waiters away and stop all VMs that no one has leased. */
void pool_set_state(struct pool *pool, enum pool_state state, const char *error);
/* A DRAINING pool is FAILED, without an error: the caller moves it on. */
void pool_undrain(struct pool *pool);
void pool_set_limits(struct pool *pool, uint32_t min, uint32_t max, uint32_t shells);

/* pool takes the place of `from`, which is to be drained next, and whose place no other has; nobody has
 * asked pool for anything yet. */
void pool_succeed(struct pool *pool, struct pool *from);
/* It goes: those around it are next to each other. */
void pool_part(struct pool *pool);
/* The last one that has taken its place, or itself. */
struct pool *pool_newest(struct pool *pool);
/* Slots in a state, with those of all pools whose place it has taken. */
uint32_t pool_state_count_all(const struct pool *pool, enum slot_state state);

/* done may be called from within. */
void pool_acquire(struct pool *pool, struct acquire *acquire);
/* Forgets an acquire that is not done. */
void pool_acquire_cancel(struct acquire *acquire);

/* Have a trial VM made as soon as there is nothing better to do. */
void pool_trial_want(struct pool *pool);
/* Ends a trial VM, if it has not been stopped already; with success no other is made. */
void pool_trial_over(struct slot *slot, bool success);

/* A VM that an earlier poold has parked or leased: a slot in that state, without a VM and, if it is
 * leased, without a lease yet, which the caller fills in. NULL without memory. */
struct slot *pool_adopt(struct pool *pool, enum slot_state state);

/* Ends a lease, if it is one yet: the VM is killed and not reused. */
void pool_release(struct slot *slot, enum lease_end why);
void pool_renew(struct slot *slot, uint64_t ttl_ms);

/* Sends those away with result who wait for a VM or its answer. */
void pool_dismiss(struct pool *pool, enum acquire_result result);
/* Stops every VM, leased ones too, and sends the waiters away with result. */
void pool_stop_all(struct pool *pool, enum acquire_result result);

/* While acquires come, what can wait does, up to so long after the last one. */
#define POOL_CALM_NS (10 * NS_PER_MS)

/* So long after its own answer, at most, a VM waits for others' answers: a steady stream of new
 * acquires must not hold back those that have answered. */
#define POOL_HELD_NS_MAX (200 * NS_PER_MS)

/* So long, at most, the guest of a lease that nobody has asked for anything rests after READY if others
 * were held behind it: its kernel's timers and what was put off up to READY would take as much CPU
 * again as their way to READY does. About as long as a hundred VMs take on two CPUs. */
#define POOL_REST_MS 300u

/* So long a leased VM may take to say whether streams are open. */
#define POOL_ASK_NS (10 * NS_PER_S)

/* Starts the kills that are due and that dying_max allows. */
void pool_kill_queue(struct pool_env *env);

/* Serves waiters, shrinks. */
void pool_pump(struct pool *pool);
/* Refills all pools, after the pump of each. */
void pool_refill(struct pool_env *env);
/* Acts on deadlines that have passed; returns the next one, UINT64_MAX for none. */
uint64_t pool_tick(struct pool *pool, uint64_t now);

/* What of `room` keeps the pool from making a VM. */
enum pool_lack {
    POOL_LACKS_NONE,
    POOL_LACKS_VMS,
    POOL_LACKS_FDS,
    POOL_LACKS_BYTES,
};

enum pool_lack pool_room_lack(const struct pool *pool);

/* VMs that are not gone. */
uint32_t pool_vm_count(const struct pool *pool);
/* VMs that count towards max. */
uint32_t pool_live_count(const struct pool *pool);

/* What VMs say; any event in any state is allowed. */
void pool_vm_hello(struct slot *slot, uint32_t layers, uint32_t landlock_abi);
void pool_vm_awake(struct slot *slot, uint64_t run_ns);
void pool_vm_ready(struct slot *slot, uint32_t ready_status, const char *trouble);
void pool_vm_parked(struct slot *slot);
/* What a leased VM was asked. False: it was not. */
bool pool_vm_streams(struct slot *slot, uint64_t open_count);
/* The VM ended or broke the protocol; detail is a sentence. */
void pool_vm_failed(struct slot *slot, enum failure failure, const char *detail);
/* Its process is gone: frees slot. */
void pool_vm_gone(struct slot *slot);

#endif
