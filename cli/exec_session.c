/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the life of one command in a guest; see exec_session.h.
 *
 * How it works
 *   One poll loop over the agent's socket, our stdin, our signals and whichever of stdout and
 *   stderr has output waiting. Nothing blocks, so a signal always gets through:
 *   1. While output waits to be written nothing is read from the agent: the guest's command feels
 *      it (back-pressure), and one frame is all that is ever held.
 *   2. Stdin is read only when the request is on its way, within the agent's credit, and when
 *      nothing waits to be sent, so the queue always has room for SIGNAL and RESIZE.
 *   3. Output is written when poll says that there is room, in pieces that a pipe then takes whole.
 *   4. A signal before all of the request is queued ends the session: there is no command yet.
 */
#include "exec_session.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "cli.h"
#include "fd_io.h"
#include "tty.h"

#define STDIN_CHUNK_BYTES 16384u
#define KILL_GRACE_MS 5000u   /* what the agent has to end a command after its timeout */
#define INTERRUPTS_TO_LEAVE 3 /* a guest that does not react must not keep us */

enum { POLL_AGENT, POLL_SIGNALS, POLL_STDIN, POLL_OUTPUT, POLL_COUNT };

struct exec_session {
    struct agent *agent;
    const struct exec_request *request;
    const uint8_t *unsent; /* of the request's payload */
    size_t unsent_bytes;
    struct tty_signals signals;
    struct tty_raw raw;
    uint64_t timeout_ns; /* when to leave as the agent did not keep --timeout; UINT64_MAX: never */
    uint64_t kill_ns;    /* when to leave as the command did not end at our SIGTERM */
    uint32_t credit;     /* bytes of stdin that the agent still takes */
    bool stdin_open;
    int interrupts;
    int output_fd; /* of what waits to be written */
    const uint8_t *output;
    size_t output_bytes;
    bool done;
    int exit_code;
};

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

/* Queues the next piece of the request when the one before is gone. */
static void request_queue(struct exec_session *session)
{
    size_t bytes = MIN_OF(session->unsent_bytes, AGENT_PAYLOAD_MAX);

    if (bytes == 0 || agent_has_output(session->agent))
        return;
    agent_queue(session->agent, bytes < session->unsent_bytes ? AGENT_EXEC_PART : AGENT_EXEC,
                session->unsent, bytes);
    session->unsent += bytes;
    session->unsent_bytes -= bytes;
}

static int output_write(struct exec_session *session, struct err *err)
{
    size_t bytes = fd_is_file(session->output_fd) ? session->output_bytes
                                                  : MIN_OF(session->output_bytes, PIPE_BUF);
    ssize_t n = fd_write(session->output_fd, session->output, bytes);

    if (n == -EAGAIN)
        return 0;
    if (n < 0)
        return err_set_errno(err, (int)-n, "cannot write to standard %s",
                             session->output_fd == STDOUT_FILENO ? "output" : "error");
    session->output += n;
    session->output_bytes -= (size_t)n;
    return 0;
}

static void stdin_read(struct exec_session *session)
{
    uint8_t chunk[STDIN_CHUNK_BYTES];
    ssize_t n = fd_read(STDIN_FILENO, chunk, MIN_OF(sizeof chunk, session->credit));

    if (n == -EAGAIN)
        return;
    if (n <= 0) {
        session->stdin_open = false;
        agent_queue(session->agent, AGENT_EOF, NULL, 0);
        return;
    }
    session->credit -= (uint32_t)n;
    agent_queue(session->agent, AGENT_STDIN, chunk, (size_t)n);
}

/* A signal for the command. It is dropped where the queue is full: the guest has hundreds of them
 * to work on. */
static void signal_forward(struct exec_session *session, int number)
{
    uint32_t value = (uint32_t)number;

    if (session->unsent_bytes > 0) {
        session_end(session, CLI_EXIT_SIGNAL_BASE + number);
        return;
    }
    agent_queue(session->agent, AGENT_SIGNAL, &value, sizeof value);
    if (number == SIGTERM && session->request->kill_after_ms > 0 && session->kill_ns == UINT64_MAX)
        session->kill_ns = fd_now_ns() + session->request->kill_after_ms * NS_PER_MS;
    if ((number == SIGINT || number == SIGTERM) && ++session->interrupts == INTERRUPTS_TO_LEAVE) {
        session_end(session, CLI_EXIT_SIGNAL_BASE + number);
        cli_failf("interrupted %d times: leaving, which ends '%s'", INTERRUPTS_TO_LEAVE,
                  session->request->argv[0]);
    }
}

static void signals_take(struct exec_session *session)
{
    struct agent_winsize size;
    int number;

    while (!session->done && (number = tty_signals_next(&session->signals)) > 0) {
        if (number != SIGWINCH) {
            signal_forward(session, number);
        } else if (session->request->tty && session->unsent_bytes == 0) {
            tty_size(&size.rows, &size.cols);
            agent_queue(session->agent, AGENT_RESIZE, &size, sizeof size);
        }
    }
}

