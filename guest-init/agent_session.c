/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a session, and its frames in and out: see agent_session.h. */
#include "agent_session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "io.h"

#define STEPS_PER_TURN 8 /* of each kind, of one session before the others have their turn */
#define LINGER_NS 5000000000ull
#define LINGER_QUIET_NS                                                                            \
    20000000ull         /* of it: those who close when they have the result do it in that */
#define FRAME_IGNORED 0 /* as session.frame_type */

static uint8_t scratch[65536]; /* what was just read from a socket */

void session_frame(struct session *session, enum agent_frame_type type, const void *payload,
                   size_t bytes)
{
    session->out_frame =
        (struct agent_frame){ .payload_bytes = (uint32_t)bytes, .type = (uint8_t)type };
    if (payload)
        memcpy(session->out + sizeof(struct agent_frame), payload, bytes);
    session->out_bytes = (uint32_t)(sizeof(struct agent_frame) + bytes);
    session->out_sent = 0;
}

static void parts_free(struct session *session)
{
    free(session->parts);
    session->parts = NULL;
}

/* Ends what the session does, if it does anything. */
static void session_fini_work(struct session *session)
{
    enum session_state work = session->work;

    session->work = SESSION_FREE;
    parts_free(session);
    if (work == SESSION_EXEC)
        session_exec_fini(session);
    else if (work == SESSION_PUT)
        session_put_fini(session);
    else if (work == SESSION_GET)
        tar_writer_fini(&session->get);
}

void session_work(struct session *session, enum session_state work)
{
    session->state = session->work = work;
}

void session_result_first(struct session *session, enum agent_frame_type type, const void *payload,
                          size_t bytes)
{
    const struct agent_frame header = { .payload_bytes = (uint32_t)bytes, .type = (uint8_t)type };

    session->state = SESSION_RESULT;
    if (session->out_bytes == 0) {
        session_frame(session, type, payload, bytes);
        return;
    }
    memcpy(session->out + session->out_bytes, &header, sizeof(header));
    memcpy(session->out + session->out_bytes + sizeof(header), payload, bytes);
    session->out_bytes += (uint32_t)(sizeof(header) + bytes);
}

void session_result(struct session *session, enum agent_frame_type type, const void *payload,
                    size_t bytes)
{
    session_fini_work(session);
    session_result_first(session, type, payload, bytes);
}

void session_error(struct session *session, const struct fail *fail)
{
    uint8_t payload[sizeof(struct agent_error) + sizeof(fail->sentence)];
    struct agent_error error = { .error = (uint32_t)fail->code };
    size_t length = strlen(fail->sentence);

    memcpy(payload, &error, sizeof(error));
    memcpy(payload + sizeof(error), fail->sentence, length);
    session_result(session, AGENT_ERROR, payload, sizeof(error) + length);
}

static void session_close(struct session *session)
{
    session_fini_work(session);
    loop_forget(&session->socket);
    io_close(session->socket.fd);
    session->socket.fd = -1;
    loop_timer_stop(&session->timeout);
    session->more = false;
    session->state = SESSION_FREE;
    exec_fds_prepare(); /* for the next one, now that nobody waits for this one */
}

static void linger_expired(struct loop_timer *timer)
{
    session_close((struct session *)((char *)timer - offsetof(struct session, timeout)));
}

static void linger_quiet_expired(struct loop_timer *timer)
{
    struct session *session = (struct session *)((char *)timer - offsetof(struct session, timeout));

    io_shutdown(session->socket.fd);
    timer->expired = linger_expired;
    loop_timer_start(timer, LINGER_NS);
}

/* The result is sent. Closing while something of the client's is unread would reset the connection,
 * and the result could be lost with it: wait for the client to close, and if it does not, say that no
 * more comes. */
static void session_linger(struct session *session)
{
    session->state = SESSION_LINGER;
    session->timeout.expired = linger_quiet_expired;
    loop_timer_start(&session->timeout, LINGER_QUIET_NS);
}

/* ---- Frames in ---- */

