/* SPDX-License-Identifier: Apache-2.0 */
/* A slot: the place of one VM in a pool, and its life as a checked state machine.
 *
 * How it works
 *
 *               clone                 HELLO, wanted as a shell
 *      (new) ---------> PREPARING ------------------------------> SHELL
 *                        |  |  ^                                   | |
 *             PARKED of  |  |  +----- refill restores a shell -----+ |
 *             its refill |  |                                        | acquire takes the shell
 *                        v  | clone was made for an acquire          v
 *                     PARKED -----> WAKING <-------------------------+
 *                       |  acquire    |  AWAKE (from PARKED), READY (from SHELL or cold)
 *                       |             v
 *                       |          LEASED --- release, TTL, client gone ---+
 *                       |                                                  v
 *     any of the above -+-- failure, shrink, drain, shutdown ----------> STOPPING
 *                                                         process gone -->  DEAD (freed)
 *
 *   PREPARING  the VM is being made or restored for the pool. Owned by refill. Only VM events and
 *              the deadline move it. Nobody waits for it, but a waiting acquire gets it once it is
 *              PARKED.
 *   SHELL      process, VM, memory and vCPU exist; what does not depend on time is loaded. Only
 *              pool_serve and pool_refill may take it.
 *   PARKED     restored, unique, its answer checked, asleep at the doorbell. Only pool_serve may
 *              take it, only shrinking may stop it.
 *   WAKING     belongs to exactly one acquire (slot->acquire), which is told when it is done. Its
 *              cancellation, a failure or the deadline stop the VM: it is never given to another.
 *   LEASED     belongs to a client. Only release, TTL, the death of the VM and shutdown end it. It
 *              is never reused. One whose client asked for no TTL gets its time again when that is
 *              over as long as streams are open, which its VM is asked then (vm_ops.ask).
 *   STOPPING   the VM is killed, or waits in the kill queue, stopped; frozen if its kill can wait (the
 *              phase tells which). Nothing but pool_vm_gone may follow; other VM events are ignored.
 *   DEAD       its process is gone; the slot is in no list and freed by whoever set it.
 *
 * Each state has phases, which say what the VM is at: state and all counters follow from the phase
 * by one table (slot.c), and one function moves a slot (pool_slot_enter, slots.c). A move that is
 * not in the table is a programmer's error and ends the daemon: what VMs and clients do is checked
 * before a move is tried.
 */
#ifndef VOLT_POOLD_SLOT_H
#define VOLT_POOLD_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/labels.h"
#include "base/list.h"
#include "guest_abi.h"

struct pool;
struct acquire;

enum slot_state {
    SLOT_PREPARING,
    SLOT_SHELL,
    SLOT_PARKED,
    SLOT_WAKING,
    SLOT_LEASED,
    SLOT_STOPPING,
    SLOT_DEAD,
    SLOT_STATE_COUNT,
};

/* What a slot's VM is at, and what it is expected to say next (a HELLO may come at any time). */
enum slot_phase {
    /* PREPARING */
    SLOT_PHASE_NEW,       /* nothing has been asked for: there is no process */
    SLOT_PHASE_CLONING,   /* HELLO; no WAKE has been sent: it becomes a shell */
    SLOT_PHASE_RESTORING, /* AWAKE */
    SLOT_PHASE_SETTLING,  /* READY: its guest does what comes after its answer */
    SLOT_PHASE_PARKING,   /* PARKED */
    SLOT_PHASE_TRIAL,     /* nothing: vm_ops.trial has it */

    SLOT_PHASE_SHELL,
    SLOT_PHASE_PARKED,

    /* WAKING */
    SLOT_PHASE_DEMANDED, /* AWAKE of a restore: others' kernels make room for this answer */
    SLOT_PHASE_HELD,    /* answered; nothing, until it is told to go on (or READY, if it is rude) */
    SLOT_PHASE_GOING,   /* READY, as SETTLING */
    SLOT_PHASE_LEASING, /* AWAKE of a parked VM, which makes it a lease */

    SLOT_PHASE_LEASED,

    /* STOPPING */
    SLOT_PHASE_QUEUED, /* in the kill queue, stopped if it could be: its kill is due */
    SLOT_PHASE_FROZEN, /* in the kill queue too, but it runs no more: its kill can wait */
    SLOT_PHASE_KILLED, /* SIGKILL is on its way, or there never was a process */

    SLOT_PHASE_DEAD,
    SLOT_PHASE_COUNT,
};

