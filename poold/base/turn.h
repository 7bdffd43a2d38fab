/* SPDX-License-Identifier: Apache-2.0 */
/* The turn of the loop: work that many things ask for and that is done once, when all events of the
 * turn have been seen (the pump), and one timer for the earliest of many deadlines (the tick). Loop
 * thread only. */
#ifndef VOLT_POOLD_TURN_H
#define VOLT_POOLD_TURN_H

#include <stdint.h>
#include <uv.h>

struct turn_ops {
    void (*pump)(void *data);
    /* Acts on deadlines that have passed; returns the next one, UINT64_MAX for none. */
    uint64_t (*tick)(void *data, uint64_t now);
};

struct turn {
    uv_loop_t *loop;
    const struct turn_ops *ops;
    void *data; /* of ops */
    uv_idle_t idle;
    uv_timer_t timer;
    uint64_t deadline_ns; /* the timer's; UINT64_MAX: off */
};

/* Its handles are closed with all others of the loop. */
void turn_init(struct turn *turn, uv_loop_t *loop, const struct turn_ops *ops, void *data);

/* Have the pump called soon, but not from within this call. */
void turn_schedule(struct turn *turn);
/* Have the tick called at deadline_ns or earlier. */
void turn_arm(struct turn *turn, uint64_t deadline_ns);

#endif
