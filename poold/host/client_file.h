/* SPDX-License-Identifier: Apache-2.0 */
/* Files whose names come from a client: opened with its rights, not with poold's. All that poold
 * opens because a client has named it goes through client_file_open.
 *
 * How it works
 *   1. Whose rights: the uid, gid and groups that the kernel has noted of the peer when it connected
 *      (SO_PEERCRED, SO_PEERGROUPS). NULL stands for poold itself: for root, for poold's own user and
 *      for what the configuration names.
 *   2. The file is opened by a thread that exists for that alone. It takes the client's groups, fsgid
 *      and fsuid and drops every capability, by system calls of its own (those of libc change all
 *      threads), and never gets anything back. Its uids stay poold's, or the client could send it
 *      signals. A poold that can't do that (without CAP_SETUID and CAP_SETGID) opens nothing for
 *      others than its own user.
 *   3. What is there is looked at before it is opened (O_PATH, then /proc/thread-self/fd): a FIFO, a
 *      terminal, a tape or a socket is never opened. Links are followed as far as the client may
 *      follow them, but not those of /proc, which would lead to what poold has open; and nothing in
 *      /proc is opened, as "self" is poold there.
 *   4. What is opened is what is used: the descriptor is handed on, the name is not looked up again.
 *      After a restart the name is opened once more, by the same rights (the ids are in the pool's
 *      file), those of that day: a user who has left a group since keeps it here until the pool is
 *      made anew.
 *   5. Errors are those that the client would get from its own stat and open. */
#ifndef VOLT_POOLD_CLIENT_FILE_H
#define VOLT_POOLD_CLIENT_FILE_H

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Of a client; one block of memory, freed by free. */
struct client_ids {
    uid_t uid;
    gid_t gid;
    uint32_t group_count;
    gid_t groups[];
};

/* Those of the peer of a connected socket. 0 or -errno. */
int client_ids_of_peer(int fd, struct client_ids **ret_ids);
/* {"uid", "gid", "groups"}; NULL without memory. */
json_t *client_ids_format(const struct client_ids *ids);
/* The reverse, of a file. 0, -EINVAL, -ENOMEM with a sentence. */
int client_ids_parse(const json_t *object, struct client_ids **ret_ids, struct err *err);

enum client_file_kind {
    CLIENT_FILE_REGULAR, /* with something in it */
    CLIENT_FILE_DISK,    /* a regular file or a block device */
};

/* Opens path (absolute) read-only as ids may, NULL: as poold may. Blocks: thread pool. 0 with a
 * close-on-exec fd, or -errno with a sentence that begins with `what` and the path. */
int client_file_open(const struct client_ids *ids, const char *path, enum client_file_kind kind,
                     const char *what, int *ret_fd, struct err *err);

#endif
