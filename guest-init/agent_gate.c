/* SPDX-License-Identifier: Apache-2.0 */
/* The gate: where a service that asks for its calls connects to. What it asked before the snapshot
 * waits here, in the snapshot, and is passed on when the host has a session for it. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "agent_session.h"
#include "io.h"

static struct loop_source listener = { .fd = -1 };
static int held[AGENT_GATE_HELD]; /* the oldest first */
static int held_count;

static void listener_ready(struct loop_source *source, uint32_t events)
{
    int fd;

    (void)events;
    while (held_count < (int)AGENT_GATE_HELD && (fd = io_accept(source->fd)) >= 0)
        held[held_count++] = fd;
    agent_gate_came();
}

int gate_open(void)
{
    int fd = io_listen_local(AGENT_GATE_PORT, AGENT_GATE_HELD);

    if (fd < 0)
        return fd;
    listener = (struct loop_source){ .ready = listener_ready, .fd = fd };
    return loop_add(&listener, EPOLLIN);
}

int gate_take(void)
{
    int fd;

    /* One that came while all places were taken gives no event any more. */
    if (held_count == 0)
        return listener.fd < 0 ? -EAGAIN : io_accept(listener.fd);
    fd = held[0];
    held_count--;
    memmove(held, held + 1, (size_t)held_count * sizeof(held[0]));
    return fd;
}

ssize_t gate_peek(void *data, size_t bytes)
{
    for (int i = 0; i < held_count; i++) {
        ssize_t count = io_peek(held[i], data, bytes);

        if (count > 0)
            return count;
    }
    return -EAGAIN;
}
