/* SPDX-License-Identifier: Apache-2.0 */
/* poold's side of its keeper (keeper.h) and its ledger (ledger.h). Loop thread only.
 *
 * Where none can be had (no fds, no process), or it ends, poold says so and works on: VMs end with it
 * then, as they would without a keeper. One that ends or hangs up is started again, at once, or less
 * and less often while none stays, and is given everything. */
#ifndef VOLT_POOLD_KEEP_H
#define VOLT_POOLD_KEEP_H

#include <limits.h>
#include <stdbool.h>
#include <uv.h>

#include "base/backoff.h"
#include "base/list.h"
#include "keep/keep_table.h"
#include "keep/ledger.h"

struct keep {
    uv_loop_t *loop;
    char path[PATH_MAX + 32]; /* of the keeper's socket */
    int fd;                   /* to it; -1: there is none */
    const char *program;      /* that is started as one; borrowed; NULL: none is */
    pid_t pid;                /* 0: another poold's child */
    struct backoff backoff;   /* of its starts */
    uint64_t begun_ns;        /* the last of them */
    uv_timer_t again;
    uv_poll_t poll;
    bool polling, room_wanted;
    struct ledger *ledger;  /* never NULL once started */
    struct keep_msg *queue; /* take-backs that are to be sent */
    uint32_t queue_count, queue_room;
    struct list due;             /* of whoever puts later: see keep_due */
    struct keep_table inherited; /* of the poold before; what is taken over is taken out of it */
    uint64_t grace_ms;
    /* The keeper is a new one, and has nothing yet. */
    void (*anew)(void *data);
    void *data;
};

/* Something to be put when no acquire waits: a VM whose process is known. */
struct keep_due {
    struct list node; /* in keep->due, or nowhere */
    /* 0; -EAGAIN: it stays due. */
    int (*put)(struct keep_due *due);
};

/* Connects to the keeper in run_dir, or starts `program` as one (borrowed; NULL: neither, VMs end with
 * this poold); keep->inherited and keep->ledger are what the poold before has left, or new. Blocks:
 * start-up. 0 or -errno with a sentence: there is no ledger; -EMFILE: what the poold before has left
 * does not fit, and stays. */
int keep_start(struct keep *keep, uv_loop_t *loop, const char *run_dir, const char *program,
               uint64_t grace_ms, struct err *err);
/* Watches it from now on. */
void keep_watch(struct keep *keep, void (*anew)(void *data), void *data);
/* Closes what nobody has taken over, and has the keeper forget it. */
void keep_inherited_end(struct keep *keep);
/* How long it waits for a next poold. */
void keep_set_grace(struct keep *keep, uint64_t grace_ms);

/* fds: those of `roles`, in their order; they stay the caller's. 0; -EAGAIN: not now; -ENOTCONN:
 * there is no keeper. */
int keep_put(struct keep *keep, enum keep_kind kind, uint32_t index, uint32_t roles, uint64_t value,
             const int *fds);
/* Before they are closed here or, as an end is what their owner waits for, at once after. */
void keep_take_back(struct keep *keep, enum keep_kind kind, uint32_t index, uint32_t roles);
/* Sends what is due; `pressed`: acquires wait, only what frees goes. */
void keep_pump(struct keep *keep, bool pressed);

/* The keeper is to end with all that it holds, and has. Blocks for a moment. */
void keep_end(struct keep *keep);
/* The next poold takes over: sends what is due. */
void keep_hand_over(struct keep *keep);
/* Closes it. Zeroes with fd -1 are fine. */
void keep_fini(struct keep *keep);

#endif
