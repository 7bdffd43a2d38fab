/* SPDX-License-Identifier: Apache-2.0 */
/* A delta: the clusters of a disk that differ from what lies below it, in one sparse file.
 *
 *   0                 struct disk_delta_header, padded to a cluster
 *   bitmap_offset     one bit a cluster, least significant first: set, the delta has it
 *   data_offset       the clusters, each at data_offset + its place on the disk; holes elsewhere
 *
 * All numbers little-endian. Making one costs the same for every size of disk: a header and a
 * sparse file. Everything in a delta from elsewhere is checked when it is opened; while it is open
 * the file must not be cut by others. */
#ifndef VOLT_VIRTIO_DISK_DELTA_H
#define VOLT_VIRTIO_DISK_DELTA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define DISK_CLUSTER_BYTES 4096u
#define DISK_DELTA_MAGIC 0x31544c44544c4f56ull /* "VOLTDLT1" */
#define DISK_DELTA_VERSION 1u

struct disk_delta_header {
    uint64_t magic;
    uint32_t version;
    uint32_t cluster_bytes; /* DISK_CLUSTER_BYTES */
    uint64_t disk_bytes;
    uint64_t bitmap_offset;
    uint64_t data_offset;
};

struct disk_delta {
    int fd;                /* owned; -1 none */
    uint8_t *bitmap;       /* mapped, shared with the file; of a scratch delta allocated */
    uint64_t bitmap_bytes; /* of the mapping; 0: it is allocated */
    uint64_t cluster_count;
    uint64_t data_offset;
    bool writable;
};

/* Opens the delta in fd (transferred, also on failure) for a disk of disk_bytes. An empty file is
 * made a delta without clusters if it is writable. 0 or -errno with a sentence. */
int disk_delta_open(struct disk_delta *delta, int fd, uint64_t disk_bytes, bool writable,
                    struct err *err);
/* The same of an empty file that nobody reads once it is closed: it gets no header, and its bitmap is
 * in memory. By pwrite and ftruncate alone. */
int disk_delta_open_scratch(struct disk_delta *delta, int fd, uint64_t disk_bytes, struct err *err);
void disk_delta_close(struct disk_delta *delta);

static inline bool disk_delta_has(const struct disk_delta *delta, uint64_t cluster)
{
    return delta->bitmap[cluster / 8] & (1u << (cluster % 8));
}

/* The first cluster at or behind `from` that is there; cluster_count when there is none. */
uint64_t disk_delta_next(const struct disk_delta *delta, uint64_t from);

/* Marks clusters [first, first + count) as there; their data has been written. */
void disk_delta_mark(struct disk_delta *delta, uint64_t first, uint64_t count);

#endif
