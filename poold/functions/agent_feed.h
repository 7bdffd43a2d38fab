/* SPDX-License-Identifier: Apache-2.0 */
/* What is to go into a connection in a guest (AGENT_CALL): a head and a body, as the agent takes it.
 * Both are the caller's, until all is sent. Loop thread only. */
#ifndef VOLT_POOLD_AGENT_FEED_H
#define VOLT_POOLD_AGENT_FEED_H

#include "vms/agent_stream.h"

struct agent_feed {
    const char *head, *body;
    size_t head_bytes, body_bytes;
    size_t sent;     /* of both */
    uint32_t credit; /* bytes that the agent takes now; AGENT_STDIN_CREDIT at first */
};

/* Sends what can be sent. 0 or -errno: the VM does not take it. */
int agent_feed_send(struct agent_feed *feed, struct agent_stream *stream);
/* The agent has given credit, in its own words; goes on. As agent_feed_send. */
int agent_feed_credit(struct agent_feed *feed, struct agent_stream *stream, const uint8_t *payload,
                      uint32_t bytes);

#endif
