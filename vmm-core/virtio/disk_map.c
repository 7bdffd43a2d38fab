/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the reading of disk maps; see disk_map.h. */
#include "virtio/disk_map.h"

#include <assert.h>
#include <errno.h>
#include <sys/stat.h>

#include "base/util.h"

static_assert(sizeof(struct disk_map_header) == 56, "disk map layout");
static_assert(sizeof(struct disk_map_entry) == 8, "disk map layout");

static int read_header(struct disk_map *map, int map_fd, uint32_t file_count, struct err *err)
{
    struct disk_map_header header;
    int rc = pread_all(map_fd, &header, sizeof header, 0);

    if (rc < 0)
        return err_set_errno(err, -rc, "disk map: reading its header");
    if (header.magic != DISK_MAP_MAGIC || header.version != DISK_MAP_VERSION)
        return err_set(err, EINVAL, "disk map: this is none, or one of another build");
    if (header.file_count != file_count || file_count > DISK_MAP_FILES_MAX)
        return err_set(err, EINVAL, "disk map: for %u files, but %u came with it",
                       header.file_count, file_count);
    /* Before it is rounded up, which must not overflow. */
    if (header.disk_bytes == 0 || header.disk_bytes % 512 ||
        header.disk_bytes > (uint64_t)DISK_MAP_CHUNKS_MAX * DISK_MAP_CHUNK_BYTES)
        return err_set(err, EINVAL, "disk map: for a disk of %llu bytes, expected up to 64 GiB",
                       (unsigned long long)header.disk_bytes);
    map->disk_bytes = header.disk_bytes;
    map->chunk_count = (uint32_t)((header.disk_bytes - 1) / DISK_MAP_CHUNK_BYTES + 1);
    for (unsigned i = 0; i < sizeof map->id; i++)
        map->id[i] = header.id[i];
    return 0;
}

static int read_entries(struct disk_map *map, int map_fd, struct err *err)
{
    size_t bytes = map->chunk_count * sizeof *map->entry;
    int rc;

    map->entry = malloc(bytes);
    rc =
        map->entry ? pread_all(map_fd, map->entry, bytes, sizeof(struct disk_map_header)) : -ENOMEM;
    return rc < 0 ? err_set_errno(err, -rc, "disk map: reading its %u entries", map->chunk_count)
                  : 0;
}

/* Every entry leads into a file that has its slot. */
static int check_entries(const struct disk_map *map, struct err *err)
{
    uint64_t slots[DISK_MAP_FILES_MAX];

    for (uint32_t i = 0; i < map->file_count; i++) {
        struct stat st;

        if (fstat(map->fd[i], &st) < 0)
            return err_set_errno(err, errno, "disk map: file %u", i);
        slots[i] = S_ISREG(st.st_mode) ? (uint64_t)st.st_size / DISK_MAP_CHUNK_BYTES : 0;
    }
    for (uint32_t i = 0; i < map->chunk_count; i++) {
        const struct disk_map_entry *entry = &map->entry[i];

        if (entry->file == DISK_MAP_ZEROES)
            continue;
        if (entry->file >= map->file_count || entry->slot >= slots[entry->file])
            return err_set(err, EINVAL, "disk map: chunk %u is missing: slot %u of file %u", i,
                           entry->slot, entry->file);
    }
    return 0;
}

int disk_map_open(struct disk_map *map, int map_fd, const int *fds, uint32_t file_count,
                  struct err *err)
{
    *map = (struct disk_map){ .file_count = MIN_OF(file_count, DISK_MAP_FILES_MAX) };
    for (uint32_t i = 0; i < map->file_count; i++)
        map->fd[i] = fds[i];
    int rc = read_header(map, map_fd, file_count, err);
    if (rc == 0)
        rc = read_entries(map, map_fd, err);
    if (rc == 0)
        rc = check_entries(map, err);
    if (rc < 0)
        disk_map_close(map);
    return rc;
}

void disk_map_close(struct disk_map *map)
{
    for (uint32_t i = 0; i < map->file_count; i++)
        close_fd(&map->fd[i]);
    map->file_count = 0;
    free_pointer(&map->entry);
}