static int frame_begin(void *context, const struct agent_frame *frame, struct fail *fail)
{
    /* Which frames may come in which state, and the least and most payload they have. */
    static const struct {
        uint8_t type, state;
        uint32_t min, max;
    } rules[] = {
        { AGENT_PING, SESSION_REQUEST, 0, AGENT_PAYLOAD_MAX },
        { AGENT_EXEC, SESSION_REQUEST, 0, AGENT_PAYLOAD_MAX },
        { AGENT_EXEC_PART, SESSION_REQUEST, 1, AGENT_PAYLOAD_MAX },
        { AGENT_PUT, SESSION_REQUEST, 1, TAR_PATH_BYTES + 1 },
        { AGENT_GET, SESSION_REQUEST, 1, TAR_PATH_BYTES + 1 },
        { AGENT_STDIN, SESSION_EXEC, 0, AGENT_PAYLOAD_MAX },
        { AGENT_EOF, SESSION_EXEC, 0, 0 },
        { AGENT_SIGNAL, SESSION_EXEC, sizeof(uint32_t), sizeof(uint32_t) },
        { AGENT_RESIZE, SESSION_EXEC, sizeof(struct agent_winsize), sizeof(struct agent_winsize) },
        { AGENT_PARK, SESSION_REQUEST, 0, 0 },
        { AGENT_CALL, SESSION_REQUEST, sizeof(struct agent_call), sizeof(struct agent_call) },
        { AGENT_MOUNT, SESSION_REQUEST, sizeof(struct agent_mount) + 1,
          sizeof(struct agent_mount) + AGENT_MOUNT_PATH_BYTES },
        { AGENT_UNMOUNT, SESSION_REQUEST, 0, 0 },
        { AGENT_DATA, SESSION_PUT, 0, AGENT_PAYLOAD_MAX },
        { AGENT_EOF, SESSION_PUT, 0, 0 },
    };
    struct session *session = context;

    /* The result is on its way already: what still comes is read and thrown away. */
    session->frame_type = session->state == SESSION_RESULT ? FRAME_IGNORED : frame->type;
    session->fill = 0;
    if (session->frame_type == FRAME_IGNORED)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (rules[i].type == frame->type && rules[i].state == session->state &&
            frame->payload_bytes >= rules[i].min && frame->payload_bytes <= rules[i].max &&
            (!session->parts || frame->type == AGENT_EXEC || frame->type == AGENT_EXEC_PART))
            return 0;
    return fail_set(fail, EPROTO, "the frame is out of place or of a wrong size", NULL, NULL);
}

/* A chunk of an EXEC that has parts. */
static int parts_append(struct session *session, const uint8_t *data, size_t bytes,
                        struct fail *fail)
{
    if (!session->parts)
        session->parts = malloc(AGENT_REQUEST_MAX);
    if (!session->parts)
        return fail_set(fail, ENOMEM, "no memory for the arguments", NULL, NULL);
    if (bytes > AGENT_REQUEST_MAX - session->parts_bytes)
        return fail_set(fail, E2BIG, "the EXEC request is longer than 2 MiB", NULL, NULL);
    memcpy(session->parts + session->parts_bytes, data, bytes);
    session->parts_bytes += (uint32_t)bytes;
    return 0;
}

static int frame_chunk(void *context, const uint8_t *data, size_t bytes, struct fail *fail)
{
    struct session *session = context;

    switch (session->frame_type) {
    case FRAME_IGNORED:
        return 0;
    case AGENT_STDIN:
        return session_exec_stdin(session, data, bytes, fail);
    case AGENT_DATA:
        return session_put_data(session, data, bytes, fail);
    case AGENT_SIGNAL:
    case AGENT_RESIZE:
        memcpy(session->small + session->fill, data, bytes);
        break;
    default:
        if (session->parts || session->frame_type == AGENT_EXEC_PART)
            return parts_append(session, data, bytes, fail);
        memcpy(session->request + session->fill, data, bytes);
        break;
    }
    session->fill += (uint32_t)bytes;
    return 0;
}

static void session_exec(struct session *session)
{
    if (session->parts)
        session_exec_start(session, session->parts, session->parts_bytes);
    else
        session_exec_start(session, session->request, session->fill);
    parts_free(session);
}

static void session_park(struct session *session)
{
    struct fail fail;

    if (agent_park_ask()) {
        session_result(session, AGENT_DONE, NULL, 0);
        return;
    }
    fail_set(&fail, EPERM, "this VM was not woken to park again", NULL, NULL);
    session_error(session, &fail);
}

static int frame_end(void *context, struct fail *fail)
{
    struct session *session = context;
    struct agent_winsize size;
    uint32_t number;

    (void)fail;
    switch (session->frame_type) {
    case AGENT_PING:
        session_result(session, AGENT_PONG, session->request, session->fill);
        break;
    case AGENT_EXEC:
        session_exec(session);
        break;
    case AGENT_PUT:
        session_put_start(session);
        break;
    case AGENT_GET:
        session_get_start(session);
        break;
    case AGENT_PARK:
        session_park(session);
        break;
    case AGENT_CALL:
        session_call_start(session);
        break;
    case AGENT_MOUNT:
        session_mount(session);
        break;
    case AGENT_UNMOUNT:
        session_unmount(session);
        break;
    case AGENT_EOF:
        if (session->state == SESSION_PUT)
            session_put_eof(session);
        else
            session_exec_eof(session);
        break;
    case AGENT_SIGNAL:
        memcpy(&number, session->small, sizeof(number));
        session_exec_signal(session, number);
        break;
    case AGENT_RESIZE:
        memcpy(&size, session->small, sizeof(size));
        session_exec_resize(session, &size);
        break;
    }
    return 0;
}

