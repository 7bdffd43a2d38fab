/* SPDX-License-Identifier: Apache-2.0 */
/* EXEC sessions: the command, its streams, stdin, signals and timeout. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "agent_session.h"
#include "child.h"
#include "io.h"

#define TERMINATE_GRACE_NS 2000000000ull     /* between SIGTERM and SIGKILL */
#define CREDIT_STEP (AGENT_STDIN_CREDIT / 4) /* credit is given back in portions */
#define SIGNAL_MAX 64
#define CONTROL_D 4
#define ENVIRONMENT_SPARE 8   /* at least as many as environment_default has */
#define POINTERS_AT_HAND 1024 /* of arguments and variables; more are allocated */

/* Puts those of volt-init's variables that the command does not set in front of its own, for which
 * there are spare pointers; `home`, if not NULL, for its HOME. */
static char *const *merge_environment(const struct agent_command *command, char *home)
{
    char **envp = command->envp;

    if (command->exec.flags & AGENT_EXEC_CLEAR_ENV)
        return envp;
    for (char *const *at = environment_default; *at; at++) {
        char name[16];
        struct text text;

        text_init(&text, name, sizeof(name));
        text_add_bytes(&text, *at, strcspn(*at, "="));
        if (!environment_get(command->envp, name))
            *--envp = home && !strcmp(name, "HOME") ? home : *at;
    }
    return envp;
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

static void kill_group(const struct session *session, int signal)
{
    if (session->pid > 0)
        exec_signal_group(session->pid, signal);
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

static void stream_close(const struct session *session, struct stream *stream)
{
    if (stream->source.fd < 0)
        return;
    if (session->terminal || session->call) /* there is a duplicate of it */
        loop_remove(&stream->source);
    else
        loop_forget(&stream->source);
    io_close(stream->source.fd);
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
    io_close(stream->source.fd);
    stream->source.fd = -1;
    return false;
}

/* ---- Start ---- */

static void exec_failed(struct session *session, const struct agent_command *command,
                        enum spawn_stage stage, int error)
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
    if (stage == SPAWN_STAGE_BELL)
        fail_set_errno(&fail, error, "can't give it the function's bell", NULL);
    else if (stage == SPAWN_STAGE_USER)
        fail_set_errno(&fail, error, "can't become the user", command->user);
    else if (stage == SPAWN_STAGE_CWD)
        fail_set_errno(&fail, error, "can't change to the directory", command->cwd);
    else
        fail_set_errno(&fail, error, "can't start a process for", command->argv[0]);
    session_error(session, &fail);
}

bool session_streams_watch(struct session *session)
{
    struct exec_fds *fds = &session->fds;

    return stream_open(&session->streams[0], &fds->streams[0], EPOLLIN, stdout_ready) &&
           stream_open(&session->streams[1], &fds->streams[1], EPOLLIN, stderr_ready) &&
           stream_open(&session->input, &fds->input, EPOLLOUT, stdin_ready);
}

/* `user` is NULL for root. */
static int command_spawn(struct session *session, const struct agent_command *command,
                         const struct user *user, enum spawn_stage *ret_stage)
{
    static char home[USER_HOME_BYTES + 8];
    struct text text;
    struct spawn spawn = {
        .argv = command->argv,
        .cwd = command->cwd[0] ? command->cwd : "/",
        .terminal = session->terminal,
        .user = user,
        .bell = service_bell(command->exec.flags),
    };
    int status = exec_fds_open(&command->exec, &session->fds);

    if (status < 0)
        return status;
    text_init(&text, home, sizeof(home));
    text_add(&text, "HOME=");
    text_add(&text, user ? user->home : "");
    spawn.envp = merge_environment(command, user ? home : NULL);
    exec_fds_child(&session->fds, spawn.fds);
    status = spawn_program(&spawn, &session->pid, ret_stage);
    if (status < 0)
        exec_fds_close(&session->fds);
    return status;
}

static void command_start(struct session *session, const struct agent_command *command)
{
    enum spawn_stage stage = SPAWN_STAGE_START;
    static struct user user;
    struct fail fail;
    int status;

    session->terminal = command->exec.flags & AGENT_EXEC_PTY;
    if ((command->exec.flags & AGENT_EXEC_SERVICE && service_refused(command->exec.flags, &fail)) ||
        (command->user && user_find(command->user, &user, &fail) < 0)) {
        session_error(session, &fail);
        return;
    }
    status = command_spawn(session, command, command->user ? &user : NULL, &stage);
    if (status < 0) {
        exec_failed(session, command, stage, -status);
        return;
    }
    if (command->exec.flags & AGENT_EXEC_SERVICE) {
        session_service_started(session);
        return;
    }
    session_work(session, SESSION_EXEC);
    session->stdin_granted = AGENT_STDIN_CREDIT;
    exec_fds_started(&session->fds);
    if (!session_streams_watch(session)) {
        fail_set(&fail, ENOMEM, "no memory to watch the command's output", NULL, NULL);
        session_error(session, &fail);
    } else if (command->exec.timeout_ms > 0) {
        session->timeout.expired = timeout_expired;
        loop_timer_start(&session->timeout, command->exec.timeout_ms * 1000000ull);
    }
}

void session_exec_start(struct session *session, uint8_t *payload, size_t bytes)
{
    static char *at_hand[POINTERS_AT_HAND];
    struct agent_command command;
    char **room = at_hand;
    size_t pointers = 0;
    struct fail fail;
    int status = agent_command_parse(payload, bytes, &command, &fail);

    if (status == 0) {
        pointers = (size_t)command.argc + command.envc + ENVIRONMENT_SPARE + 2;
        room = pointers <= ARRAY_LEN(at_hand) ? at_hand : malloc(pointers * sizeof(*room));
        status = room ? agent_command_strings(&command, room, ENVIRONMENT_SPARE, &fail)
                      : fail_set(&fail, ENOMEM, "no memory for the arguments", NULL, NULL);
    }
    if (status < 0)
        session_error(session, &fail);
    else
        command_start(session, &command);
    if (room != at_hand)
        free(room);
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

void session_exec_signal(struct session *session, uint32_t signal)
{
    if (signal >= 1 && signal <= SIGNAL_MAX)
        kill_group(session, (int)signal);
}

void session_exec_resize(struct session *session, const struct agent_winsize *size)
{
    if (session->terminal && session->streams[0].source.fd >= 0)
        exec_terminal_resize(session->streams[0].source.fd, size);
}

void session_exec_eof(struct session *session)
{
    session->stdin_eof = true;
}

/* Writes to the command's stdin. Bytes, all of them thrown away when nobody reads it; 0: no room. */
static uint32_t input_write(struct session *session, const uint8_t *data, uint32_t bytes)
{
    struct stream *input = &session->input;
    ssize_t count;

    if (input->source.fd < 0)
        return bytes;
    count = input->readable ? io_write(input->source.fd, data, bytes) : -EAGAIN;
    if (count >= 0)
        return (uint32_t)count;
    input->readable = false;
    if (count == -EAGAIN)
        return 0;
    stream_close(session, input);
    return bytes;
}

/* All of stdin is with the command: tells it so. A terminal has no end, but a key for it; in the
 * middle of a line that only hands over what there is of the line, so it is pressed once more.
 * False: there was nothing to do, or no room. */
static bool input_finish(struct session *session)
{
    static const uint8_t key = CONTROL_D;

    if (session->input.source.fd < 0)
        return false;
    if (!session->terminal) {
        if (session->call)
            io_shutdown(session->input.source.fd);
        stream_close(session, &session->input);
        return true;
    }
    if (session->end_keys == 0)
        session->end_keys = session->in_line ? 2 : 1;
    if (input_write(session, &key, 1) == 0)
        return false;
    session->end_keys--;
    if (session->end_keys == 0)
        stream_close(session, &session->input);
    return true;
}

bool session_exec_feed(struct session *session)
{
    uint32_t room = AGENT_STDIN_CREDIT - session->stdin_at, count;

    if (session->stdin_bytes == 0)
        return session->stdin_eof && input_finish(session);
    count = input_write(session, session->stdin_ring + session->stdin_at,
                        MIN_OF(session->stdin_bytes, room));
    if (count == 0)
        return false;
    session->in_line = session->stdin_ring[session->stdin_at + count - 1] != '\n';
    session->stdin_at = (session->stdin_at + count) % AGENT_STDIN_CREDIT;
    session->stdin_bytes -= count;
    return true;
}

/* ---- Output ---- */

/* The command is dead, and a pipe holds what it wrote before: at most its size. What comes behind
 * that is of processes that it left, of which one that never stops must not keep the session. */
static bool stream_drained(const struct session *session, const struct stream *stream)
{
    return session->child_ended && !session->terminal && stream->drained >= PIPE_BYTES &&
           stream->drained >= exec_pipe_bytes(stream->source.fd);
}

bool session_stream_produce(struct session *session, int index)
{
    struct stream *stream = &session->streams[index];
    ssize_t count;

    if (!stream->readable || stream->source.fd < 0)
        return false;
    if (stream_drained(session, stream)) {
        stream_close(session, stream);
        return false;
    }
    count = io_read(stream->source.fd, session->out + sizeof(struct agent_frame), OUT_PAYLOAD_MAX);
    if (count > 0) {
        session_frame(session, index ? AGENT_STDERR : AGENT_STDOUT, NULL, (size_t)count);
        /* A pipe that gave less is empty; a terminal may just have paused between lines, and a
         * connection have ended behind what it gave. */
        if (!session->terminal && !(session->call && index == 0) &&
            (size_t)count < OUT_PAYLOAD_MAX && !session->child_ended)
            stream->readable = false;
        if (session->child_ended)
            stream->drained += (size_t)count;
        return true;
    }
    stream->readable = false;
    if (count != -EAGAIN) /* EIO: nobody has the terminal open any more */
        stream_close(session, stream);
    if (count < 0 && count != -EAGAIN && session->call)
        session->call_error = (int)-count;
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

/* Everything it wrote is sent; what it left behind in the background is on its own. */
static void exec_result(struct session *session)
{
    struct agent_exit result = { .kind = AGENT_EXIT_CODE };
    bool signaled = WIFSIGNALED(session->wait_status);

    if (signaled) {
        result.kind = AGENT_EXIT_SIGNAL;
        result.value = (uint32_t)WTERMSIG(session->wait_status);
    } else {
        result.value = (uint32_t)WEXITSTATUS(session->wait_status);
    }
    if (session->timed_out) {
        result.kind = AGENT_EXIT_TIMEOUT;
        result.value = signaled ? result.value : SIGTERM;
    }
    session_result_first(session, AGENT_EXIT, &result, sizeof(result));
}

bool session_exec_produce(struct session *session)
{
    if (credit_produce(session))
        return true;
    if (session->call)
        return session_call_produce(session);
    for (int i = 0; i < STREAM_COUNT; i++)
        if (session_stream_produce(session, i))
            return true;
    /* A terminal hands its last output over with a delay, but always ends: its leader is gone. */
    if (!session->child_ended || (session->terminal && session->streams[0].source.fd >= 0))
        return false;
    exec_result(session);
    return true;
}

void session_exec_ended(struct session *session, int wait_status)
{
    session->pid = 0;
    session->child_ended = true;
    session->wait_status = wait_status;
    /* What it wrote last may have come with no event yet. */
    for (int i = 0; i < STREAM_COUNT; i++)
        session->streams[i].readable = true;
}

void session_exec_fini(struct session *session)
{
    kill_group(session, SIGKILL);
    session->pid = 0;
    loop_timer_stop(&session->timeout);
    for (int i = 0; i < STREAM_COUNT; i++)
        stream_close(session, &session->streams[i]);
    stream_close(session, &session->input);
    exec_fds_close(&session->fds);
}
