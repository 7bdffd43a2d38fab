/* SPDX-License-Identifier: Apache-2.0 */
/* The host's tar as a child of ours, packing into a pipe or unpacking from one. */
#ifndef VOLT_CLI_TAR_CHILD_H
#define VOLT_CLI_TAR_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct tar_child {
    pid_t pid; /* 0: none */
    int fd;    /* packing: read the stream from it; unpacking: write it there */
};

/* Packs `member` of the folder `dir`, which is named rename_to in the stream, or member if that is
 * NULL. */
int tar_child_pack(struct tar_child *child, const char *dir, const char *member,
                   const char *rename_to, struct err *err);

/* Unpacks into `dir` what is called `member` in the stream, and nothing else ("." takes all).
 * rename_to as above; with strip the folder that is at the stream's top is not made, only what is
 * in it. The stream is not trusted: nothing is written outside dir, owners, set-id bits and device
 * nodes are not taken over. */
int tar_child_unpack(struct tar_child *child, const char *dir, const char *member,
                     const char *rename_to, bool strip, struct err *err);

/* Writes to the child. -EPIPE when it ended early: tar_child_finish tells why. */
int tar_child_write(struct tar_child *child, const void *data, size_t bytes);

/* Closes our end and waits. -EIO when tar failed; it has said why on stderr. NULL err allowed. */
int tar_child_finish(struct tar_child *child, struct err *err);

#endif
