/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the life of one command in a guest; see exec_session.h.
 *
 * How it works
 *   One poll loop over the agent's socket, our stdin, our signals and whichever of stdout and
 *   stderr has output waiting. Nothing blocks, so a signal always gets through:
 *   1. While output waits to be written nothing is read from the agent: the guest's command feels
 *      it (back-pressure), and one frame is all that is ever held.
 *   2. Stdin is read only within the agent's credit and when nothing waits to be sent, so the queue
 *      always has room for SIGNAL and RESIZE.
 *   3. Output is written when poll says that there is room, in pieces that a pipe then takes whole.
 */
#include "exec_session.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "cli.h"
#include "tty.h"

#define STDIN_CHUNK_BYTES 16384u
#define KILL_GRACE_MS 5000u   /* what the agent has to end a command after its timeout */
#define INTERRUPTS_TO_LEAVE 3 /* a guest that does not react must not keep us */

enum { POLL_AGENT, POLL_SIGNALS, POLL_STDIN, POLL_OUTPUT, POLL_COUNT };

struct exec_session {
    struct agent *agent;
    const struct exec_request *request;
    struct tty_signals signals;
    struct tty_raw raw;
    uint64_t deadline_ns; /* UINT64_MAX: none */
    uint32_t credit;      /* bytes of stdin that the agent still takes */
    bool stdin_open;
    int interrupts;
    int output_fd; /* of what waits to be written */
    const uint8_t *output;
    size_t output_bytes;
    bool done;
    int exit_code;
};

/* ---- The request ---- */

static bool payload_append(uint8_t *payload, size_t *at, const char *text)
{
    size_t bytes = strlen(text) + 1;

    if (bytes > AGENT_PAYLOAD_MAX - *at)
        return false;
    memcpy(payload + *at, text, bytes);
    *at += bytes;
    return true;
}

/* Appends "K=V" for an item of -e; "K" alone takes our own value and is nothing when unset. */
static bool env_append(uint8_t *payload, size_t *at, const char *item, uint16_t *count)
{
    const char *value = strchr(item, '=') ? NULL : getenv(item);

    if (!value && !strchr(item, '='))
        return true;
    (*count)++;
    if (!value)
        return payload_append(payload, at, item);
    size_t start = *at;
    if (!payload_append(payload, at, item))
        return false;
    payload[start + strlen(item)] = '=';
    return payload_append(payload, at, value);
}

static int request_send(struct agent *agent, const struct exec_request *request, struct err *err)
{
    struct agent_exec exec = { .timeout_ms = request->timeout_ms };
    _cleanup_free_ uint8_t *payload = malloc(AGENT_PAYLOAD_MAX);
    size_t at = sizeof exec;

    if (!payload)
        return err_set(err, ENOMEM, "out of memory");
    exec.flags =
        (request->tty ? AGENT_EXEC_PTY : 0) | (request->interactive ? AGENT_EXEC_STDIN : 0);
    tty_size(&exec.rows, &exec.cols);
    bool fits = request->argc <= UINT16_MAX &&
                payload_append(payload, &at, request->cwd ? request->cwd : "");
    for (int i = 0; fits && i < request->argc; i++)
        fits = payload_append(payload, &at, request->argv[i]);
    if (fits && request->tty)
        fits = env_append(payload, &at, "TERM", &exec.envc);
    for (size_t i = 0; fits && i < request->env_count; i++)
        fits = env_append(payload, &at, request->env[i], &exec.envc);
    if (!fits)
        return err_set(err, E2BIG,
                       "the command's arguments and environment are longer than %u bytes",
                       AGENT_PAYLOAD_MAX);
    exec.argc = (uint16_t)request->argc;
    memcpy(payload, &exec, sizeof exec);
    return agent_send(agent, AGENT_EXEC, payload, at, err);
}

/* The command is over: the terminal is put back first, for what is to be said on it. */
static void session_end(struct exec_session *session, int exit_code)
{
    tty_raw_leave(&session->raw);
    session->exit_code = exit_code;
    session->done = true;
}

/* ---- Frames from the agent ---- */

static int exit_take(struct exec_session *session, const struct agent_message *message,
                     struct err *err)
{
    struct agent_exit result;

