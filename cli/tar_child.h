/* SPDX-License-Identifier: Apache-2.0 */
/* The host's tar as a child of ours, packing into a pipe. */
#ifndef VOLT_CLI_TAR_CHILD_H
#define VOLT_CLI_TAR_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct tar_child {
    pid_t pid; /* 0: none */
    int fd;    /* read the stream from it */
};

struct tar_what {
    const char *dir;    /* the folder that it is in */
    const char *member; /* its name there; ".": what is in the folder */
    const char *as;     /* what it is called in the stream; NULL: that name */
    bool owners;        /* with owners, groups and set-id bits; else all is root's */
};

/* Packs that with all that a tar can carry: hard links, holes, the attributes user.* and
 * security.capability, times to the nanosecond. Sockets are left out, with a word on stderr. */
int tar_child_pack(struct tar_child *child, const struct tar_what *what, struct err *err);

/* Closes our end and waits. -EIO when tar failed, -EAGAIN when something could not be read and all
 * else is packed; it has said why on stderr. NULL err allowed. */
int tar_child_finish(struct tar_child *child, struct err *err);

#endif
