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

/* Packs `member` of the folder `dir`, which is named rename_to in the stream, or member if that is
 * NULL. */
int tar_child_pack(struct tar_child *child, const char *dir, const char *member,
                   const char *rename_to, struct err *err);

/* Closes our end and waits. -EIO when tar failed; it has said why on stderr. NULL err allowed. */
int tar_child_finish(struct tar_child *child, struct err *err);

#endif
