/* SPDX-License-Identifier: Apache-2.0 */
/* Owns how requests and events get into guests; see agent_feed.h. */
#include "functions/agent_feed.h"

#include <string.h>

#include "base/util.h"

#define SEND_BYTES_MAX 32768u

int agent_feed_send(struct agent_feed *feed, struct agent_stream *stream)
{
    const size_t total = feed->head_bytes + feed->body_bytes;

    while (feed->sent < total && feed->credit > 0) {
        const bool head = feed->sent < feed->head_bytes;
        const char *from =
            head ? feed->head + feed->sent : feed->body + (feed->sent - feed->head_bytes);
        const size_t left = head ? feed->head_bytes - feed->sent : total - feed->sent;
        const size_t take = MIN_OF(left, MIN_OF((size_t)feed->credit, SEND_BYTES_MAX));
        const int rc = agent_stream_send(stream, AGENT_STDIN, from, take);

        if (rc < 0)
            return rc;
        feed->sent += take;
        feed->credit -= (uint32_t)take;
    }
    return 0;
}

int agent_feed_credit(struct agent_feed *feed, struct agent_stream *stream, const uint8_t *payload,
                      uint32_t bytes)
{
    uint32_t credit;

    if (bytes != sizeof credit)
        return 0;
    memcpy(&credit, payload, sizeof credit);
    /* More than that was never given. */
    feed->credit += MIN_OF(credit, AGENT_STDIN_CREDIT - feed->credit);
    return agent_feed_send(feed, stream);
}