/* What a slot in a phase is counted as (struct pool_env and struct pool). */
enum slot_count {
    SLOT_COUNTS_WAKING = 1 << 0,
    SLOT_COUNTS_DEMANDED = 1 << 1,
    SLOT_COUNTS_GOING = 1 << 2,
    SLOT_COUNTS_FROZEN = 1 << 3,
    SLOT_COUNTS_DYING = 1 << 4,
    SLOT_COUNTS_VACATED = 1 << 5,   /* its place under `max` is free */
    SLOT_COUNTS_REFILLING = 1 << 6, /* but for a trial's */
    /* Not counted but listed: in pool_env.held, in pool_env.readying. */
    SLOT_IS_HELD = 1 << 7,
    SLOT_IS_READYING = 1 << 8,
};

/* What a VM may say in a phase. */
enum slot_word {
    SLOT_SAYS_HELLO = 1 << 0,
    SLOT_SAYS_AWAKE = 1 << 1,
    SLOT_SAYS_READY = 1 << 2,
    SLOT_SAYS_PARKED = 1 << 3,
};

struct slot_rule {
    enum slot_state state;
    uint32_t to;      /* bits 1 << phase: where it may go */
    uint32_t is;      /* enum slot_count */
    uint32_t expects; /* enum slot_word */
};

enum tier {
    TIER_PARKED,
    TIER_SHELL,
    TIER_COLD,
    TIER_COUNT,
};

struct timings {
    uint64_t queue_ns, load_ns, awake_ns, ready_ns; /* disjoint; their sum is the total */
};

/* Of the request that a lease was asked for with, to know it again by (api/repeat.h). */
struct request_key {
    uint64_t key[2]; /* of its Idempotency-Key; 0: it had none */
    uint64_t body;
};

#define SLOT_ID_BYTES 17 /* 16 hex digits and NUL */

struct slot {
    struct list node; /* in pool->slots[state] */
    struct pool *pool;
    enum slot_state state; /* the phase's; both are set by pool_slot_enter alone */
    enum slot_phase phase;
    enum tier tier;          /* WAKING, LEASED: what it was served from */
    bool trial;              /* made to record the working set; nobody gets it */
    bool proof;              /* PREPARING: made to prove that the pool can make VMs */
    struct list ready_node;  /* in pool_env.held or pool_env.readying, by the phase */
    bool paused;             /* stopped, while acquires wait for answers or until its kill */
    uint64_t frozen_bytes;   /* FROZEN: memory that it keeps of the host's */
    uint64_t stopped_ns;     /* STOPPING since */
    struct list kill_node;   /* STOPPING: in the kill queue */
    uint64_t deadline_ns;    /* when the state's patience or lease ends; 0: never */
    uint64_t begun_ns;       /* clone or WAKE sent */
    uint64_t awake_ns;       /* AWAKE received */
    struct acquire *acquire; /* WAKING */
    struct timings timings;  /* of its acquire */

    /* Identity, filled in by vm_ops.clone. The VM's id is its lease's id too. */
    char id[SLOT_ID_BYTES];
    uint8_t generation_id[16];
    char hostname[DOORBELL_HOSTNAME_BYTES];
    uint32_t layers, landlock_abi; /* from HELLO */

    /* The lease. */
    uint64_t leased_ns;      /* CLOCK_MONOTONIC */
    uint64_t leased_wall_ns; /* CLOCK_REALTIME */
    uint64_t ttl_ms;         /* 0: none; else deadline_ns is its end */
    uint32_t owner_uid;
    void *owner_connection;    /* bound leases: the connection that it ends with; else NULL */
    bool kept_by_streams;      /* no ttl was asked for: it does not end while a stream is open */
    bool asked;                /* if there are any, as its time is over: the answer decides */
    uint32_t answers_due;      /* to that question, or to an earlier poold's */
    char labels[LABELS_BYTES]; /* base/labels.h */
    struct request_key request;
    bool given; /* its client was told of it, or is about to be */
    /* STOPPING, of a lease: why; and a sentence more, "" for none, while vm_ops.note is called. */
    uint32_t end; /* enum lease_end */
    const char *end_detail;
    /* The API's (api/lease_news.h): what is to be told of it yet, and the list of those with news. */
    uint32_t news;
    struct list news_node;

    void *vm; /* vm_ops' own */
};

const char *slot_state_name(enum slot_state state);
const char *tier_name(enum tier tier);

const struct slot_rule *slot_rule(enum slot_phase phase);
/* Whether the table above has this move between states. */
bool slot_may_move(enum slot_state from, enum slot_state to);

#endif
