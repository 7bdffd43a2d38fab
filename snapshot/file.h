/* SPDX-License-Identifier: Apache-2.0 */
/* The one way snapshot files are opened, and the names in a snapshot's directory. */
#ifndef VOLT_SNAPSHOT_FILE_H
#define VOLT_SNAPSHOT_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define SNAPSHOT_FILE_MANIFEST "manifest.json"
#define SNAPSHOT_FILE_STATE "state"
#define SNAPSHOT_FILE_MEMORY "memory.img"
#define SNAPSHOT_FILE_MEMORY_DIGESTS "memory.digests"
#define SNAPSHOT_FILE_DISK "disk"               /* only of a VM that could write its disk */
#define SNAPSHOT_FILE_WORKING_SET "working-set" /* optional */

/* Opens dirfd/name for reading (O_NOFOLLOW, O_NONBLOCK, O_CLOEXEC) and refuses what is not a
 * regular file of ours (effective uid) that nobody else can write, or that is not between
 * min_bytes and max_bytes long. 0 with *ret_fd and *ret_bytes, or -errno; the sentence starts with
 * the name. -EINVAL for a wrong kind, owner, mode or size. */
int snapshot_file_open(int dirfd, const char *name, uint64_t min_bytes, uint64_t max_bytes,
                       int *ret_fd, uint64_t *ret_bytes, struct err *err);

/* Opens and reads a whole file of at most max_bytes. *ret_bytes is malloc'ed, with a NUL behind its
 * end that *ret_len does not count. */
int snapshot_file_read(int dirfd, const char *name, uint64_t max_bytes, uint8_t **ret_bytes,
                       size_t *ret_len, struct err *err);

/* Creates dirfd/name (O_EXCL, mode 0600), writes it whole, and fsyncs it. */
int snapshot_file_create(int dirfd, const char *name, const void *bytes, size_t len,
                         struct err *err);

#endif
