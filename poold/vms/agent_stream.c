/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the frames of poold's sessions with agents; see agent_stream.h. */
#include "vms/agent_stream.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/text.h"
#include "base/util.h"

/* "OK 1024\n", by the VM's process, when the guest has accepted. */
#define GREETING_BYTES_MAX 32u

struct agent_stream {
    uv_poll_t poll;
    int fd;
    const struct agent_stream_ops *ops;
    void *owner;
    bool closed;  /* freed when the poll is */
    bool greeted; /* the host's line has come */
    size_t bytes; /* in buffer */
    uint8_t buffer[sizeof(struct agent_frame) + AGENT_PAYLOAD_MAX];
};

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void agent_stream_close(struct agent_stream *stream)
{
    if (!stream)
        return;
    stream->closed = true;
    uv_close((uv_handle_t *)&stream->poll, on_closed);
    close_fd(&stream->fd);
}

static void on_readable(uv_poll_t *poll, int status, int events);

void agent_stream_pause(struct agent_stream *stream, bool paused)
{
    if (paused)
        uv_poll_stop(&stream->poll);
    else
        uv_poll_start(&stream->poll, UV_READABLE, on_readable);
}

static void broken(struct agent_stream *stream, const char *why)
{
    uv_poll_stop(&stream->poll);
    stream->ops->broken(stream->owner, why);
}

/* Drops the first bytes of the buffer. */
static void consume(struct agent_stream *stream, size_t bytes)
{
    stream->bytes -= bytes;
    memmove(stream->buffer, stream->buffer + bytes, stream->bytes);
}

/* False: the line is not whole yet, or it is another one. */
static bool greeting_take(struct agent_stream *stream)
{
    uint8_t *end = memchr(stream->buffer, '\n', MIN_OF(stream->bytes, GREETING_BYTES_MAX));

    if (end && memcmp(stream->buffer, "OK ", 3) == 0) {
        consume(stream, (size_t)(end + 1 - stream->buffer));
        stream->greeted = true;
        return true;
    }
    if (end || stream->bytes >= GREETING_BYTES_MAX)
        broken(stream, "the VM did not greet");
    return false;
}

/* Takes whole frames from the buffer. */
static void frames_take(struct agent_stream *stream)
{
    struct agent_frame frame;
    size_t at = 0;

    while (stream->bytes - at >= sizeof frame) {
        memcpy(&frame, stream->buffer + at, sizeof frame);
        if (frame.payload_bytes > AGENT_PAYLOAD_MAX) {
            broken(stream, "the agent sent an oversized frame");
            return;
        }
        if (stream->bytes - at < sizeof frame + frame.payload_bytes)
            break;
        stream->ops->frame(stream->owner, &frame, stream->buffer + at + sizeof frame);
        if (stream->closed)
            return;
        at += sizeof frame + frame.payload_bytes;
    }
    consume(stream, at);
}

/* Of one that hung up with something unread, the error comes first, and once; then what it had sent. */
static ssize_t stream_read(struct agent_stream *stream)
{
    uint8_t *to = stream->buffer + stream->bytes;
    const size_t room = sizeof stream->buffer - stream->bytes;
    ssize_t n = read(stream->fd, to, room);

    return n < 0 && errno == ECONNRESET ? read(stream->fd, to, room) : n;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct agent_stream *stream = poll->data;
    ssize_t n = stream_read(stream);

    (void)events;
    if (status < 0) /* libuv has stopped at the error */
        uv_poll_start(poll, UV_READABLE, on_readable);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        broken(stream, stream->greeted ? "the agent hung up" : "the agent can't be reached");
        return;
    }
    stream->bytes += (size_t)n;
    if (stream->greeted || greeting_take(stream))
        frames_take(stream);
}

int agent_stream_open(struct agent_stream **ret_stream, uv_loop_t *loop,
                      const struct agent_stream_ops *ops, void *owner)
{
    struct agent_stream *stream = malloc(sizeof *stream);
    int pair[2], rc;

    if (!stream)
        return -ENOMEM;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        rc = -errno;
        free(stream);
        return rc;
    }
    memset(stream, 0, offsetof(struct agent_stream, buffer));
    stream->fd = pair[0];
    stream->ops = ops;
    stream->owner = owner;
    rc = ops->connect(owner, pair[1]);
    close(pair[1]);
    if (rc == 0)
        rc = uv_poll_init(loop, &stream->poll, stream->fd);
    if (rc < 0) {
        close_fd(&stream->fd);
        free(stream);
        return rc;
    }
    stream->poll.data = stream;
    uv_poll_start(&stream->poll, UV_READABLE, on_readable);
    *ret_stream = stream;
    return 0;
}

int agent_stream_send(struct agent_stream *stream, enum agent_frame_type type, const void *payload,
                      size_t bytes)
{
    struct agent_frame frame = { .payload_bytes = (uint32_t)bytes, .type = (uint8_t)type };
    struct iovec parts[] = { { &frame, sizeof frame }, { (void *)(uintptr_t)payload, bytes } };
    const struct msghdr message = { .msg_iov = parts, .msg_iovlen = bytes ? 2 : 1 };
    ssize_t n = sendmsg(stream->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n < 0)
        return -errno;
    return (size_t)n == sizeof frame + bytes ? 0 : -EMSGSIZE;
}

const char *agent_error_sentence(const struct agent_frame *frame, const uint8_t *payload,
                                 char ret[AGENT_SENTENCE_BYTES])
{
    const size_t head = sizeof(struct agent_error);

    if (frame->payload_bytes <= head)
        return "the agent does not say why";
    text_clean(ret, AGENT_SENTENCE_BYTES, (const char *)payload + head,
               frame->payload_bytes - head);
    return ret;
}
