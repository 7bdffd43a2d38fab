/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the file `working-set`: a header with a checksum, then the ranges; see workingset.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "snapshot/checksum.h"
#include "snapshot/file.h"
#include "snapshot/workingset.h"

/* Little-endian, at offset 0; range_count struct working_set_range follow. */
struct working_set_header {
    char magic[8];
    uint32_t version;
    uint32_t range_count;
    struct unique_id snapshot_id;
    struct checksum checksum; /* of the whole file with this field zero */
};

_Static_assert(sizeof(struct working_set_header) == 48, "on-disk layout");
_Static_assert(sizeof(struct working_set_range) == 8, "on-disk layout");

#define FILE_BYTES_MAX                                                                             \
    (sizeof(struct working_set_header) + WORKING_SET_RANGES_MAX * sizeof(struct working_set_range))
#define TEMP_NAME "." SNAPSHOT_FILE_WORKING_SET ".tmp"

int working_set_encode(const struct unique_id *snapshot_id, const struct working_set *set,
                       uint8_t **ret_bytes, size_t *ret_len, struct err *err)
{
    struct working_set_header header = { .magic = WORKING_SET_MAGIC,
                                         .version = WORKING_SET_VERSION,
                                         .range_count = set->range_count,
                                         .snapshot_id = *snapshot_id };
    size_t ranges_bytes = set->range_count * sizeof *set->range;
    size_t len = sizeof header + ranges_bytes;
    uint8_t *bytes = malloc(len);

    if (!bytes)
        return err_set_errno(err, ENOMEM, "working-set: %u ranges", set->range_count);
    memcpy(bytes, &header, sizeof header);
    if (ranges_bytes)
        memcpy(bytes + sizeof header, set->range, ranges_bytes);
    header.checksum = checksum_of(bytes, len);
    memcpy(bytes, &header, sizeof header);
    *ret_bytes = bytes;
    *ret_len = len;
    return 0;
}

static int check_header(const uint8_t *bytes, size_t len, const struct unique_id *snapshot_id,
                        struct err *err)
{
    struct working_set_header header, blank;

    if (len < sizeof header)
        return err_set(err, EINVAL, "working-set: %zu bytes, shorter than its header of %zu", len,
                       sizeof header);
    memcpy(&header, bytes, sizeof header);
    if (memcmp(header.magic, WORKING_SET_MAGIC, sizeof header.magic) != 0)
        return err_set(err, EINVAL, "working-set: it does not begin with " WORKING_SET_MAGIC);
    if (header.version != WORKING_SET_VERSION)
        return err_set(err, ENOTSUP, "working-set: version %u, expected %u", header.version,
                       WORKING_SET_VERSION);
    if (!unique_id_equal(&header.snapshot_id, snapshot_id))
        return err_set(err, EINVAL, "working-set: belongs to another snapshot");
    if (header.range_count > WORKING_SET_RANGES_MAX ||
        len != sizeof header + header.range_count * sizeof(struct working_set_range))
        return err_set(err, EINVAL, "working-set: %zu bytes do not hold %u ranges", len,
                       header.range_count);
    blank = header;
    memset(&blank.checksum, 0, sizeof blank.checksum);
    _cleanup_free_ uint8_t *copy = malloc(len);
    if (!copy)
        return err_set_errno(err, ENOMEM, "working-set: checking %zu bytes", len);
    memcpy(copy, bytes, len);
    memcpy(copy, &blank, sizeof blank);
    struct checksum sum = checksum_of(copy, len);
    if (!checksum_equal(&sum, &header.checksum))
        return err_set(err, EINVAL, "working-set: its checksum does not match: altered");
    return 0;
}

