/* SPDX-License-Identifier: Apache-2.0 */
/* Replies that stream envelopes (rpc.h): to a client that reads, at its speed; a keepalive when there
 * has been nothing for a while; and an end as soon as the client has hung up. */
#ifndef VOLT_CLI_E2B_STREAM_H
#define VOLT_CLI_E2B_STREAM_H

#include "e2b/server.h"

/* Of the connection's thread. */
struct stream_ops {
    /* The next envelope, which the stream frees, and its bytes. NULL: none now, and *ret_fd gets
     * readable when there may be one; or, with *ret_fd -1, none any more. */
    char *(*next)(void *data, size_t *ret_bytes, int *ret_fd);
    /* The message that says nothing. */
    json_t *(*keepalive)(void *data);
    /* Once, at the end. */
    void (*closed)(void *data);
};

/* Replies. */
void reply_stream(struct call *call, const struct stream_ops *ops, void *data);

#endif