/* ---- Time ---- */

static void deadlines_check(struct exec_session *session)
{
    uint64_t first_ns = MIN_OF(session->timeout_ns, session->kill_ns);
    uint64_t now = first_ns == UINT64_MAX ? 0 : fd_now_ns();

    if (now >= session->timeout_ns) {
        session_end(session, CLI_EXIT_TIMEOUT);
        cli_failf("'%s' did not end within --timeout, and the guest did not end it either",
                  session->request->argv[0]);
    } else if (now >= session->kill_ns) {
        session_end(session, CLI_EXIT_SIGNAL_BASE + SIGTERM);
        cli_failf("'%s' did not end within %u ms of SIGTERM: leaving, which ends it",
                  session->request->argv[0], session->request->kill_after_ms);
    }
}

static int session_poll(struct exec_session *session, struct pollfd fds[POLL_COUNT],
                        struct err *err)
{
    bool writing = session->output_bytes > 0;
    bool sending = agent_has_output(session->agent) || session->unsent_bytes > 0;
    bool reading = session->stdin_open && session->credit > 0 && !sending;

    fds[POLL_AGENT] =
        (struct pollfd){ session->agent->fd,
                         (short)((writing ? 0 : POLLIN) | (sending ? POLLOUT : 0)), 0 };
    if (writing && !sending)
        fds[POLL_AGENT].fd = -1; /* else its hang-up would keep us spinning */
    fds[POLL_SIGNALS] = (struct pollfd){ session->signals.fd, POLLIN, 0 };
    fds[POLL_STDIN] = (struct pollfd){ reading ? STDIN_FILENO : -1, POLLIN, 0 };
    fds[POLL_OUTPUT] = (struct pollfd){ writing ? session->output_fd : -1, POLLOUT, 0 };
    int n = fd_poll(fds, POLL_COUNT, MIN_OF(session->timeout_ns, session->kill_ns));
    if (n < 0)
        return err_set_errno(err, -n, "cannot poll");
    if (n == 0)
        memset(fds, 0, POLL_COUNT * sizeof fds[0]);
    deadlines_check(session);
    return 0;
}

/* ---- The loop ---- */

static int agent_read(struct exec_session *session, struct err *err)
{
    int rc = agent_fill(session->agent);

    if (rc == -ENOTCONN || rc == -ECONNRESET)
        return err_set(err, ENOTCONN,
                       "the VM ended, or its agent closed the connection, before the command was "
                       "done");
    return rc < 0 && rc != -EAGAIN ? err_set_errno(err, -rc, "lost the connection to the VM") : 0;
}

static int session_turn(struct exec_session *session, struct err *err)
{
    struct pollfd fds[POLL_COUNT];
    bool reading = session->output_bytes == 0; /* all that was read before is dealt with */

    request_queue(session);
    /* A send that fails is not the end: what the agent said before it closed is still to be read.
     */
    if (agent_flush(session->agent) < 0)
        session->agent->out_begin = session->agent->out_end = 0;
    int rc = session_poll(session, fds, err);
    if (rc == 0 && fds[POLL_OUTPUT].revents)
        rc = output_write(session, err);
    if (rc < 0 || session->done)
        return rc;
    if (fds[POLL_SIGNALS].revents)
        signals_take(session);
    if (fds[POLL_STDIN].revents)
        stdin_read(session);
    return reading && fds[POLL_AGENT].revents ? agent_read(session, err) : 0;
}

int exec_session_run(struct agent *agent, const struct exec_request *request, int *ret_exit,
                     struct err *err)
{
    _cleanup_free_ uint8_t *payload = NULL;
    struct exec_session session = {
        .agent = agent,
        .request = request,
        .timeout_ns = UINT64_MAX,
        .kill_ns = UINT64_MAX,
        .credit = AGENT_STDIN_CREDIT,
        .stdin_open = request->interactive,
    };
    int rc = exec_request_encode(request, &payload, &session.unsent_bytes, err);

    if (rc == 0)
        rc = tty_signals_init(&session.signals, err);
    if (rc < 0)
        return rc;
    session.unsent = payload;
    if (request->timeout_ms > 0)
        session.timeout_ns =
            fd_now_ns() + ((uint64_t)request->timeout_ms + KILL_GRACE_MS) * NS_PER_MS;
    if (request->tty && request->interactive)
        rc = tty_raw_enter(&session.raw, STDIN_FILENO, err);
    while (rc == 0 && !session.done) {
        rc = messages_take(&session, err); /* some may have come with what opened the connection */
        if (rc == 0 && !session.done)
            rc = session_turn(&session, err);
    }
    tty_raw_leave(&session.raw);
    tty_signals_fini(&session.signals);
    if (rc == 0)
        *ret_exit = session.exit_code;
    return rc;
}
