/* SPDX-License-Identifier: Apache-2.0 */
/* A look at the beginning of a tar stream: is it a folder, a file or a link that comes? */
#ifndef VOLT_CLI_TAR_HEAD_H
#define VOLT_CLI_TAR_HEAD_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#define TAR_HEAD_BYTES_MAX 65536u /* the first member is within that */

enum tar_head_kind { TAR_HEAD_FILE, TAR_HEAD_DIRECTORY, TAR_HEAD_SYMLINK };

struct tar_head {
    enum tar_head_kind kind;
    char link[PATH_MAX]; /* what a TAR_HEAD_SYMLINK says, not empty */
};

/* Looks at the stream's first bytes (POSIX ustar; GNU long links and pax linkpath are read, other
 * such headers skipped). 1: *ret_head is that of the first member; 0: more bytes are needed; -EPROTO:
 * this is no tar stream, or its first member begins behind TAR_HEAD_BYTES_MAX. */
int tar_head_parse(const uint8_t *data, size_t bytes, struct tar_head *ret_head);

#endif