    if (message->bytes != sizeof result)
        return err_set(err, EPROTO, "the guest's agent sent an EXIT frame of %zu bytes, not %zu",
                       message->bytes, sizeof result);
    memcpy(&result, message->payload, sizeof result);
    switch (result.kind) {
    case AGENT_EXIT_CODE:
        session_end(session, (int)(result.value & 0xff));
        return 0;
    case AGENT_EXIT_SIGNAL:
        session_end(session, CLI_EXIT_SIGNAL_BASE + (int)(result.value & 0x7f));
        return 0;
    case AGENT_EXIT_TIMEOUT:
        session_end(session, CLI_EXIT_TIMEOUT);
        cli_failf("'%s' was ended: it ran longer than --timeout", session->request->argv[0]);
        return 0;
    case AGENT_EXIT_NOT_FOUND:
        session_end(session, CLI_EXIT_NOT_FOUND);
        cli_failf("the guest has no command '%s'", session->request->argv[0]);
        return 0;
    case AGENT_EXIT_NOT_EXECUTABLE:
        session_end(session, CLI_EXIT_NOT_EXECUTABLE);
        cli_failf("the guest cannot execute '%s': %s", session->request->argv[0],
                  strerror((int)(result.value & 0xfff)));
        return 0;
    }
    return err_set(err, EPROTO, "the guest's agent sent an unknown kind of exit (%u)", result.kind);
}

static int credit_take(struct exec_session *session, const struct agent_message *message,
                       struct err *err)
{
    uint32_t more;

    if (message->bytes != sizeof more)
        return err_set(err, EPROTO, "the guest's agent sent a CREDIT frame of %zu bytes, not %zu",
                       message->bytes, sizeof more);
    memcpy(&more, message->payload, sizeof more);
    if (more > UINT32_MAX - session->credit)
        return err_set(err, EPROTO, "the guest's agent sent more credit than can be counted");
    session->credit += more;
    return 0;
}

static int message_take(struct exec_session *session, const struct agent_message *message,
                        struct err *err)
{
    switch (message->type) {
    case AGENT_STDOUT:
    case AGENT_STDERR:
        session->output_fd = message->type == AGENT_STDOUT ? STDOUT_FILENO : STDERR_FILENO;
        session->output = message->payload;
        session->output_bytes = message->bytes;
        return 0;
    case AGENT_CREDIT:
        return credit_take(session, message, err);
    case AGENT_EXIT:
        return exit_take(session, message, err);
    default:
        return agent_refusal(message, err);
    }
}

static int messages_take(struct exec_session *session, struct err *err)
{
    struct agent_message message;
    int rc = 0;

    while (rc == 0 && !session->done && session->output_bytes == 0) {
        rc = agent_next(session->agent, &message, err);
        if (rc <= 0)
            return rc;
        rc = message_take(session, &message, err);
    }
    return rc;
}

/* ---- Our side ---- */

static int output_write(struct exec_session *session, struct err *err)
{
    struct stat st;
    bool is_file = fstat(session->output_fd, &st) == 0 && S_ISREG(st.st_mode);
    size_t bytes = is_file ? session->output_bytes : MIN_OF(session->output_bytes, PIPE_BUF);
    ssize_t n = write(session->output_fd, session->output, bytes);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n < 0)
        return err_set_errno(err, errno, "cannot write to standard %s",
                             session->output_fd == STDOUT_FILENO ? "output" : "error");
    session->output += n;
    session->output_bytes -= (size_t)n;
    return 0;
}

static void stdin_read(struct exec_session *session)
{
    uint8_t chunk[STDIN_CHUNK_BYTES];
    ssize_t n = read(STDIN_FILENO, chunk, MIN_OF(sizeof chunk, session->credit));

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        session->stdin_open = false;
        agent_queue(session->agent, AGENT_EOF, NULL, 0);
        return;
    }
    session->credit -= (uint32_t)n;
    agent_queue(session->agent, AGENT_STDIN, chunk, (size_t)n);
}

/* Signals that find the queue full are dropped: the guest has hundreds of them to work on. */
static void signals_forward(struct exec_session *session)
{
    int number;

    while ((number = tty_signals_next(&session->signals)) > 0) {
        uint32_t value = (uint32_t)number;
        struct agent_winsize size;

        if (number == SIGWINCH) {
            tty_size(&size.rows, &size.cols);
            if (session->request->tty)
                agent_queue(session->agent, AGENT_RESIZE, &size, sizeof size);
            continue;
        }
        agent_queue(session->agent, AGENT_SIGNAL, &value, sizeof value);
        if (number == SIGINT && ++session->interrupts == INTERRUPTS_TO_LEAVE) {
            session_end(session, CLI_EXIT_SIGNAL_BASE + SIGINT);
            cli_failf("interrupted %d times: leaving", INTERRUPTS_TO_LEAVE);
        }
    }
}

