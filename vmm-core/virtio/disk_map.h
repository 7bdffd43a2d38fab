/* SPDX-License-Identifier: Apache-2.0 */
/* A disk map: which chunk of a disk lies in which slot of which file. It is how a VM, which can
 * open nothing by name, reads a disk whose chunks are shared with others: it gets the map and the
 * few files as open descriptors, and the chunks come through the host's page cache, once for all
 * VMs.
 *
 * A map file is a header and an entry for each chunk, in the host's byte order: poold makes it in
 * memory for processes of its own build. It is checked all the same. */
#ifndef VOLT_VIRTIO_DISK_MAP_H
#define VOLT_VIRTIO_DISK_MAP_H

#include <stdint.h>

#include "base/err.h"

#define DISK_MAP_MAGIC 0x3150414d544c4f56ull /* "VOLTMAP1" */
#define DISK_MAP_VERSION 2u
#define DISK_MAP_CHUNK_BYTES (2u << 20)
#define DISK_MAP_CHUNKS_MAX 32768u
#define DISK_MAP_FILES_MAX 16u
#define DISK_MAP_ID_BYTES 32u
#define DISK_MAP_ZEROES UINT32_MAX /* disk_map_entry.file: nothing but zeroes */

struct disk_map_header {
    uint64_t magic;
    uint32_t version;
    uint32_t file_count;
    uint64_t disk_bytes;
    uint8_t id[DISK_MAP_ID_BYTES]; /* of the contents: the image's digest */
};

struct disk_map_entry {
    uint32_t file, slot;
};

/* Once opened it never changes; clones inherit it over fork. */
struct disk_map {
    uint64_t disk_bytes;
    uint8_t id[DISK_MAP_ID_BYTES];
    uint32_t chunk_count, file_count;
    struct disk_map_entry *entry; /* owned */
    int fd[DISK_MAP_FILES_MAX];   /* owned */
};

/* Reads the map in map_fd (borrowed), whose files are fds[0..file_count) (transferred, also on
 * failure): each must be long enough for its slots. 0 or -errno with a sentence. */
int disk_map_open(struct disk_map *map, int map_fd, const int *fds, uint32_t file_count,
                  struct err *err);
void disk_map_close(struct disk_map *map);

#endif
