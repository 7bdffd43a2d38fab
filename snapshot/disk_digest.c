/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the digest of a delta; see disk.h.
 *
 * A row is a cluster's number and digest. Rows are digested a batch at a time, each batch beginning
 * with the digest of those before it, so memory stays small however large the disk. */
#include <errno.h>
#include <fcntl.h>

#include "base/util.h"
#include "snapshot/disk.h"
#include "virtio/disk_delta.h"

#define ROWS 4096u

struct row {
    uint64_t cluster;
    struct digest digest;
};

static void fold(struct row *rows, uint32_t *count)
{
    rows[0] = (struct row){ *count, digest_of(rows, *count * sizeof *rows) };
    *count = 1;
}

static int digest_clusters(const struct disk_delta *delta, struct row *rows,
                           struct digest *ret_digest)
{
    uint8_t bytes[DISK_CLUSTER_BYTES];
    uint32_t count = 1;
    int rc = 0;

    rows[0] = (struct row){ .cluster = delta->cluster_count };
    for (uint64_t i = 0; i < delta->cluster_count && rc == 0; i++) {
        if (i % 8 == 0 && delta->bitmap[i / 8] == 0) {
            i += 7;
            continue;
        }
        if (!disk_delta_has(delta, i))
            continue;
        rc = pread_all(delta->fd, bytes, sizeof bytes, delta->data_offset + i * sizeof bytes);
        rows[count++] = (struct row){ i, digest_of(bytes, sizeof bytes) };
        if (count == ROWS)
            fold(rows, &count);
    }
    fold(rows, &count);
    *ret_digest = rows[0].digest;
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
    _cleanup_free_ struct row *rows = calloc(ROWS, sizeof *rows);
    rc = rows ? digest_clusters(&delta, rows, ret_digest) : -ENOMEM;
    if (rc < 0)
        err_set_errno(err, -rc, "disk: reading the delta");
    disk_delta_close(&delta);
    return rc;
}
