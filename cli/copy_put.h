/* SPDX-License-Identifier: Apache-2.0 */
/* A tar stream on its way into a folder of a guest. */
#ifndef VOLT_CLI_COPY_PUT_H
#define VOLT_CLI_COPY_PUT_H

#include "agent.h"
#include "transfer.h"

struct copy_put {
    struct agent *agent;
    struct transfer transfer;
    uint64_t bytes; /* sent */
    bool refused;   /* by the agent, and err has its reason */
};

/* Opens the stream. flags: AGENT_PUT_*. `what` is shown while it takes long, NULL: nothing is; it is
 * borrowed. 0 or -errno. */
int copy_put_start(struct copy_put *put, struct api *api, const char *lease, const char *folder,
                   uint8_t flags, const char *what, struct err *err);

/* Sends the next bytes, any number. -EINTR when the user has had enough. */
int copy_put_feed(struct copy_put *put, const void *data, size_t bytes, struct err *err);

/* That was all: waits until it is unpacked. Without it the agent knows that something is missing. */
int copy_put_finish(struct copy_put *put, struct err *err);
void copy_put_fini(struct copy_put *put);
#define _cleanup_copy_put_ __attribute__((cleanup(copy_put_fini)))

/* The agent's word at the end: a note for the user if something was left out. */
void copy_note_print(const struct agent_message *done);

#endif
