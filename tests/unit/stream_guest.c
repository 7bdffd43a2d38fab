/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's side of the streams' world: the agent runs here, on lanes, in a loop whose events are
 * delivered one by one, in any order. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "../../guest-init/agent.h"
#include "../../guest-init/agent_session.h"
#include "child.h"
#include "exec_fds.h"
#include "io.h"
#include "loop.h"
#include "stream_command.h"
#include "stream_model.h"
#include "text.h"

#define FD_FIRST 2000000
#define FD_COUNT 16

struct sim_fd {
    bool open, terminal, forgotten;
    struct lane *in, *out;
    struct loop_source *source;
    uint32_t edges, events; /* what is to be told, and what of it is watched for */
};

static struct sim_fd fds[FD_COUNT];
static struct loop_source *listener;
static struct loop_timer *timers;
static bool connection_waits, more;

/* ---- Descriptors ---- */

static struct sim_fd *sim(int fd)
{
    if (fd < FD_FIRST || fd >= FD_FIRST + FD_COUNT || !fds[fd - FD_FIRST].open)
        model_fail("descriptor %d of the guest is not open", fd);
    return &fds[fd - FD_FIRST];
}

static void fd_readable(void *context)
{
    struct sim_fd *fd = context;

    fd->edges |= fd->in->ended ? EPOLLIN | EPOLLRDHUP | EPOLLHUP : EPOLLIN;
}

static void fd_writable(void *context)
{
    struct sim_fd *fd = context;

    fd->edges |= fd->out->abandoned ? EPOLLOUT | EPOLLERR : EPOLLOUT;
}

static int fd_open(struct lane *in, struct lane *out, bool terminal)
{
    for (int i = 0; i < FD_COUNT; i++) {
        if (fds[i].open)
            continue;
        fds[i] = (struct sim_fd){ .open = true, .terminal = terminal, .in = in, .out = out };
        if (in)
            in->reader = (struct lane_ends){ .readable = fd_readable, .context = &fds[i] };
        if (out)
            out->writer = (struct lane_ends){ .writable = fd_writable, .context = &fds[i] };
        return FD_FIRST + i;
    }
    model_fail("the agent has too many descriptors open");
}

void io_close(int fd)
{
    struct sim_fd *s = sim(fd);

    if (s->source && !s->forgotten)
        model_fail("descriptor %d is closed while it is watched", fd);
    s->source = NULL;
    s->open = false;
    s->edges = 0;
    if (s->in) {
        s->in->reader = (struct lane_ends){ 0 };
        lane_abandon(s->in);
    }
    if (s->out) {
        s->out->writer = (struct lane_ends){ 0 };
        lane_end(s->out);
    }
}

ssize_t io_read(int fd, void *data, size_t bytes)
{
    struct sim_fd *s = sim(fd);

    if (s->in->bytes == 0 && s->in->ended)
        return s->terminal ? -EIO : 0;
    if (s->in->bytes == 0)
        return -EAGAIN;
    /* A terminal gives a line, or less; a pipe and a socket all that they have. */
    if (s->terminal)
        bytes = 1 + model_choose((uint32_t)bytes);
    return (ssize_t)lane_take(s->in, data, bytes);
}

ssize_t io_write(int fd, const void *data, size_t bytes)
{
    struct sim_fd *s = sim(fd);

    if (s->out->abandoned)
        return -EPIPE;
    if (lane_room(s->out) == 0) {
        s->out->met_full = true;
        return -EAGAIN;
    }
    return (ssize_t)lane_put(s->out, data, 1 + model_choose((uint32_t)bytes));
}

ssize_t io_send(int fd, const void *data, size_t bytes)
{
    return io_write(fd, data, bytes);
}

void io_shutdown(int fd)
{
    lane_end(sim(fd)->out);
}

int io_accept(int listen_fd)
{
    (void)listen_fd;
    if (!connection_waits)
        return -EAGAIN;
    connection_waits = false;
    return fd_open(&world.come[WIRE_TO_GUEST], &world.sent[WIRE_TO_HOST], false);
}

/* ---- The command's descriptors ---- */

int exec_fds_open(const struct agent_exec *exec, struct exec_fds *ret)
{
    command_init(exec->flags & AGENT_EXEC_PTY, exec->flags & AGENT_EXEC_STDIN);
    *ret = (struct exec_fds){ { -1, -1, -1 }, -1, { -1, -1 } };
    ret->streams[0] = fd_open(&command.out[0], NULL, command.terminal);
    if (!command.terminal)
        ret->streams[1] = fd_open(&command.out[1], NULL, false);
    if (command.terminal || command.has_stdin)
        ret->input = fd_open(NULL, &command.in, command.terminal);
    return 0;
}

void exec_fds_close(struct exec_fds *these)
{
    int *const ours[] = { &these->input, &these->streams[0], &these->streams[1] };

    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (*ours[i] >= 0)
            io_close(*ours[i]);
        *ours[i] = -1;
    }
}

void exec_fds_child(const struct exec_fds *these, int ret_child[3])
{
    memcpy(ret_child, these->child, sizeof(these->child));
}

void exec_fds_started(struct exec_fds *these)
{
    (void)these;
}

void exec_fds_ended(struct exec_fds *these)
{
    (void)these;
}

void exec_fds_prepare(void)
{
}

int exec_fd_duplicate(int fd)
{
    (void)fd;
    return -EMFILE;
}

size_t exec_pipe_bytes(int fd)
{
    return sim(fd)->in->capacity;
}

void exec_terminal_resize(int fd, const struct agent_winsize *size)
{
    (void)size;
    if (!sim(fd)->terminal)
        model_fail("a pipe was given a size");
}

