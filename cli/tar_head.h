/* SPDX-License-Identifier: Apache-2.0 */
/* A look at the beginning of a tar stream: is it a folder or a file that comes? */
#ifndef VOLT_CLI_TAR_HEAD_H
#define VOLT_CLI_TAR_HEAD_H

#include <stddef.h>
#include <stdint.h>

#define TAR_HEAD_BYTES_MAX 65536u /* the first member is within that */

enum tar_head_kind { TAR_HEAD_FILE, TAR_HEAD_DIRECTORY, TAR_HEAD_SYMLINK };

/* Looks at the stream's first bytes (POSIX ustar, GNU and pax long names skipped). 1: *ret_kind is
 * that of the first member; 0: more bytes are needed; -EPROTO: this is no tar stream, or its first
 * member begins behind TAR_HEAD_BYTES_MAX. */
int tar_head_parse(const uint8_t *data, size_t bytes, enum tar_head_kind *ret_kind);

#endif
