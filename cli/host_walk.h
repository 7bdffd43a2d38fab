/* SPDX-License-Identifier: Apache-2.0 */
/* Walking a path of the user's on the host, without following links that came out of a VM. */
#ifndef VOLT_CLI_HOST_WALK_H
#define VOLT_CLI_HOST_WALK_H

#include <limits.h>
#include <stdbool.h>

#include "base/err.h"

enum host_kind {
    HOST_MISSING,
    HOST_FOLDER,
    HOST_FILE,
    HOST_GUEST_LINK, /* a link that a copy from a guest has made */
    HOST_SPECIAL,    /* a device, FIFO or socket */
};

/* The end of a path. */
struct host_end {
    int parent_fd;           /* O_PATH: the folder that it is in; owned by the caller */
    char name[NAME_MAX + 1]; /* what it is called there; "" if the path is of dots and slashes */
    enum host_kind kind;
    bool folder_meant; /* the path ends in '/' or "/." */
};

/* Walks it. A last component that is missing is HOST_MISSING, any other is an error. 0 or -errno
 * with a sentence. */
int host_walk(const char *path, struct host_end *ret_end, struct err *err);

/* What `name` in that folder is; itself, if it is a link: 0, or -errno. */
int host_kind_of(int parent_fd, const char *name, enum host_kind *ret_kind, bool *ret_own_link);

#endif
