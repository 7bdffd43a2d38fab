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
 *              is never reused.
 *   STOPPING   the VM is killed, or waits in the kill queue (kill_sent tells which), frozen if it
 *              was leased. Nothing but pool_vm_gone may follow; all other VM events are ignored.
 *   DEAD       its process is gone; the slot is in no list and freed by whoever set it.
 *
 * A move that is not in the table is a programmer's error and ends the daemon: what VMs and clients
 * do is checked before a move is tried.
 */
#ifndef VOLT_POOLD_SLOT_H
#define VOLT_POOLD_SLOT_H

#include <stdbool.h>
#include <stdint.h>

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

/* What the VM of a PREPARING or WAKING slot is expected to say next. */
enum slot_phase {
    SLOT_PHASE_NONE,
    SLOT_PHASE_CLONING, /* HELLO; no WAKE has been sent: it becomes a shell */
    SLOT_PHASE_AWAKE,   /* AWAKE (a HELLO may come before) */
    SLOT_PHASE_HELD,    /* answered; nothing, until it is told to go on (or READY, if it is rude) */
    SLOT_PHASE_READY,   /* READY */
    SLOT_PHASE_PARKING, /* PARKED */
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

#define SLOT_ID_BYTES 17 /* 16 hex digits and NUL */

struct slot {
    struct list node; /* in pool->slots[state] */
    struct pool *pool;
    enum slot_state state;
    enum slot_phase phase;
    enum tier tier; /* WAKING, LEASED: what it was served from */
    bool demanded;  /* WAKING, not yet AWAKE, not from PARKED: counts in pool_env.demanded */
    bool trial;     /* made to record the working set; nobody gets it */
    bool proof;     /* PREPARING: made to prove that the pool can make VMs */
    struct list ready_node; /* SLOT_PHASE_HELD: in pool_env.held; _READY: in pool_env.readying */
    bool going;            /* was HELD and told to go on, not READY yet: counts in pool_env.going */
    bool paused;           /* SLOT_PHASE_READY: stopped while acquires wait for answers */
    bool kill_sent;        /* STOPPING: SIGKILL is on its way, the VM counts as dying */
    bool frozen;           /* STOPPING, no kill sent: it runs no more, its kill can wait */
    uint64_t stopped_ns;   /* STOPPING since */
    struct list kill_node; /* STOPPING: in the kill queue */
    uint64_t deadline_ns;  /* when the state's patience or lease ends; 0: never */
    uint64_t begun_ns;     /* clone or WAKE sent */
    uint64_t awake_ns;     /* AWAKE received */
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
    void *owner_connection; /* bound leases: the connection that it ends with; else NULL */

    void *vm; /* vm_ops' own */
};

const char *slot_state_name(enum slot_state state);
const char *tier_name(enum tier tier);

/* Whether the table above has this move. */
bool slot_may_move(enum slot_state from, enum slot_state to);

#endif
