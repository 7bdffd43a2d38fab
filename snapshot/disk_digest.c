/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the digest of a delta; see disk.h. */
#include <errno.h>
#include <fcntl.h>

#include "base/util.h"
#include "snapshot/disk.h"
#include "snapshot/file.h"
#include "virtio/disk_delta.h"

/* Everything that is digested has a fixed size, so no two deltas give the same bytes. */
static int digest_clusters(const struct disk_delta *delta, struct digest *ret_digest)
{
    struct {
        uint64_t number;
        uint8_t bytes[DISK_CLUSTER_BYTES];
    } cluster;
    struct digest_work work;
    int rc = 0;

    digest_start(&work);
    digest_add(&work, &delta->cluster_count, sizeof delta->cluster_count);
    for (uint64_t i = disk_delta_next(delta, 0); i < delta->cluster_count && rc == 0;
         i = disk_delta_next(delta, i + 1)) {
        cluster.number = i;
        rc = pread_all(delta->fd, cluster.bytes, sizeof cluster.bytes,
                       delta->data_offset + i * sizeof cluster.bytes);
        digest_add(&work, &cluster, sizeof cluster);
    }
    *ret_digest = digest_end(&work);
    return rc;
}

int snapshot_disk_digest(int fd, uint64_t disk_bytes, struct digest *ret_digest, struct err *err)
{
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    struct disk_delta delta;

    if (own < 0)
        return err_set_errno(err, errno, "disk");
    int rc = disk_delta_open(&delta, own, disk_bytes, false, err);
    if (rc < 0)
        return rc;
    rc = digest_clusters(&delta, ret_digest);
    if (rc < 0)
        err_set_errno(err, -rc, "disk: reading the delta");
    disk_delta_close(&delta);
    return rc;
}

int snapshot_disk_open(int dirfd, const struct manifest *manifest, int *ret_fd, struct err *err)
{
    _cleanup_close_ int fd = -1;
    struct digest digest;
    uint64_t size;
    int rc = snapshot_file_open(dirfd, SNAPSHOT_FILE_DISK, 1, INT64_MAX, &fd, &size, err);

    if (rc == 0)
        rc = snapshot_disk_digest(fd, manifest->disk_bytes, &digest, err);
    if (rc == 0 && !digest_equal(&digest, &manifest->disk_delta))
        rc =
            err_set(err, EINVAL,
                    "disk: damaged: its digest is not the one that manifest.json says; make the "
                    "snapshot again (of a pool: delete and create it), or put the file back from a "
                    "copy");
    if (rc == 0)
        *ret_fd = take_fd(&fd);
    return rc;
}
