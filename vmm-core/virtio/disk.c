/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the layers of a disk; see disk.h.
 *
 * A write to a delta puts the data first and marks the clusters after it; a cluster that is only
 * written in part is completed from below first. A VMM that dies in between loses that one write,
 * and nothing else.
 */
#include "virtio/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/util.h"

#define BASE_LAYER (-1)

/* ---- Opening. ---- */

static int base_size(const struct disk_config *config, uint64_t *ret_bytes, struct err *err)
{
    int fd = config->base_fd;
    struct stat st;

    if (config->map) {
        *ret_bytes = config->map->disk_bytes;
        return config->read_only || config->delta_count
                   ? 0
                   : err_set(err, EINVAL, "disk image: it is read-only and there is no delta");
    }
    if (config->scratch_bytes) {
        *ret_bytes = config->scratch_bytes;
        return 0;
    }
    if (fstat(fd, &st) < 0)
        return err_set_errno(err, errno, "disk image");
    if (S_ISREG(st.st_mode))
        *ret_bytes = (uint64_t)st.st_size;
    else if (!S_ISBLK(st.st_mode))
        return err_set(err, EINVAL, "disk image: neither a regular file nor a block device");
    else if (ioctl(fd, BLKGETSIZE64, ret_bytes) < 0)
        return err_set_errno(err, errno, "disk image: asking for the block device's size");
    *ret_bytes -= *ret_bytes % DISK_SECTOR_BYTES;
    if (*ret_bytes == 0)
        return err_set(err, EINVAL,
                       "disk image: too small, it has less than one sector of %u bytes",
                       DISK_SECTOR_BYTES);
    return 0;
}

int disk_open(struct disk *disk, const struct disk_config *config, struct err *err)
{
    *disk = (struct disk){ .base_fd = config->base_fd,
                           .map = config->map,
                           .read_only = config->read_only };
    int rc = base_size(config, &disk->bytes, err);

    for (unsigned i = 0; i < config->delta_count; i++) {
        bool writable = i + 1 == config->delta_count && !config->read_only;
        int fd = config->delta_fd[i];

        if (rc == 0 && config->scratch_bytes && writable)
            rc = disk_delta_open_scratch(&disk->delta[i], fd, disk->bytes, err);
        else if (rc == 0)
            rc = disk_delta_open(&disk->delta[i], fd, disk->bytes, writable, err);
        else
            close_fd(&fd);
        disk->delta_count += rc == 0;
    }
    if (rc < 0)
        disk_close(disk);
    return rc;
}

void disk_close(struct disk *disk)
{
    for (unsigned i = 0; i < disk->delta_count; i++)
        disk_delta_close(&disk->delta[i]);
    disk->delta_count = 0;
    close_fd(&disk->base_fd);
}

/* ---- Whole transfers. ---- */

/* Drops the first n bytes of the iovecs. */
static void advance(struct iovec **iov, unsigned *iov_count, size_t n)
{
    while (n > 0 && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        ++*iov;
        --*iov_count;
    }
    if (n > 0) {
        (*iov)->iov_base = (uint8_t *)(*iov)->iov_base + n;
        (*iov)->iov_len -= n;
    }
}

/* Zeroes exactly `bytes` of the iovecs, which are advanced past them. */
static void clear(struct iovec **iov, unsigned *iov_count, uint64_t bytes)
{
    while (bytes > 0) {
        size_t n = MIN_OF((*iov)->iov_len, bytes);

        memset((*iov)->iov_base, 0, n);
        advance(iov, iov_count, n);
        bytes -= n;
    }
}

/* Transfers exactly `bytes` of the iovecs, which are advanced past them. */
static int transfer(int fd, struct iovec **iov, unsigned *iov_count, uint64_t offset,
                    uint64_t bytes, bool write)
{
    while (bytes > 0) {
        /* The iovec in which the range ends is cut for the call. */
        uint64_t before = 0;
        unsigned count = 0;

        while (before + (*iov)[count].iov_len < bytes)
            before += (*iov)[count++].iov_len;
        size_t whole = (*iov)[count].iov_len;
        (*iov)[count].iov_len = bytes - before;
        ssize_t n = write ? pwritev(fd, *iov, (int)count + 1, (off_t)offset)
                          : preadv(fd, *iov, (int)count + 1, (off_t)offset);
        (*iov)[count].iov_len = whole;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        advance(iov, iov_count, (size_t)n);
        offset += (uint64_t)n;
        bytes -= (uint64_t)n;
    }
    return 0;
}

/* ---- Layers. ---- */

static int layer_of(const struct disk *disk, uint64_t cluster)
{
    for (unsigned i = disk->delta_count; i-- > 0;) {
        if (disk_delta_has(&disk->delta[i], cluster))
            return (int)i;
    }
    return BASE_LAYER;
}

/* The file that has the range at *offset, and where: -1, it is zeroes. */
static int layer_fd(const struct disk *disk, int layer, uint64_t *offset)
{
    if (layer == BASE_LAYER && disk->map) {
        const struct disk_map_entry *entry = &disk->map->entry[*offset / DISK_MAP_CHUNK_BYTES];

        *offset = (uint64_t)entry->slot * DISK_MAP_CHUNK_BYTES + *offset % DISK_MAP_CHUNK_BYTES;
        return entry->file == DISK_MAP_ZEROES ? -1 : disk->map->fd[entry->file];
    }
    if (layer == BASE_LAYER)
        return disk->base_fd;
    *offset += disk->delta[layer].data_offset;
    return disk->delta[layer].fd;
}

