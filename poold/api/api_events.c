/* SPDX-License-Identifier: Apache-2.0 */
/* Owns GET /v1/events: the history as a stream of server-sent events.
 *
 * How it works
 *   A stream has the number of the last event that it has dealt with, and formats the next one that its
 *   client may see when the bytes before are on their way. So nothing is held for a client that is slow
 *   but the history itself; one that is too slow for that is told that there is a gap. Streams are woken
 *   from the pump, once for all events of a turn. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/lease_text.h"

/* Of one user, and of all: each costs poold's loop a little with each event. */
#define STREAMS_EACH 8u
#define STREAMS_ALL 128u
/* Events that a stream looks at in one turn: most of them may not be its client's to see. */
#define LOOKS_MAX 256u

struct event_stream {
    struct list node; /* in api->event_streams */
    struct api *api;
    struct http_request *request;
    uid_t uid;
    uint64_t seen; /* number of the last event that was dealt with */
    char text[HISTORY_TEXT_BYTES + 256];
    size_t bytes, written; /* of text */
};

static bool may_see(const struct event_stream *stream, const struct history_event *event)
{
    const struct peer *peer = &stream->request->connection->peer;

    if (peer->rights & RIGHT_ADMIN)
        return true;
    if (*event->lease)
        return event->uid == stream->uid;
    return !*event->pool || access_pool_seen(peer, event->pool);
}

static void event_format(struct event_stream *stream, const struct history_event *event)
{
    const char *type = history_type_name((enum history_type)event->type);
    char when[WALL_TEXT_BYTES];

    wall_text(event->wall_ns, when);
    stream->bytes = (size_t)snprintf(stream->text, sizeof stream->text,
                                     "id: %" PRIu64 "\nevent: %s\ndata: {\"id\":%" PRIu64
                                     ",\"time\":\"%s\",\"type\":\"%s\",%s}\n\n",
                                     event->id, type, event->id, when, type, event->text);
}

/* Those from `from` on, up to seen, are not there. */
static void gap_format(struct event_stream *stream, uint64_t from)
{
    stream->bytes =
        (size_t)snprintf(stream->text, sizeof stream->text,
                         "id: %" PRIu64 "\nevent: gap\ndata: {\"id\":%" PRIu64
                         ",\"type\":\"gap\",\"from\":%" PRIu64 ",\"to\":%" PRIu64 "}\n\n",
                         stream->seen, stream->seen, from, stream->seen);
}

/* The next text, "" if there is none now. */
static void next_format(struct event_stream *stream)
{
    const struct history *history = stream->api->history;
    const uint64_t next = history_next(history), oldest = history_oldest(history);
    const uint64_t from = stream->seen + 1;

    stream->bytes = stream->written = 0;
    if (from < oldest || from > next) { /* or a number of the future, by another clock */
        stream->seen = (from < oldest ? oldest : next) - 1;
        gap_format(stream, from);
        return;
    }
    for (unsigned looks = 0; stream->seen + 1 < next && looks < LOOKS_MAX; looks++) {
        const struct history_event *event = history_get(history, ++stream->seen);

        if (!event)
            gap_format(stream, stream->seen);
        else if (may_see(stream, event))
            event_format(stream, event);
        if (stream->bytes)
            return;
    }
}

static size_t on_read(void *data, char *buffer, size_t room)
{
    struct event_stream *stream = data;

    if (stream->written == stream->bytes)
        next_format(stream);
    const size_t bytes = MIN_OF(room, stream->bytes - stream->written);
    memcpy(buffer, stream->text + stream->written, bytes);
    stream->written += bytes;
    if (bytes == 0 && stream->seen + 1 < history_next(stream->api->history))
        turn_schedule(stream->api->vms->turn); /* it has looked enough for now */
    return bytes;
}

static void on_closed(void *data)
{
    struct event_stream *stream = data;

    list_remove(&stream->node);
    free(stream);
}

void api_events_pump(struct api *api)
{
    const uint64_t next = history_next(api->history);

    LIST_FOR_EACH(at, &api->event_streams)
    {
        const struct event_stream *stream = list_entry(at, struct event_stream, node);

        if (stream->seen + 1 < next)
            http_stream_wake(stream->request);
    }
}

void api_events_end(struct api *api)
{
    LIST_FOR_EACH(at, &api->event_streams)
    http_stream_end(list_entry(at, struct event_stream, node)->request);
}

/* ---- The call ---- */

/* Which event the client has seen last; none: those to come are meant. False: it has replied. */
static bool since_read(struct http_request *request, uint64_t *ret_since)
{
    const char *text = http_header(request, "Last-Event-ID");
    char *end = NULL;

    if (!text)
        text = http_query(request, "since");
    *ret_since = history_next(api_of(request)->history) - 1;
    if (!text)
        return true;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || number >= UINT64_MAX) {
        http_reply_error(request, API_BAD_REQUEST,
                         "'since' and Last-Event-ID must be the number of an event, or 0 for all "
                         "that are known");
        return false;
    }
    *ret_since = number ? number : history_oldest(api_of(request)->history) - 1;
    return true;
}

static bool stream_allowed(struct http_request *request)
{
    const struct api *api = api_of(request);
    uint32_t all = 0, own = 0;

    LIST_FOR_EACH(at, &api->event_streams)
    {
        all++;
        own += list_entry(at, struct event_stream, node)->uid == request->connection->peer.uid;
    }
    if (own < STREAMS_EACH && all < STREAMS_ALL)
        return true;
    http_reply_error(request, API_TOO_MANY,
                     "there may be %u streams of events of a user, and %u in all", STREAMS_EACH,
                     STREAMS_ALL);
    return false;
}

void api_events(struct http_request *request)
{
    struct api *api = api_of(request);
    struct event_stream *stream;
    uint64_t since;

    if (!since_read(request, &since) || !stream_allowed(request))
        return;
    stream = calloc(1, sizeof *stream);
    if (!stream) {
        http_reply_error(request, API_INTERNAL, "out of memory");
        return;
    }
    stream->api = api;
    stream->request = request;
    stream->uid = request->connection->peer.uid;
    stream->seen = since;
    list_append(&api->event_streams, &stream->node);
    http_reply_stream(request, "text/event-stream", on_read, on_closed, stream);
}
