/* SPDX-License-Identifier: Apache-2.0 */
/* Owns replies that stream; see stream.h. */
#include "e2b/stream.h"

#include <poll.h>
#include <string.h>

#include "base/util.h"
#include "e2b/rpc.h"

#define BLOCK_BYTES 32768u
#define KEEPALIVE_S 50u /* unless the client says otherwise */
#define KEEPALIVE_S_MAX 60u
_Static_assert(KEEPALIVE_S_MAX < SERVER_IDLE_S, "a client that reads is not idle");

struct stream {
    const struct stream_ops *ops;
    void *data;
    int client_fd, keepalive_ms;
    char *envelope; /* that is being sent: bytes, of which `sent` are */
    size_t bytes, sent;
    bool over;
};

/* Waits for more. False: the client is gone. */
static bool stream_wait(struct stream *stream, int fd)
{
    struct pollfd fds[] = { { .fd = fd, .events = POLLIN },
                            { .fd = stream->client_fd, .events = POLLRDHUP } };
    int count = poll(fds, ARRAY_LEN(fds), stream->keepalive_ms);

    if (count == 0)
        stream->envelope =
            rpc_envelope_make(0, stream->ops->keepalive(stream->data), &stream->bytes);
    return !(fds[1].revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static ssize_t on_read(void *data, uint64_t at, char *buffer, size_t room)
{
    struct stream *stream = data;
    int fd;

    (void)at;
    while (!stream->envelope && !stream->over) {
        fd = -1;
        stream->envelope = stream->ops->next(stream->data, &stream->bytes, &fd);
        stream->over = !stream->envelope && fd < 0;
        if (!stream->envelope && fd >= 0 && !stream_wait(stream, fd))
            return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    if (stream->over)
        return MHD_CONTENT_READER_END_OF_STREAM;
    size_t count = MIN_OF(room, stream->bytes - stream->sent);
    memcpy(buffer, stream->envelope + stream->sent, count);
    stream->sent += count;
    if (stream->sent == stream->bytes) {
        free_pointer(&stream->envelope);
        stream->sent = 0;
    }
    return (ssize_t)count;
}

static void on_free(void *data)
{
    struct stream *stream = data;

    stream->ops->closed(stream->data);
    free(stream->envelope);
    free(stream);
}

static int keepalive_ms(const struct call *call)
{
    const char *text = call_header(call, "Keepalive-Ping-Interval");
    unsigned long seconds = text ? strtoul(text, NULL, 10) : KEEPALIVE_S;

    return 1000 * (int)MAX_OF(1u, MIN_OF(seconds, KEEPALIVE_S_MAX));
}

void reply_stream(struct call *call, const struct stream_ops *ops, void *data)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(call->mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct stream *stream = calloc(1, sizeof *stream);

    if (!stream)
        abort(); /* of SERVER_CONNECTIONS */
    *stream = (struct stream){ .ops = ops,
                               .data = data,
                               .client_fd = info ? info->connect_fd : -1,
                               .keepalive_ms = keepalive_ms(call) };
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, on_read, stream, on_free);
    if (!response)
        abort(); /* as above */
    MHD_add_response_header(response, "Content-Type", "application/connect+json");
    reply_response(call, 200, response);
}