/* The end of the run of clusters that one layer has in one piece, from offset to at most end. */
static uint64_t run_end(const struct disk *disk, int layer, uint64_t offset, uint64_t end)
{
    uint64_t at = (offset / DISK_CLUSTER_BYTES + 1) * DISK_CLUSTER_BYTES;

    if (layer == BASE_LAYER && disk->map)
        end = MIN_OF(end, (offset / DISK_MAP_CHUNK_BYTES + 1) * DISK_MAP_CHUNK_BYTES);
    while (at < end && layer_of(disk, at / DISK_CLUSTER_BYTES) == layer)
        at += DISK_CLUSTER_BYTES;
    return MIN_OF(at, end);
}

int disk_read(struct disk *disk, struct iovec *iov, unsigned iov_count, uint64_t offset,
              uint32_t bytes)
{
    uint64_t end = offset + bytes;
    int rc = 0;

    while (rc == 0 && offset < end) {
        int layer = layer_of(disk, offset / DISK_CLUSTER_BYTES);
        uint64_t to = run_end(disk, layer, offset, end), at = offset;
        int fd = layer_fd(disk, layer, &at);

        if (fd < 0)
            clear(&iov, &iov_count, to - offset);
        else
            rc = transfer(fd, &iov, &iov_count, at, to - offset, false);
        offset = to;
    }
    return rc;
}

/* Brings the cluster that offset is in up to the top, if offset is within it. */
static int complete_cluster(struct disk *disk, uint64_t offset)
{
    struct disk_delta *top = &disk->delta[disk->delta_count - 1];
    uint64_t cluster = offset / DISK_CLUSTER_BYTES, at = cluster * DISK_CLUSTER_BYTES;
    uint8_t buffer[DISK_CLUSTER_BYTES] = { 0 };

    if (offset % DISK_CLUSTER_BYTES == 0 || offset >= disk->bytes || disk_delta_has(top, cluster))
        return 0;
    uint32_t bytes = (uint32_t)MIN_OF(DISK_CLUSTER_BYTES, disk->bytes - at);
    struct iovec iov = { .iov_base = buffer, .iov_len = bytes };
    int rc = disk_read(disk, &iov, 1, at, bytes);
    if (rc == 0)
        rc = pwrite_all(top->fd, buffer, bytes, top->data_offset + at);
    if (rc == 0)
        disk_delta_mark(top, cluster, 1);
    return rc;
}

/* Readies the top delta for a write of [offset, end): its first and last cluster are complete. */
static int complete_edges(struct disk *disk, uint64_t offset, uint64_t end)
{
    int rc = complete_cluster(disk, offset);

    return rc == 0 ? complete_cluster(disk, end) : rc;
}

static void mark_range(struct disk_delta *top, uint64_t offset, uint64_t end)
{
    uint64_t first = offset / DISK_CLUSTER_BYTES;

    disk_delta_mark(top, first, (end + DISK_CLUSTER_BYTES - 1) / DISK_CLUSTER_BYTES - first);
}

int disk_write(struct disk *disk, struct iovec *iov, unsigned iov_count, uint64_t offset,
               uint32_t bytes)
{
    if (disk->read_only)
        return -EROFS;
    if (disk->delta_count == 0)
        return transfer(disk->base_fd, &iov, &iov_count, offset, bytes, true);
    struct disk_delta *top = &disk->delta[disk->delta_count - 1];
    int rc = complete_edges(disk, offset, offset + bytes);
    if (rc == 0)
        rc = transfer(top->fd, &iov, &iov_count, top->data_offset + offset, bytes, true);
    if (rc == 0)
        mark_range(top, offset, offset + bytes);
    return rc;
}

/* ---- Zeroes. ---- */

static int write_zeroes(int fd, uint64_t offset, uint64_t bytes)
{
    static uint8_t zeroes[65536]; /* not const: .bss takes no room in the file */
    int rc = 0;

    for (uint64_t n; rc == 0 && bytes > 0; offset += n, bytes -= n) {
        n = MIN_OF(bytes, sizeof(zeroes));
        rc = pwrite_all(fd, zeroes, n, offset);
    }
    return rc;
}

static int zero_file(int fd, uint64_t offset, uint64_t bytes, bool unmap, uint64_t *written)
{
    if (unmap &&
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes) == 0)
        return 0;
    *written += bytes;
    return write_zeroes(fd, offset, bytes);
}

int disk_zero(struct disk *disk, uint64_t offset, uint64_t bytes, bool unmap, uint64_t *written)
{
    if (disk->read_only)
        return -EROFS;
    if (bytes == 0)
        return 0;
    if (disk->delta_count == 0)
        return zero_file(disk->base_fd, offset, bytes, unmap, written);
    struct disk_delta *top = &disk->delta[disk->delta_count - 1];
    int rc = complete_edges(disk, offset, offset + bytes);
    if (rc == 0)
        rc = zero_file(top->fd, top->data_offset + offset, bytes, unmap, written);
    if (rc == 0)
        mark_range(top, offset, offset + bytes);
    return rc;
}

int disk_flush(struct disk *disk)
{
    int fd = disk->delta_count ? disk->delta[disk->delta_count - 1].fd : disk->base_fd;

    if (disk->read_only)
        return 0;
    return fdatasync(fd) < 0 ? -errno : 0; /* of the mapped bitmap, too: the same file's pages */
}
