/* SPDX-License-Identifier: Apache-2.0 */
/* Owns replies that go on and on; see http.h.
 *
 * How it works
 *   MHD asks for the next bytes when those before are on their way. If there are none, the connection
 *   is suspended, asleep, until http_stream_wake; meanwhile nothing but its hang-up is watched, and it
 *   has no time limit (HTTP_BUSY). While bytes are on their way it has that of any reply, so a client
 *   that does not read is closed. */
#include <stdlib.h>

#include "base/util.h"
#include "http/http_internal.h"

#define BLOCK_BYTES 4096

struct http_stream {
    struct http_request *request;
    size_t (*read)(void *data, char *buffer, size_t room);
    void (*closed)(void *data);
    void *data;
    bool asleep; /* suspended */
    bool over;   /* what is asked for next is its end */
    bool gone;   /* its client has hung up */
};

static ssize_t on_read(void *data, uint64_t at, char *buffer, size_t room)
{
    struct http_stream *stream = data;
    struct http_connection *connection = stream->request->connection;

    (void)at;
    if (stream->gone)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t bytes = stream->read(stream->data, buffer, room);
    if (bytes > 0) {
        http_phase_enter(connection, HTTP_REPLY);
        return (ssize_t)bytes;
    }
    if (stream->over)
        return MHD_CONTENT_READER_END_OF_STREAM;
    http_phase_enter(connection, HTTP_BUSY);
    stream->asleep = true;
    MHD_suspend_connection(stream->request->mhd);
    return 0;
}

static void on_free(void *data)
{
    struct http_stream *stream = data;

    stream->closed(stream->data);
    free(stream);
}

static void wake(struct http_stream *stream)
{
    struct http_request *request = stream->request;

    if (!stream->asleep)
        return;
    stream->asleep = false;
    http_phase_enter(request->connection, HTTP_REPLY);
    MHD_resume_connection(request->mhd);
    request->connection->lane->dirty = true;
    request->http->config.schedule(request->http->config.context);
}

static void on_gone(struct http_request *request)
{
    struct http_stream *stream = request->stream;

    stream->gone = true;
    wake(stream);
}

void http_reply_stream(struct http_request *request, const char *type,
                       size_t (*read)(void *data, char *buffer, size_t room),
                       void (*closed)(void *data), void *data)
{
    struct http_stream *stream = calloc(1, sizeof *stream);
    struct MHD_Response *response =
        stream ? MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, on_read, stream,
                                                   on_free)
               : NULL;

    if (!response)
        abort(); /* out of memory for a few bytes */
    *stream = (struct http_stream){ request, read, closed, data, .asleep = false };
    request->stream = stream;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    http_reply_response(request, MHD_HTTP_OK, response);
    /* Without a watch, a client that hangs up is noticed when the next bytes are written. */
    http_watch(request, on_gone);
}

void http_stream_wake(struct http_request *request)
{
    wake(request->stream);
}

void http_stream_end(struct http_request *request)
{
    request->stream->over = true;
    wake(request->stream);
}
