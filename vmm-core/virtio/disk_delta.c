/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the file format of deltas; see disk_delta.h. */
#include "virtio/disk_delta.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/util.h"

static_assert(sizeof(struct disk_delta_header) == 40, "delta header layout");

/* The one layout that a disk of this size has. */
static struct disk_delta_header layout_of(uint64_t disk_bytes)
{
    uint64_t clusters = (disk_bytes + DISK_CLUSTER_BYTES - 1) / DISK_CLUSTER_BYTES;

    return (struct disk_delta_header){
        .magic = DISK_DELTA_MAGIC,
        .version = DISK_DELTA_VERSION,
        .cluster_bytes = DISK_CLUSTER_BYTES,
        .disk_bytes = disk_bytes,
        .bitmap_offset = DISK_CLUSTER_BYTES,
        .data_offset = DISK_CLUSTER_BYTES + align_up((clusters + 7) / 8, DISK_CLUSTER_BYTES),
    };
}

static int make(int fd, const struct disk_delta_header *header, struct err *err)
{
    uint64_t bytes = header->data_offset + align_up(header->disk_bytes, DISK_CLUSTER_BYTES);

    if (ftruncate(fd, (off_t)bytes) < 0)
        return err_set_errno(err, errno, "disk delta: sizing it to %llu bytes",
                             (unsigned long long)bytes);
    int rc = pwrite_all(fd, header, sizeof(*header), 0);
    return rc < 0 ? err_set_errno(err, -rc, "disk delta: writing its header") : 0;
}

static int check(int fd, uint64_t file_bytes, const struct disk_delta_header *want, struct err *err)
{
    struct disk_delta_header header;
    int rc = pread_all(fd, &header, sizeof(header), 0);

    if (rc < 0)
        return err_set_errno(err, -rc, "disk delta: reading its header");
    if (header.magic != want->magic)
        return err_set(err, EINVAL, "disk delta: this is no delta: its first 8 bytes are 0x%016llx",
                       (unsigned long long)header.magic);
    if (header.version != want->version || header.cluster_bytes != want->cluster_bytes)
        return err_set(err, EINVAL,
                       "disk delta: version %u with clusters of %u bytes, expected %u and %u",
                       header.version, header.cluster_bytes, want->version, want->cluster_bytes);
    if (header.disk_bytes != want->disk_bytes)
        return err_set(err, EINVAL,
                       "disk delta: made for a disk of %llu bytes, but the base has %llu",
                       (unsigned long long)header.disk_bytes, (unsigned long long)want->disk_bytes);
    if (header.bitmap_offset != want->bitmap_offset || header.data_offset != want->data_offset ||
        file_bytes < header.data_offset + align_up(header.disk_bytes, DISK_CLUSTER_BYTES))
        return err_set(err, EINVAL, "disk delta: damaged, or cut off at %llu bytes",
                       (unsigned long long)file_bytes);
    return 0;
}

static int open_checked(struct disk_delta *delta, uint64_t disk_bytes, struct err *err)
{
    const struct disk_delta_header layout = layout_of(disk_bytes);
    struct stat st;
    int rc;

    if (fstat(delta->fd, &st) < 0)
        return err_set_errno(err, errno, "disk delta");
    if (!S_ISREG(st.st_mode))
        return err_set(err, EINVAL, "disk delta: not a regular file");
    if (st.st_size == 0 && delta->writable)
        rc = make(delta->fd, &layout, err);
    else
        rc = check(delta->fd, (uint64_t)st.st_size, &layout, err);
    if (rc < 0)
        return rc;
    delta->cluster_count = (disk_bytes + DISK_CLUSTER_BYTES - 1) / DISK_CLUSTER_BYTES;
    delta->data_offset = layout.data_offset;
    delta->bitmap_bytes = layout.data_offset - layout.bitmap_offset;
    void *map = mmap(NULL, delta->bitmap_bytes, PROT_READ | (delta->writable ? PROT_WRITE : 0),
                     MAP_SHARED, delta->fd, (off_t)layout.bitmap_offset);
    if (map == MAP_FAILED)
        return err_set_errno(err, errno, "disk delta: mapping its bitmap");
    delta->bitmap = map;
    return 0;
}

int disk_delta_open(struct disk_delta *delta, int fd, uint64_t disk_bytes, bool writable,
                    struct err *err)
{
    *delta = (struct disk_delta){ .fd = fd, .writable = writable };
    int rc = open_checked(delta, disk_bytes, err);
    if (rc < 0)
        disk_delta_close(delta);
    return rc;
}

int disk_delta_open_scratch(struct disk_delta *delta, int fd, uint64_t disk_bytes, struct err *err)
{
    const uint64_t clusters = (disk_bytes + DISK_CLUSTER_BYTES - 1) / DISK_CLUSTER_BYTES;

    *delta = (struct disk_delta){ .fd = fd, .writable = true, .cluster_count = clusters };
    delta->bitmap = calloc(1, clusters / 8 + 1);
    if (delta->bitmap && ftruncate(fd, (off_t)(clusters * DISK_CLUSTER_BYTES)) == 0)
        return 0;
    err_set_errno(err, delta->bitmap ? errno : ENOMEM, "disk delta: making one for %llu bytes",
                  (unsigned long long)disk_bytes);
    disk_delta_close(delta);
    return -err->code;
}

void disk_delta_close(struct disk_delta *delta)
{
    if (delta->bitmap && delta->bitmap_bytes)
        munmap(delta->bitmap, delta->bitmap_bytes);
    else
        free(delta->bitmap);
    delta->bitmap = NULL;
    close_fd(&delta->fd);
}

uint64_t disk_delta_next(const struct disk_delta *delta, uint64_t from)
{
    while (from < delta->cluster_count && !disk_delta_has(delta, from))
        from = delta->bitmap[from / 8] ? from + 1 : (from | 7) + 1;
    return MIN_OF(from, delta->cluster_count);
}

void disk_delta_mark(struct disk_delta *delta, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++)
        delta->bitmap[i / 8] |= (uint8_t)(1u << (i % 8));
}