void exec_signal_group(pid_t leader, int signal)
{
    if (leader != command.pid || command.reaped)
        model_fail("a signal to a process that is not the agent's");
    command_signal(signal);
}

int spawn_program(const struct spawn *spawn, pid_t *ret_pid, enum spawn_stage *ret_stage)
{
    if (!world.plan->any_request && strlen(spawn->argv[1]) != world.plan->request_bytes)
        model_fail("the command got an argument of %zu bytes", strlen(spawn->argv[1]));
    *ret_stage = SPAWN_STAGE_EXEC;
    *ret_pid = command.pid;
    command.running = command.started = true;
    return 0;
}

/* ---- The loop ---- */

int loop_add_level(struct loop_source *source, uint32_t events)
{
    (void)events;
    listener = source;
    return 0;
}

int loop_add(struct loop_source *source, uint32_t events)
{
    struct sim_fd *s = sim(source->fd);

    s->source = source;
    s->events = events | EPOLLERR | EPOLLHUP;
    s->edges = 0;
    if (s->in && (s->in->bytes > 0 || s->in->ended))
        fd_readable(s);
    if (s->out && (lane_room(s->out) > 0 || s->out->abandoned))
        fd_writable(s);
    s->edges &= s->events;
    return 0;
}

int loop_change(struct loop_source *source, uint32_t events)
{
    if (sim(source->fd)->source != source)
        model_fail("descriptor %d is not watched", source->fd);
    return loop_add(source, events);
}

void loop_remove(struct loop_source *source)
{
    struct sim_fd *s = sim(source->fd);

    s->source = NULL;
    s->edges = 0;
}

/* What is closed next is not told of any more; a duplicate would be: check_terminals. */
void loop_forget(const struct loop_source *source)
{
    for (int i = 0; i < FD_COUNT; i++)
        if (fds[i].open && fds[i].source == source)
            fds[i].forgotten = true;
}

void loop_timer_stop(struct loop_timer *timer)
{
    for (struct loop_timer **at = &timers; *at; at = &(*at)->next) {
        if (*at == timer) {
            *at = timer->next;
            break;
        }
    }
    timer->deadline_ns = 0;
}

void loop_timer_start(struct loop_timer *timer, uint64_t after_ns)
{
    loop_timer_stop(timer);
    timer->deadline_ns = world.now_ns + after_ns;
    timer->next = timers;
    timers = timer;
}

uint64_t guest_deadline_ns(void)
{
    uint64_t least = UINT64_MAX;

    for (const struct loop_timer *timer = timers; timer; timer = timer->next)
        least = MIN_OF(least, timer->deadline_ns);
    return least;
}

/* ---- Steps ---- */

enum { EVENT_COMMAND, EVENT_MORE, EVENT_REAP, EVENT_TIMER, EVENT_ACCEPT, EVENT_FD };
#define EVENT_COUNT (EVENT_FD + FD_COUNT)

static bool event_waits(unsigned event)
{
    switch (event) {
    case EVENT_MORE:
        return more;
    case EVENT_REAP:
        return command.started && !command.running && !command.reaped;
    case EVENT_TIMER:
        return guest_deadline_ns() <= world.now_ns;
    case EVENT_ACCEPT:
        return connection_waits;
    default:
        return fds[event - EVENT_FD].source &&
               fds[event - EVENT_FD].edges & fds[event - EVENT_FD].events;
    }
}

static void timer_expire(void)
{
    struct loop_timer *timer = timers;

    while (timer->deadline_ns > world.now_ns)
        timer = timer->next;
    loop_timer_stop(timer);
    timer->expired(timer);
}

static void fd_event(struct sim_fd *s)
{
    uint32_t edges = s->edges & s->events;

    s->edges = 0;
    s->source->ready(s->source, edges);
}

/* A terminal's two descriptors are duplicates: where one is closed, its events still come while the
 * other is open. */
static void check_terminals(void)
{
    int open = 0;

    for (int i = 0; i < FD_COUNT; i++)
        open += fds[i].open && fds[i].terminal;
    if (open == 1)
        model_fail("one descriptor of a terminal is closed, and the other is not");
}

static void event_deliver(unsigned event)
{
    switch (event) {
    case EVENT_MORE: /* what is left of the turn before */
        break;
    case EVENT_REAP:
        command.reaped = true;
        agent_child_ended(command.pid, command.wait_status);
        break;
    case EVENT_TIMER:
        timer_expire();
        break;
    case EVENT_ACCEPT:
        listener->ready(listener, EPOLLIN);
        break;
    default:
        fd_event(&fds[event - EVENT_FD]);
    }
    more = agent_run_pending();
    check_terminals();
}

bool guest_step(void)
{
    unsigned first = model_choose(EVENT_COUNT);

    for (unsigned i = 0; i < EVENT_COUNT; i++) {
        unsigned event = (first + i) % EVENT_COUNT;

        if (event == EVENT_COMMAND ? command_step() : event_waits(event)) {
            if (event != EVENT_COMMAND)
                event_deliver(event);
            return true;
        }
    }
    return false;
}

void guest_start(void)
{
    if (!listener && agent_init(FD_FIRST - 1) < 0)
        model_fail("the agent does not start");
    command.started = false;
    connection_waits = true;
    more = false;
}

void guest_check_idle(void)
{
    for (int i = 0; i < FD_COUNT; i++)
        if (fds[i].open)
            model_fail("the agent has left descriptor %d open", FD_FIRST + i);
    if (timers || more)
        model_fail("the agent has left a %s", timers ? "timer" : "session");
    if (command.started && (command.running || !command.reaped))
        model_fail("the agent has left the command running");
}
