/* SPDX-License-Identifier: Apache-2.0 */
/* The beginning of a GET: what is at a path of a guest, and its first bytes. */
#ifndef VOLT_CLI_COPY_GET_H
#define VOLT_CLI_COPY_GET_H

#include "agent.h"
#include "tar_head.h"

/* An open GET: the agent's stream, of which the first head_bytes are in `head`. */
struct copy_get {
    struct agent *agent;
    uint8_t *head;
    size_t head_bytes;
    struct tar_head first; /* the first member */
};

/* Asks for a path; flags: AGENT_GET_*. 0; -ENOENT and others as the agent says, -EPROTO for what is
 * no tar stream. */
int copy_get_start(struct copy_get *get, struct api *api, const char *lease, const char *path,
                   uint8_t flags, struct err *err);
void copy_get_fini(struct copy_get *get);
#define _cleanup_copy_get_ __attribute__((cleanup(copy_get_fini)))

/* Sends a GET or PUT: a path and its flags. */
int copy_request(struct agent *agent, enum agent_frame_type type, const char *path, uint8_t flags,
                 struct err *err);

/* The next frame. -EINTR when the user has had enough. */
int copy_receive(struct agent *agent, struct agent_message *ret_message, struct err *err);

#endif
