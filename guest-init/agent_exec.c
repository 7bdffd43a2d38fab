/* SPDX-License-Identifier: Apache-2.0 */
/* EXEC sessions: the command, its signals and timeout, and its result. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "agent_session.h"
#include "child.h"

#define TERMINATE_GRACE_NS 2000000000ull     /* between SIGTERM and SIGKILL */
#define CREDIT_STEP (AGENT_STDIN_CREDIT / 4) /* credit is given back in portions */
#define SIGNAL_MAX 64
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

/* ---- Signals and size ---- */

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

/* ---- The end ---- */

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
    exec_fds_ended(&session->fds);
    /* What it wrote last may have come with no event yet. */
    for (int i = 0; i < STREAM_COUNT; i++)
        session->streams[i].readable = true;
}

void session_exec_fini(struct session *session)
{
    kill_group(session, SIGKILL);
    session->pid = 0;
    loop_timer_stop(&session->timeout);
    session_streams_close(session);
}
