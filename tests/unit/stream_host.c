/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side of the streams' world: exec_session.c runs here on descriptors that are lanes. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "exec_session.h"
#include "fd_io.h"
#include "stream_model.h"
#include "tty.h"

/* No such descriptors exist, so that closing one does nothing. */
#define AGENT_FD 1000000
#define SIGNALS_FD 1000001
#define SIGNALS_MAX 16

static int signals[SIGNALS_MAX];
static unsigned signal_count;

/* ---- Descriptors ---- */

static struct lane *output_of(int fd)
{
    return &world.user_out[fd == STDERR_FILENO];
}

/* What poll would say of this descriptor. */
static short events_of(int fd)
{
    const struct lane *in = NULL, *out = NULL;

    if (fd == SIGNALS_FD)
        return signal_count > 0 ? POLLIN : 0;
    if (fd == STDIN_FILENO)
        in = &world.user_in;
    else if (fd == AGENT_FD)
        in = &world.come[WIRE_TO_HOST], out = &world.sent[WIRE_TO_GUEST];
    else
        out = output_of(fd);
    int events = in && (in->bytes > 0 || in->ended) ? POLLIN : 0;
    events |= in && in->ended ? POLLHUP : 0;
    events |= out && out->abandoned ? POLLERR | POLLOUT : 0;
    events |= out && lane_room(out) > 0 ? POLLOUT : 0;
    return (short)events;
}

/* Sets revents, of all that are ready or only of some. How many there are. */
static int ready(struct pollfd *fds, size_t count, bool all)
{
    int found = 0;

    for (size_t i = 0; i < count; i++) {
        fds[i].revents = 0;
        if (fds[i].fd < 0)
            continue;
        short events = events_of(fds[i].fd) & (short)(fds[i].events | POLLHUP | POLLERR);
        if (events == 0 || (!all && model_chance(20)))
            continue;
        fds[i].revents = events;
        found++;
    }
    return found;
}

int fd_poll(struct pollfd *fds, size_t count, uint64_t deadline_ns)
{
    for (;;) {
        int found = model_chance(40) ? ready(fds, count, false) : 0;

        if (found > 0)
            return found;
        if (world_step())
            continue;
        found = ready(fds, count, true); /* nothing else can happen */
        if (found > 0)
            return found;
        if (!world_wait(deadline_ns))
            model_fail("everybody waits for ever");
        if (world.now_ns >= deadline_ns)
            return 0;
    }
}

ssize_t fd_read(int fd, void *data, size_t bytes)
{
    struct lane *lane = &world.user_in;

    if (fd != STDIN_FILENO || (lane->bytes == 0 && !lane->ended))
        model_fail("a read of descriptor %d blocks", fd);
    return (ssize_t)lane_take(lane, data, 1 + model_choose((uint32_t)bytes));
}

ssize_t fd_write(int fd, const void *data, size_t bytes)
{
    struct lane *lane = output_of(fd);

    if (lane->abandoned)
        return -EPIPE;
    if (lane_room(lane) == 0)
        model_fail("a write to descriptor %d blocks", fd);
    return (ssize_t)lane_put(lane, data, 1 + model_choose((uint32_t)bytes));
}

ssize_t fd_receive(int fd, void *data, size_t bytes)
{
    struct lane *lane = &world.come[WIRE_TO_HOST];

    (void)fd;
    if (lane->bytes > 0)
        return (ssize_t)lane_take(lane, data, 1 + model_choose((uint32_t)bytes));
    return lane->ended ? 0 : -EAGAIN;
}

ssize_t fd_send(int fd, const void *data, size_t bytes)
{
    struct lane *lane = &world.sent[WIRE_TO_GUEST];

    (void)fd;
    if (lane->abandoned || lane->ended)
        return -EPIPE;
    if (lane_room(lane) == 0)
        return -EAGAIN;
    return (ssize_t)lane_put(lane, data, 1 + model_choose((uint32_t)bytes));
}

bool fd_is_file(int fd)
{
    (void)fd;
    return world.plan->out_capacity == LANE_BYTES_MAX;
}

uint64_t fd_now_ns(void)
{
    return world.now_ns;
}

/* ---- The terminal ---- */

int tty_raw_enter(struct tty_raw *raw, int fd, struct err *err)
{
    (void)fd;
    (void)err;
    raw->active = true;
    return 0;
}

void tty_raw_leave(struct tty_raw *raw)
{
    raw->active = false;
}

void tty_size(uint16_t *ret_rows, uint16_t *ret_cols)
{
    *ret_rows = 24;
    *ret_cols = 80;
}

int tty_signals_init(struct tty_signals *tty, struct err *err)
{
    (void)err;
    tty->fd = SIGNALS_FD;
    return 0;
}

void tty_signals_fini(struct tty_signals *tty)
{
    tty->fd = -1;
}

int tty_signals_next(struct tty_signals *tty)
{
    int number = signals[0];

    (void)tty;
    if (signal_count == 0)
        return 0;
    memmove(signals, signals + 1, --signal_count * sizeof(signals[0]));
    return number;
}

void host_signal(int number)
{
    if (signal_count < SIGNALS_MAX)
        signals[signal_count++] = number;
}

/* ---- The run ---- */

void host_run(void)
{
    const struct plan *plan = world.plan;
    char *text = malloc(plan->request_bytes + 1), *argv[] = { (char[]){ "command" }, text, NULL };
    const struct exec_env env = { 0 };
    const struct exec_request request = {
        .argc = 2,
        .argv = argv,
        .env = &env,
        .timeout_ms = plan->timeout_ms,
        .kill_after_ms = plan->kill_after_ms,
        .interactive = plan->interactive,
        .tty = plan->terminal,
    };
    struct agent *agent = agent_create(AGENT_FD);
    struct err err;

    if (!text || !agent)
        model_fail("out of memory");
    memset(text, 'x', plan->request_bytes);
    text[plan->request_bytes] = '\0';
    signal_count = 0;
    world.outcome.rc = exec_session_run(agent, &request, &world.outcome.exit_code, &err);
    agent_close(agent);
    free(text);
}
