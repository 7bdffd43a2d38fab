/* SPDX-License-Identifier: Apache-2.0 */
/* Which file system a file holds, by its superblock. Any thread. */
#ifndef VOLT_SNAPSHOT_FILESYSTEM_H
#define VOLT_SNAPSHOT_FILESYSTEM_H

#include <stdint.h>

#define FILESYSTEM_HEAD_BYTES 4096u /* the superblock is in there */

/* "erofs" or "ext4", NULL for anything else. head: the file's first bytes, zeroes behind its end.
 * *ret_bytes: how large it says that it is, which may be anything. */
const char *filesystem_kind(const uint8_t head[FILESYSTEM_HEAD_BYTES], uint64_t *ret_bytes);

#endif
