/* SPDX-License-Identifier: Apache-2.0 */
/* CALL sessions: a connection to a port of the guest, in the place of a command's streams; and the
 * wait until one can be made. */
#include <errno.h>
#include <string.h>

#include "agent_session.h"
#include "bell.h"
#include "io.h"

#define RETRY_MS 10u

static bool connection_take(struct session *session, int fd)
{
    session->fds.streams[0] = fd;
    session->fds.input = exec_fd_duplicate(fd);
    return session->fds.input >= 0 && session_streams_watch(session);
}

static void call_over(struct session *session, int error)
{
    session->call = CALL_OVER;
    session->call_error = error;
}

/* A connection, of either kind; -errno: there is none yet, or none at all. */
static int connection_get(const struct agent_call *request)
{
    if (request->flags & AGENT_CALL_BELL)
        return -EINVAL;
    if (request->flags & AGENT_CALL_ACCEPT)
        return gate_take();
    return io_connect_local(request->port);
}

/* Whether one could be had: what it would be used for, or -errno. */
static ssize_t connection_look(struct session *session)
{
    int fd;

    if (session->call_request.flags & AGENT_CALL_BELL)
        return bell_ready() ? 0 : -EAGAIN;
    if (session->call_request.flags & AGENT_CALL_ACCEPT)
        return gate_peek(session->request, AGENT_PEEK_BYTES);
    fd = io_connect_local(session->call_request.port);
    if (fd >= 0)
        io_close(fd);
    return fd < 0 ? fd : 0;
}

static void call_wait(struct session *session)
{
    ssize_t count = connection_look(session);
    struct text none;
    char room[64];

    text_init(&none, room, sizeof(room));
    if (count < 0 && session->call_tries > 0 && !service_ended(&none)) {
        session->call_tries--;
        loop_timer_start(&session->timeout, RETRY_MS * 1000000ull);
        return;
    }
    session->fill = count > 0 ? (uint32_t)count : 0;
    call_over(session, count < 0 ? (int)-count : 0);
}

static void call_try(struct session *session)
{
    const struct agent_call *request = &session->call_request;
    struct text none;
    char room[64];
    int fd;

    if (request->wait_ms) {
        call_wait(session);
        return;
    }
    fd = connection_get(request);
    text_init(&none, room, sizeof(room));
    if (fd == -EAGAIN && request->flags & AGENT_CALL_ACCEPT && !service_ended(&none))
        return; /* session_call_offer */
    if (fd < 0)
        call_over(session, -fd);
    else if (connection_take(session, fd))
        session->call = CALL_OPEN;
    else
        call_over(session, ENOMEM);
}

static void retry(struct loop_timer *timer)
{
    struct session *session = (struct session *)((char *)timer - offsetof(struct session, timeout));

    call_try(session);
    session_pump(session);
}

void session_call_offer(struct session *session)
{
    if (session->call_request.wait_ms) /* looks by itself */
        return;
    call_try(session);
    session_pump(session);
}

void session_call_start(struct session *session)
{
    /* The ring for input is over the request. */
    memcpy(&session->call_request, session->request, sizeof(session->call_request));
    session_work(session, SESSION_EXEC);
    session->call = CALL_WAITING;
    session->stdin_granted = AGENT_STDIN_CREDIT;
    session->timeout.expired = retry;
    session->call_tries = session->call_request.wait_ms / RETRY_MS;
    session->fill = 0;
    session->fds = (struct exec_fds){ { -1, -1, -1 }, -1, { -1, service_output() } };
    (void)session_streams_watch(session); /* else there is no log */
    call_try(session);
}

static void call_result(struct session *session)
{
    struct fail fail;
    struct text text;

    if (session->call_error == 0) {
        session_result_first(session, AGENT_DONE, session->request, session->fill);
        return;
    }
    fail.code = session->call_error;
    text_init(&text, fail.sentence, sizeof(fail.sentence));
    if (!service_ended(&text)) {
        fail_set_errno(&fail, session->call_error, "the service can't be reached at its port",
                       NULL);
    }
    session_error(session, &fail);
}

/* What the service wrote before it answered comes before its answer; but however much it writes, that
 * does not hold the answer back. */
bool session_call_produce(struct session *session)
{
    const int first = session->log_flood ? 0 : 1;

    for (int i = 0; i < STREAM_COUNT; i++) {
        const int index = i == 0 ? first : !first;

        if (!session_stream_produce(session, index))
            continue;
        session->log_flood =
            index == 1 && session->out_bytes == sizeof(struct agent_frame) + OUT_PAYLOAD_MAX;
        return true;
    }
    if (session->call == CALL_OPEN && session->streams[0].source.fd < 0)
        session->call = CALL_OVER;
    if (session->call != CALL_OVER)
        return false;
    call_result(session);
    return true;
}
