/* SPDX-License-Identifier: Apache-2.0 */
/* A disk: a base (a raw file or block device, or the chunks of a disk map) and, above it, up to
 * DISK_DELTAS_MAX deltas. Reads come
 * from the highest layer that has the cluster. With deltas, writes go to the topmost one and the
 * base is never written; so any number of disks can share a base, and a delta of a snapshot can be
 * the middle layer of all its clones.
 *
 * One thread at a time. */
#ifndef VOLT_VIRTIO_DISK_H
#define VOLT_VIRTIO_DISK_H

#include <sys/uio.h>

#include "virtio/disk_delta.h"
#include "virtio/disk_map.h"

#define DISK_SECTOR_BYTES 512u
#define DISK_DELTAS_MAX 3u

struct disk_config {
    int base_fd;                   /* -1 with a map */
    const struct disk_map *map;    /* borrowed: outlives the disk; NULL: the base is base_fd */
    int delta_fd[DISK_DELTAS_MAX]; /* lowest first; the last one is written unless read_only */
    unsigned delta_count;
    bool read_only;
    /* For a thread that may neither ask files for their size nor map them: the base's size, and the last
     * delta is an empty file that nobody reads afterwards. 0: asked for, and mapped. */
    uint64_t scratch_bytes;
};

struct disk {
    int base_fd; /* owned */
    const struct disk_map *map;
    uint64_t bytes; /* a multiple of DISK_SECTOR_BYTES */
    bool read_only;
    struct disk_delta delta[DISK_DELTAS_MAX];
    unsigned delta_count;
};

/* Opens a disk; all fds are transferred, also on failure. A map is written only through a delta.
 * Another base must be a file or block device
 * of at least one sector; bytes beyond its last whole sector are left out. 0 or -errno with a
 * sentence; disk_close is fine on a failed or zeroed one with base_fd -1. */
int disk_open(struct disk *disk, const struct disk_config *config, struct err *err);
void disk_close(struct disk *disk);

/* A disk without a sector, whose every transfer fails. */
#define DISK_EMPTY                                                                                 \
    (struct disk)                                                                                  \
    {                                                                                              \
        .base_fd = -1, .read_only = true                                                           \
    }

/* Transfers the bytes of the iovecs (all of them: `bytes`, at most IOV_MAX) at `offset`. The range
 * must lie within the disk. `iov` is used up. 0 or -errno; -EIO where the base is shorter than it
 * was; -EROFS. */
int disk_read(struct disk *disk, struct iovec *iov, unsigned iov_count, uint64_t offset,
              uint32_t bytes);
int disk_write(struct disk *disk, struct iovec *iov, unsigned iov_count, uint64_t offset,
               uint32_t bytes);

/* Makes a range read as zeroes; with unmap, giving its storage back where that is possible. Adds to
 * *written the bytes that had to be written for it. */
int disk_zero(struct disk *disk, uint64_t offset, uint64_t bytes, bool unmap, uint64_t *written);

/* All writes so far are on stable storage. */
int disk_flush(struct disk *disk);

#endif