static int poll_timeout(const struct exec_session *session)
{
    uint64_t now = now_ns();

    if (session->deadline_ns == UINT64_MAX)
        return -1;
    if (now >= session->deadline_ns)
        return 0;
    return (int)MIN_OF((session->deadline_ns - now) / NS_PER_MS + 1, INT_MAX);
}

static int session_poll(struct exec_session *session, struct pollfd fds[POLL_COUNT],
                        struct err *err)
{
    bool writing = session->output_bytes > 0;
    bool sending = agent_has_output(session->agent);
    bool reading = session->stdin_open && session->credit > 0 && !sending;

    fds[POLL_AGENT] =
        (struct pollfd){ session->agent->fd,
                         (short)((writing ? 0 : POLLIN) | (sending ? POLLOUT : 0)), 0 };
    if (writing && !sending)
        fds[POLL_AGENT].fd = -1; /* else its hang-up would keep us spinning */
    fds[POLL_SIGNALS] = (struct pollfd){ session->signals.fd, POLLIN, 0 };
    fds[POLL_STDIN] = (struct pollfd){ reading ? STDIN_FILENO : -1, POLLIN, 0 };
    fds[POLL_OUTPUT] = (struct pollfd){ writing ? session->output_fd : -1, POLLOUT, 0 };
    int n = poll(fds, POLL_COUNT, poll_timeout(session));
    if (n < 0 && errno != EINTR)
        return err_set_errno(err, errno, "cannot poll");
    if (n == 0 && now_ns() >= session->deadline_ns) {
        session_end(session, CLI_EXIT_TIMEOUT);
        cli_failf("'%s' did not end within --timeout, and the guest did not end it either",
                  session->request->argv[0]);
    }
    if (n <= 0)
        memset(fds, 0, POLL_COUNT * sizeof fds[0]);
    return 0;
}

/* One turn of the loop. */
static int session_turn(struct exec_session *session, struct err *err)
{
    struct pollfd fds[POLL_COUNT];
    int rc = session_poll(session, fds, err);

    if (rc == 0 && fds[POLL_OUTPUT].revents)
        rc = output_write(session, err);
    if (rc < 0)
        return rc;
    if (fds[POLL_SIGNALS].revents)
        signals_forward(session);
    if (fds[POLL_STDIN].revents)
        stdin_read(session);
    /* A send that fails is not the end: what the agent said before it closed is still to be read.
     */
    if (agent_flush(session->agent) < 0)
        session->agent->out_begin = session->agent->out_end = 0;
    if (session->output_bytes == 0 && fds[POLL_AGENT].revents) {
        rc = agent_fill(session->agent);
        if (rc == -ENOTCONN || rc == -ECONNRESET)
            return err_set(err, ENOTCONN,
                           "the VM ended, or its agent closed the connection, before the command "
                           "was done");
        if (rc < 0 && rc != -EAGAIN)
            return err_set_errno(err, -rc, "lost the connection to the VM");
    }
    return 0;
}

int exec_session_run(struct agent *agent, const struct exec_request *request, int *ret_exit,
                     struct err *err)
{
    struct exec_session session = {
        .agent = agent,
        .request = request,
        .deadline_ns = UINT64_MAX,
        .credit = AGENT_STDIN_CREDIT,
        .stdin_open = request->interactive,
    };
    /* Signals first: from when the command may run, they are the command's. */
    int rc = tty_signals_init(&session.signals, err);

    if (rc < 0)
        return rc;
    rc = request_send(agent, request, err);
    if (request->timeout_ms > 0)
        session.deadline_ns =
            now_ns() + ((uint64_t)request->timeout_ms + KILL_GRACE_MS) * NS_PER_MS;
    if (rc == 0 && request->tty && request->interactive)
        rc = tty_raw_enter(&session.raw, STDIN_FILENO, err);
    if (rc == 0)
        rc = messages_take(&session, err);
    while (rc == 0 && !session.done) {
        rc = session_turn(&session, err);
        if (rc == 0 && !session.done)
            rc = messages_take(&session, err);
    }
    tty_raw_leave(&session.raw);
    tty_signals_fini(&session.signals);
    if (rc == 0)
        *ret_exit = session.exit_code;
    return rc;
}
