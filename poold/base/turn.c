/* SPDX-License-Identifier: Apache-2.0 */
/* Owns when the pump and the tick are called; see turn.h. */
#include "base/turn.h"

#include "base/util.h"

void turn_init(struct turn *turn, uv_loop_t *loop, const struct turn_ops *ops, void *data)
{
    *turn = (struct turn){ .loop = loop, .ops = ops, .data = data, .deadline_ns = UINT64_MAX };
    uv_timer_init(loop, &turn->timer);
    uv_idle_init(loop, &turn->idle);
    turn->timer.data = turn->idle.data = turn;
}

static void on_pump(uv_idle_t *idle)
{
    const struct turn *turn = idle->data;

    uv_idle_stop(idle);
    turn->ops->pump(turn->data);
}

void turn_schedule(struct turn *turn)
{
    uv_idle_start(&turn->idle, on_pump);
}

static void on_deadline(uv_timer_t *timer)
{
    struct turn *turn = timer->data;

    turn->deadline_ns = UINT64_MAX;
    turn_arm(turn, turn->ops->tick(turn->data, now_ns()));
}

void turn_arm(struct turn *turn, uint64_t deadline_ns)
{
    uint64_t now_ms;

    if (deadline_ns >= turn->deadline_ns)
        return;
    turn->deadline_ns = deadline_ns;
    now_ms = uv_now(turn->loop);
    uv_timer_start(&turn->timer, on_deadline,
                   deadline_ns / NS_PER_MS >= now_ms ? deadline_ns / NS_PER_MS - now_ms + 1 : 0, 0);
}
