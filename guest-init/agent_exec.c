/* SPDX-License-Identifier: Apache-2.0 */
/* EXEC sessions: the command, its pipes or terminal, stdin, signals and timeout. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_session.h"
#include "child.h"

#define TERMINATE_GRACE_NS 2000000000ull     /* between SIGTERM and SIGKILL */
#define CREDIT_STEP (AGENT_STDIN_CREDIT / 4) /* credit is given back in portions */
#define SIGNAL_MAX 64
#define CONTROL_D 4

/* The three fds a command is born with, and volt-init's ends of them; -1 where there is none. */
struct command_fds {
    int child[3];
    int input;
    int streams[STREAM_COUNT];
};

static struct agent_command command; /* used while an EXEC starts, never across events */

static void fds_close(int *fds, int count)
{
    for (int i = 0; i < count; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

static void command_fds_close(struct command_fds *fds)
{
    /* A terminal is all three. */
    if (fds->child[1] == fds->child[0])
        fds->child[1] = -1;
    if (fds->child[2] == fds->child[0])
        fds->child[2] = -1;
    fds_close(fds->child, 3);
    fds_close(&fds->input, 1);
    fds_close(fds->streams, STREAM_COUNT);
}

static int open_terminal(struct command_fds *fds)
{
    const struct agent_exec *exec = &command.exec;
    struct winsize size = { .ws_row = exec->rows, .ws_col = exec->cols };
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC), unlock = 0, slave;

    fds->streams[0] = master;
    if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
        return -errno;
    slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return -errno;
    fds->child[0] = fds->child[1] = fds->child[2] = slave;
    ioctl(master, TIOCSWINSZ, &size);
    fds->input = fcntl(master, F_DUPFD_CLOEXEC, 0);
    return fds->input < 0 ? -errno : 0;
}

static int open_pipe(int *ret_ours, int *ret_childs, bool to_child)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    *ret_ours = ends[to_child ? 1 : 0];
    *ret_childs = ends[to_child ? 0 : 1];
    return fcntl(*ret_ours, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static int open_pipes(struct command_fds *fds)
{
    int status = 0;

    if (command.exec.flags & AGENT_EXEC_STDIN) {
        status = open_pipe(&fds->input, &fds->child[0], true);
    } else {
        fds->child[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (fds->child[0] < 0)
            status = -errno;
    }
    for (int i = 0; status == 0 && i < STREAM_COUNT; i++)
        status = open_pipe(&fds->streams[i], &fds->child[1 + i], false);
    return status;
}

/* volt-init's environment with the command's variables over it. */
static char *const *merge_environment(void)
{
    static char *merged[AGENT_ENVC_MAX + 8];
    size_t count = 0;

    if (command.exec.flags & AGENT_EXEC_CLEAR_ENV)
        return command.envp;
    for (char *const *at = environment_default; *at; at++) {
        char name[16];
        struct text text;

        text_init(&text, name, sizeof(name));
        text_add_bytes(&text, *at, strcspn(*at, "="));
        if (!environment_get(command.envp, name))
            merged[count++] = *at;
    }
    memcpy(merged + count, command.envp, ((size_t)command.exec.envc + 1) * sizeof(merged[0]));
    return merged;
}

/* ---- Events ---- */

static void stream_event(struct session *session, struct stream *stream)
{
    stream->readable = true;
    session_pump(session);
}

static void stdout_ready(struct loop_source *source, uint32_t events)
{
    struct session *session =
        (struct session *)((char *)source - offsetof(struct session, streams[0].source));

    (void)events;
    stream_event(session, &session->streams[0]);
}

static void stderr_ready(struct loop_source *source, uint32_t events)
{
    struct session *session =
        (struct session *)((char *)source - offsetof(struct session, streams[1].source));

    (void)events;
    stream_event(session, &session->streams[1]);
}

static void stdin_ready(struct loop_source *source, uint32_t events)
{
    struct session *session =
        (struct session *)((char *)source - offsetof(struct session, input.source));

    (void)events;
    stream_event(session, &session->input);
}

static void kill_group(struct session *session, int signal)
{
    if (session->pid > 0)
        kill(-session->pid, signal);
}

static void timeout_expired(struct loop_timer *timer)
{
    struct session *session = (struct session *)((char *)timer - offsetof(struct session, timeout));

    if (session->timed_out) {
        kill_group(session, SIGKILL);
        return;
    }
    session->timed_out = true;
    kill_group(session, SIGTERM);
    loop_timer_start(timer, TERMINATE_GRACE_NS);
}

static void stream_close(struct stream *stream)
{
    if (stream->source.fd < 0)
        return;
    loop_remove(&stream->source);
    close(stream->source.fd);
    stream->source.fd = -1;
}

/* Takes an fd over. False if it can't be watched: then it is closed. */
static bool stream_open(struct stream *stream, int *fd, uint32_t events,
                        void (*ready)(struct loop_source *, uint32_t))
{
    if (*fd < 0)
        return true;
    stream->source = (struct loop_source){ .ready = ready, .fd = *fd };
    stream->readable = events == EPOLLOUT;
    *fd = -1;
    if (loop_add(&stream->source, events) == 0)
        return true;
    close(stream->source.fd);
    stream->source.fd = -1;
    return false;
}

/* ---- Start ---- */

static void exec_failed(struct session *session, enum spawn_stage stage, int error)
{
    struct agent_exit result = {
        .kind =
            error == ENOENT || error == ENOTDIR ? AGENT_EXIT_NOT_FOUND : AGENT_EXIT_NOT_EXECUTABLE,
        .value = (uint32_t)error,
    };
    struct fail fail;

    if (stage == SPAWN_STAGE_EXEC) {
        session_result(session, AGENT_EXIT, &result, sizeof(result));
        return;
    }
    if (stage == SPAWN_STAGE_CWD)
        fail_set_errno(&fail, error, "can't change to the directory", command.cwd);
    else
        fail_set_errno(&fail, error, "can't start a process for", command.argv[0]);
    session_error(session, &fail);
}

static int command_fds_open(struct session *session, struct command_fds *fds)
{
    session->terminal = command.exec.flags & AGENT_EXEC_PTY;
    return session->terminal ? open_terminal(fds) : open_pipes(fds);
}

void session_exec_start(struct session *session)
{
    struct command_fds fds = { { -1, -1, -1 }, -1, { -1, -1 } };
    enum spawn_stage stage = SPAWN_STAGE_START;
    struct spawn spawn;
    struct fail fail;
    int status;

    if (agent_command_parse(session->request, session->fill, &command, &fail) < 0) {
        session_error(session, &fail);
        return;
    }
    status = command_fds_open(session, &fds);
    if (status == 0) {
        spawn = (struct spawn){
            .argv = command.argv,
            .envp = merge_environment(),
            .cwd = command.cwd[0] ? command.cwd : "/",
            .fds = { fds.child[0], fds.child[1], fds.child[2] },
            .terminal = session->terminal,
        };
        status = spawn_program(&spawn, &session->pid, &stage);
    }
    if (status < 0) {
        command_fds_close(&fds);
        exec_failed(session, stage, -status);
        return;
    }
    session->state = SESSION_EXEC;
    session->stdin_granted = AGENT_STDIN_CREDIT;
    if (!stream_open(&session->streams[0], &fds.streams[0], EPOLLIN, stdout_ready) ||
        !stream_open(&session->streams[1], &fds.streams[1], EPOLLIN, stderr_ready) ||
        !stream_open(&session->input, &fds.input, EPOLLOUT, stdin_ready)) {
        fail_set(&fail, ENOMEM, "no memory to watch the command's output", NULL, NULL);
        session_error(session, &fail);
    } else if (command.exec.timeout_ms > 0) {
        session->timeout.expired = timeout_expired;
        loop_timer_start(&session->timeout, command.exec.timeout_ms * 1000000ull);
    }
    command_fds_close(&fds);
}

/* ---- Input ---- */

int session_exec_stdin(struct session *session, const uint8_t *data, size_t bytes,
                       struct fail *fail)
{
    if (session->stdin_eof)
        return fail_set(fail, EPROTO, "STDIN after EOF", NULL, NULL);
    if (bytes > session->stdin_granted)
        return fail_set(fail, EPROTO, "more STDIN than the credit allows", NULL, NULL);
    session->stdin_granted -= (uint32_t)bytes;
    for (size_t i = 0; i < bytes;) {
        uint32_t end = (session->stdin_at + session->stdin_bytes) % AGENT_STDIN_CREDIT;
        size_t take = MIN_OF(bytes - i, AGENT_STDIN_CREDIT - end);

        memcpy(session->stdin_ring + end, data + i, take);
        session->stdin_bytes += (uint32_t)take;
        i += take;
    }
    return 0;
}

void session_exec_eof(struct session *session)
{
    session->stdin_eof = true;
}

void session_exec_signal(struct session *session, uint32_t signal)
{
    if (signal >= 1 && signal <= SIGNAL_MAX)
        kill_group(session, (int)signal);
}

void session_exec_resize(struct session *session, const struct agent_winsize *size)
{
    struct winsize winsize = { .ws_row = size->rows, .ws_col = size->cols };

    if (session->terminal && session->streams[0].source.fd >= 0)
        ioctl(session->streams[0].source.fd, TIOCSWINSZ, &winsize);
}

/* All of stdin is with the command: tell it so. */
static void stdin_finish(struct session *session)
{
    static const char end = CONTROL_D;

    if (session->terminal)
        (void)!write(session->input.source.fd, &end, 1);
    stream_close(&session->input);
}

void session_exec_feed(struct session *session)
{
    struct stream *input = &session->input;

    while (session->stdin_bytes > 0) {
        uint32_t take = MIN_OF(session->stdin_bytes, AGENT_STDIN_CREDIT - session->stdin_at);
        ssize_t count = (ssize_t)take; /* nobody reads it: thrown away */

        if (input->source.fd >= 0) {
            if (!input->readable)
                return;
            count = write(input->source.fd, session->stdin_ring + session->stdin_at, take);
        }
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN) {
            input->readable = false;
            return;
        }
        if (count < 0) {
            stream_close(input);
            continue;
        }
        session->stdin_at = (session->stdin_at + (uint32_t)count) % AGENT_STDIN_CREDIT;
        session->stdin_bytes -= (uint32_t)count;
    }
    if (session->stdin_eof && input->source.fd >= 0)
        stdin_finish(session);
}

/* ---- Output ---- */

/* Reads output into the next frame. False: none there now. */
static bool stream_produce(struct session *session, int index)
{
    struct stream *stream = &session->streams[index];
    uint8_t *payload = session->out + sizeof(struct agent_frame);
    ssize_t count;

    while (stream->readable && stream->source.fd >= 0) {
        count = read(stream->source.fd, payload, OUT_PAYLOAD_MAX);
        if (count > 0) {
            session_frame(session, index ? AGENT_STDERR : AGENT_STDOUT, NULL, (size_t)count);
            /* A pipe that gave less is empty; a terminal may just have paused between lines. */
            if (!session->terminal && (size_t)count < OUT_PAYLOAD_MAX && !session->child_ended)
                stream->readable = false;
            return true;
        }
        if (count < 0 && errno == EINTR)
            continue;
        stream->readable = false;
        if (count == 0 || errno != EAGAIN) /* EIO: nobody has the terminal open any more */
            stream_close(stream);
    }
    return false;
}

static bool credit_produce(struct session *session)
{
    uint32_t credit = AGENT_STDIN_CREDIT - session->stdin_bytes - session->stdin_granted;

    if (credit < CREDIT_STEP || session->stdin_eof)
        return false;
    session->stdin_granted += credit;
    session_frame(session, AGENT_CREDIT, &credit, sizeof(credit));
    return true;
}

bool session_exec_produce(struct session *session)
{
    struct agent_exit result = { .kind = AGENT_EXIT_CODE };

    if (credit_produce(session))
        return true;
    for (int i = 0; i < STREAM_COUNT; i++)
        if (stream_produce(session, i))
            return true;
    /* A terminal hands its last output over with a delay, but always ends: its leader is gone. */
    if (!session->child_ended || (session->terminal && session->streams[0].source.fd >= 0))
        return false;
    /* Everything it wrote is sent; what it left behind in the background is on its own. */
    if (WIFSIGNALED(session->wait_status)) {
        result.kind = AGENT_EXIT_SIGNAL;
        result.value = (uint32_t)WTERMSIG(session->wait_status);
    } else {
        result.value = (uint32_t)WEXITSTATUS(session->wait_status);
    }
    if (session->timed_out) {
        result.kind = AGENT_EXIT_TIMEOUT;
        result.value = WIFSIGNALED(session->wait_status) ? result.value : SIGTERM;
    }
    session_result(session, AGENT_EXIT, &result, sizeof(result));
    return true;
}

void session_exec_fini(struct session *session)
{
    kill_group(session, SIGKILL);
    session->pid = 0;
    loop_timer_stop(&session->timeout);
    for (int i = 0; i < STREAM_COUNT; i++)
        stream_close(&session->streams[i]);
    stream_close(&session->input);
}
