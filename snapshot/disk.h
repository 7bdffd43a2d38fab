/* SPDX-License-Identifier: Apache-2.0 */
/* The disk of a snapshot: what identifies its base, and the digest of what the VM had written to
 * it. */
#ifndef VOLT_SNAPSHOT_DISK_H
#define VOLT_SNAPSHOT_DISK_H

#include <stdint.h>

#include "base/err.h"
#include "snapshot/digest.h"
#include "snapshot/manifest.h"

/* What a base was like when the snapshot was taken: its size in bytes, and its mtime if it is a
 * file (0 for a block device); ret_modified_ns may be NULL. 0 or -errno. */
int snapshot_disk_describe(int fd, uint64_t *ret_bytes, uint64_t *ret_modified_ns, struct err *err);

/* The digest of a delta's contents (virtio/disk_delta.h): of its clusters and where they are, not
 * of how the file is laid out. fd is borrowed. Reads all of them. 0 or -errno: a damaged delta. */
int snapshot_disk_digest(int fd, uint64_t disk_bytes, struct digest *ret_digest, struct err *err);

/* Opens the delta that the manifest speaks of, and checks its digest: reads all of it. *ret_fd is
 * read-only, the caller's. 0 or -errno with a sentence that begins with "disk". */
int snapshot_disk_open(int dirfd, const struct manifest *manifest, int *ret_fd, struct err *err);

#endif
