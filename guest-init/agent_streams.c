/* SPDX-License-Identifier: Apache-2.0 */
/* The streams of EXEC and CALL sessions: stdout and stderr into frames, and what is sent as stdin to
 * the command. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "agent_session.h"
#include "io.h"

#define CONTROL_D 4

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

/* Where a terminal or a connection is kept when its stream has ended: as stdin and stdout are
 * duplicates, closing one does not end what the other tells, so they are closed together at the
 * session's end. NULL: it is closed at once. */
static int *stream_keeper(struct session *session, const struct stream *stream)
{
    if (!session->terminal && !session->call)
        return NULL;
    if (stream == &session->input)
        return &session->fds.input;
    return stream == &session->streams[0] ? &session->fds.streams[0] : NULL;
}

static void stream_close(struct session *session, struct stream *stream)
{
    int *keeper = stream_keeper(session, stream), fd = stream->source.fd;

    if (fd < 0)
        return;
    if (keeper) {
        *keeper = fd;
    } else {
        if (session->call) /* the service's output, of which there is a duplicate */
            loop_remove(&stream->source);
        else
            loop_forget(&stream->source);
        io_close(fd);
    }
    stream->source.fd = -1;
}

/* Takes an fd over. */
static void stream_init(struct stream *stream, int *fd,
                        void (*ready)(struct loop_source *, uint32_t))
{
    stream->source = (struct loop_source){ .ready = ready, .fd = *fd };
    *fd = -1;
}

/* The same, and watches it. False if it can't be: then it is closed. */
static bool output_open(struct stream *stream, int *fd,
                        void (*ready)(struct loop_source *, uint32_t))
{
    if (*fd < 0)
        return true;
    stream_init(stream, fd, ready);
    if (loop_add(&stream->source, EPOLLIN) == 0)
        return true;
    io_close(stream->source.fd);
    stream->source.fd = -1;
    return false;
}

bool session_streams_watch(struct session *session)
{
    struct exec_fds *fds = &session->fds;

    if (fds->input >= 0) {
        stream_init(&session->input, &fds->input, stdin_ready);
        session->input.readable = true;
    }
    return output_open(&session->streams[0], &fds->streams[0], stdout_ready) &&
           output_open(&session->streams[1], &fds->streams[1], stderr_ready);
}

void session_streams_close(struct session *session)
{
    for (int i = 0; i < STREAM_COUNT; i++)
        stream_close(session, &session->streams[i]);
    stream_close(session, &session->input);
    /* Of what is closed only now. */
    loop_forget(&session->streams[0].source);
    loop_forget(&session->input.source);
    exec_fds_close(&session->fds);
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

/* There is no room. False: nor can it be waited for. */
static bool input_wait(struct session *session)
{
    bool known = session->input_was_full;

    session->input.readable = false;
    session->input_was_full = true;
    return known || loop_add(&session->input.source, EPOLLOUT) == 0;
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
    if (count == -EAGAIN && input_wait(session))
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
