/* SPDX-License-Identifier: Apache-2.0 */
/* The client side of the guest agent's protocol (guest-init/guest_abi.h): frames over a stream.
 *
 * The guest is not trusted: every frame's size and type is checked before it is used, and nothing
 * is stored beyond one frame. One thread.
 */
#ifndef VOLT_CLI_AGENT_H
#define VOLT_CLI_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api.h"
#include "base/err.h"
#include "guest_abi.h"

#define AGENT_FRAME_BYTES_MAX (sizeof(struct agent_frame) + AGENT_PAYLOAD_MAX)

/* Unread input is in[in_begin..in_end). Unsent output is out[out_begin..out_end): room for one data
 * frame and the small frames that may queue up behind it. */
struct agent {
    int fd;
    size_t in_begin, in_end;
    size_t out_begin, out_end;
    uint8_t in[AGENT_FRAME_BYTES_MAX];
    uint8_t out[AGENT_FRAME_BYTES_MAX + 4096];
};

/* A frame inside agent->in: valid until the next call on the agent. */
struct agent_message {
    enum agent_frame_type type;
    size_t bytes;
    const uint8_t *payload;
};

/* Opens a session with the agent in that VM; waits for the guest to accept. */
int agent_open(struct agent **ret_agent, struct api *api, const char *lease, struct err *err);

/* A session on a socket that is connected to an agent already and becomes the agent's. */
struct agent *agent_create(int fd);
void agent_close(struct agent *agent);

/* Queues a frame. -EMSGSIZE above AGENT_PAYLOAD_MAX, -ENOBUFS when there is no room. */
int agent_queue(struct agent *agent, enum agent_frame_type type, const void *payload, size_t bytes);
static inline bool agent_has_output(const struct agent *agent)
{
    return agent->out_end > agent->out_begin;
}

/* Sends what is queued as far as it goes without blocking. 0 or -errno. */
int agent_flush(struct agent *agent);

/* Queues and sends, blocking. */
int agent_send(struct agent *agent, enum agent_frame_type type, const void *payload, size_t bytes,
               struct err *err);

/* Reads what has come without blocking. 0, -EAGAIN, -ENOTCONN at the end, or -errno. */
int agent_fill(struct agent *agent);

/* Takes the next whole frame out of what was read. 1: there is one, 0: not yet, -EPROTO. */
int agent_next(struct agent *agent, struct agent_message *ret_message, struct err *err);

/* The next frame, blocking until deadline_ns. 0; -ETIMEDOUT, -ENOTCONN, -EPROTO. */
int agent_receive(struct agent *agent, uint64_t deadline_ns, struct agent_message *ret_message,
                  struct err *err);

/* Makes an ERROR frame into a failure with the guest's sentence, anything else into -EPROTO. */
int agent_refusal(const struct agent_message *message, struct err *err);

static inline void agent_cleanup(struct agent **agent)
{
    agent_close(*agent);
}
#define _cleanup_agent_ __attribute__((cleanup(agent_cleanup)))

#endif
