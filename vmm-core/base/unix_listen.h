/* SPDX-License-Identifier: Apache-2.0 */
/* A listening Unix socket at a path: taken only if nobody else listens there, given back only while
 * it is still ours. Start-up and end: it blocks for as long as said below.
 *
 * How it works
 *   What is at the path already is asked by connecting to it. A socket that refuses was left behind
 *   by a process that was killed, and is replaced; one that takes the connection, or whose backlog
 *   is full, belongs to somebody, and so does what is no socket. Asking, removing and binding happen
 *   under a flock of the directory, so that of two that start at once one finds the other's; without it
 *   after 2 s, as any user may hold it where the directory can be read.
 */
#ifndef VOLT_BASE_UNIX_LISTEN_H
#define VOLT_BASE_UNIX_LISTEN_H

#include <sys/types.h>

#include "base/err.h"

#define UNIX_KEEP_GROUP ((gid_t)-1)

struct unix_listener {
    int fd;         /* close-on-exec, non-blocking; -1: closed */
    char path[108]; /* "": not ours to remove */
    dev_t device;   /* of the socket's file, */
    ino_t inode;    /* which another may have replaced since */
};

/* Binds and listens. Nobody can connect before mode and group are as asked. 0;
 * -EADDRINUSE: somebody listens there; -EEXIST: what is there is no socket; -ENAMETOOLONG;
 * -errno of the calls. */
int unix_listen(struct unix_listener *ret_listener, const char *path, mode_t mode, gid_t group,
                int backlog, struct err *err);
/* The same for SOCK_SEQPACKET, of the caller's own group. */
int unix_listen_packets(struct unix_listener *ret_listener, const char *path, mode_t mode,
                        int backlog, struct err *err);

/* Removes its file, if that is still the same; who comes now finds nobody. Once. */
void unix_listener_remove(struct unix_listener *listener);
/* The same, if it was not removed, and closes it. Fine when it is closed, not on a zeroed one. */
void unix_listener_close(struct unix_listener *listener);

#endif
