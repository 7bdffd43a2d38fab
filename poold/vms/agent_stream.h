/* SPDX-License-Identifier: Apache-2.0 */
/* A session with the agent of a VM, as poold itself has them (guest_abi.h has the protocol): a socket
 * pair whose other end the VM's process gets, frames out, and whole frames in. What comes is the
 * guest's: it is bounded and cut here, and believed nowhere. Loop thread only. */
#ifndef VOLT_POOLD_AGENT_STREAM_H
#define VOLT_POOLD_AGENT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "guest_abi.h"

struct agent_stream;

/* None is called after agent_stream_close, which each of them may call. */
struct agent_stream_ops {
    /* Connects fd (borrowed) to the agent's vsock port of the VM. 0 or -errno. */
    int (*connect)(void *owner, int fd);
    /* A whole frame; payload is valid during the call. */
    void (*frame)(void *owner, const struct agent_frame *frame, const uint8_t *payload);
    /* It is of no use any more, and still to be closed: why. The last call. */
    void (*broken)(void *owner, const char *why);
};

/* The first frame may be sent at once. 0 or -errno. */
int agent_stream_open(struct agent_stream **ret_stream, uv_loop_t *loop,
                      const struct agent_stream_ops *ops, void *owner);
/* NULL is fine. */
void agent_stream_close(struct agent_stream *stream);
/* Reads no more of it than a frame's room until it is told to go on: the agent waits then. From within
 * `frame`, too. */
void agent_stream_pause(struct agent_stream *stream, bool paused);

/* Sends a frame; within the agent's credit it fits into the socket. 0, or -errno: the VM does not
 * take it. bytes: at most AGENT_PAYLOAD_MAX. */
int agent_stream_send(struct agent_stream *stream, enum agent_frame_type type, const void *payload,
                      size_t bytes);

/* The sentence of an AGENT_ERROR, cut and cleaned: printable, one line. */
#define AGENT_SENTENCE_BYTES 256
const char *agent_error_sentence(const struct agent_frame *frame, const uint8_t *payload,
                                 char ret[AGENT_SENTENCE_BYTES]);

#endif