static int check_ranges(const struct working_set *set, uint64_t page_count, struct err *err)
{
    uint64_t end = 0;

    for (uint32_t i = 0; i < set->range_count; i++) {
        uint64_t page = set->range[i].page, count = set->range[i].count & ~WORKING_SET_WRITTEN;

        if (page < end || count == 0 || page + count > page_count)
            return err_set(err, EINVAL,
                           "working-set: range %u: %llu pages at page %llu, expected within %llu "
                           "to %llu",
                           i, (unsigned long long)count, (unsigned long long)page,
                           (unsigned long long)end, (unsigned long long)page_count);
        end = page + count;
    }
    return 0;
}

int working_set_decode(const uint8_t *bytes, size_t len, const struct unique_id *snapshot_id,
                       uint64_t ram_bytes, struct working_set *ret_set, struct err *err)
{
    struct working_set set = { 0 };
    int rc = check_header(bytes, len, snapshot_id, err);

    if (rc < 0)
        return rc;
    size_t ranges_bytes = len - sizeof(struct working_set_header);
    set.range_count = (uint32_t)(ranges_bytes / sizeof *set.range);
    set.range = malloc(MAX_OF(ranges_bytes, 1));
    if (!set.range)
        return err_set_errno(err, ENOMEM, "working-set: %u ranges", set.range_count);
    memcpy(set.range, bytes + sizeof(struct working_set_header), ranges_bytes);
    rc = check_ranges(&set, ram_bytes / HOST_PAGE_BYTES, err);
    if (rc < 0)
        working_set_fini(&set);
    else
        *ret_set = set;
    return rc;
}

int working_set_load(int dirfd, const struct unique_id *snapshot_id, uint64_t ram_bytes,
                     struct working_set *ret_set, struct err *err)
{
    _cleanup_free_ uint8_t *bytes = NULL;
    size_t len;
    int rc =
        snapshot_file_read(dirfd, SNAPSHOT_FILE_WORKING_SET, FILE_BYTES_MAX, &bytes, &len, err);

    return rc < 0 ? rc : working_set_decode(bytes, len, snapshot_id, ram_bytes, ret_set, err);
}

int working_set_read(int fd, const struct unique_id *snapshot_id, uint64_t ram_bytes,
                     struct working_set *ret_set, struct err *err)
{
    _cleanup_free_ uint8_t *bytes = NULL;
    struct stat file;

    if (fstat(fd, &file) < 0)
        return err_set_errno(err, errno, "working-set: looking at it");
    if (!S_ISREG(file.st_mode) || file.st_size < 1 || (uint64_t)file.st_size > FILE_BYTES_MAX)
        return err_set(err, EINVAL, "working-set: not a regular file of at most %zu bytes",
                       FILE_BYTES_MAX);
    bytes = malloc((size_t)file.st_size);
    if (!bytes)
        return err_set_errno(err, ENOMEM, "working-set: %lld bytes", (long long)file.st_size);
    int rc = pread_all(fd, bytes, (size_t)file.st_size, 0);
    if (rc < 0)
        return err_set_errno(err, -rc, "working-set: reading it");
    return working_set_decode(bytes, (size_t)file.st_size, snapshot_id, ram_bytes, ret_set, err);
}

int working_set_store(int dirfd, const struct unique_id *snapshot_id, const struct working_set *set,
                      struct err *err)
{
    _cleanup_free_ uint8_t *bytes = NULL;
    size_t len;
    int rc = working_set_encode(snapshot_id, set, &bytes, &len, err);

    if (rc < 0)
        return rc;
    unlinkat(dirfd, TEMP_NAME, 0); /* what a crash may have left */
    rc = snapshot_file_create(dirfd, TEMP_NAME, bytes, len, err);
    if (rc == 0 && renameat(dirfd, TEMP_NAME, dirfd, SNAPSHOT_FILE_WORKING_SET) < 0)
        rc = err_set_errno(err, errno, "working-set: putting it in place");
    if (rc < 0) {
        unlinkat(dirfd, TEMP_NAME, 0);
        return rc;
    }
    return fsync(dirfd) < 0 ? err_set_errno(err, errno, "working-set: writing it to disk") : 0;
}