/* ---- Steps: each returns whether it did something, after which another may do more. ---- */

/* Reads from the socket, and acts on the frames in it. */
static bool step_receive(struct session *session)
{
    static const struct agent_frame_sink sink = { frame_begin, frame_chunk, frame_end };
    struct fail fail;
    ssize_t count;

    if (!session->socket_readable)
        return false;
    count = io_read(session->socket.fd, scratch, sizeof(scratch));
    if (count == -EAGAIN) {
        session->socket_readable = false;
        return false;
    }
    if (count <= 0) { /* the client is gone: so is what it started */
        session_close(session);
        return false;
    }
    if ((size_t)count < sizeof(scratch) && !session->hangup)
        session->socket_readable = false;
    if (session->state < SESSION_RESULT &&
        agent_parser_feed(&session->parser, scratch, (size_t)count, &sink, session, &fail) < 0)
        session_error(session, &fail);
    return true;
}

static bool step_feed(struct session *session)
{
    return session->state == SESSION_EXEC && session_exec_feed(session);
}

/* Makes the next frame to send. False: there is none. */
static bool produce(struct session *session)
{
    if (session->state == SESSION_EXEC)
        return session_exec_produce(session);
    if (session->state == SESSION_GET)
        return session_get_produce(session);
    return false;
}

static uint32_t socket_events(const struct session *session)
{
    return EPOLLIN | EPOLLRDHUP | (session->socket_was_full ? EPOLLOUT : 0);
}

/* Nothing more can be sent until an event tells of room. */
static void socket_full(struct session *session)
{
    bool known = session->socket_was_full;

    session->socket_writable = false;
    session->socket_was_full = true;
    if (session->watched && !known && loop_change(&session->socket, socket_events(session)) < 0)
        session_close(session);
}

/* Sends what is in `out`, or if nothing is, the next frame. */
static bool step_send(struct session *session)
{
    ssize_t count;

    if (!session->socket_writable || (session->out_bytes == 0 && !produce(session)))
        return false;
    count = io_send(session->socket.fd, session->out + session->out_sent,
                    session->out_bytes - session->out_sent);
    if (count == -EAGAIN) {
        socket_full(session);
        return false;
    }
    if (count < 0) {
        session_close(session);
        return false;
    }
    session->out_sent += (uint32_t)count;
    if (session->out_sent < session->out_bytes)
        return true;
    session->out_bytes = session->out_sent = 0;
    if (session->state == SESSION_RESULT) {
        session_fini_work(session);
        session_linger(session);
    }
    return true;
}

void session_pump(struct session *session)
{
    static bool (*const steps[])(struct session *) = { step_receive, step_feed, step_send };
    bool progress = true;

    for (int turn = 0; progress && turn < STEPS_PER_TURN; turn++) {
        progress = false;
        for (size_t i = 0; i < ARRAY_LEN(steps) && session->state != SESSION_FREE; i++)
            progress |= steps[i](session);
    }
    session->more = progress && session->state != SESSION_FREE;
}

static void socket_ready(struct loop_source *source, uint32_t events)
{
    struct session *session = (struct session *)((char *)source - offsetof(struct session, socket));

    if (events & (EPOLLIN | EPOLLHUP | EPOLLRDHUP | EPOLLERR))
        session->socket_readable = true;
    if (events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR))
        session->hangup = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        session->socket_writable = true;
    session_pump(session);
}

void session_open(struct session *session, int fd)
{
    memset(session, 0, offsetof(struct session, out));
    session->socket = (struct loop_source){ .ready = socket_ready, .fd = fd };
    session->socket_readable = session->socket_writable = true;
    agent_parser_init(&session->parser);
    for (int i = 0; i < STREAM_COUNT; i++)
        session->streams[i].source.fd = -1;
    session->input.source.fd = -1;
    session->state = SESSION_REQUEST;
    session_pump(session);
    if (session->state == SESSION_FREE)
        return;
    session->watched = true;
    if (loop_add(&session->socket, socket_events(session)) < 0)
        session_close(session);
}
