/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the checking of a snapshot's files of format version 1; see format_v1.h. */
#include "snapshot/upgrade/format_v1.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>

#include "base/util.h"
#include "snapshot/manifest_table.h"
#include "virtio/disk_delta.h"

#define ROWS 4096u /* of a delta, before they are folded into one */

bool v1_matches(const struct digest *in_manifest, const struct checksum *sum)
{
    struct digest digest = digest_from_checksum(sum);

    return digest_equal(&digest, in_manifest);
}

/* ---- memory.img ---- */

static uint32_t chunk_count(uint64_t memory_bytes)
{
    return (uint32_t)(memory_bytes / V1_CHUNK_BYTES);
}

static size_t tail_bytes(uint64_t memory_bytes)
{
    return align_up(sizeof(struct v1_footer) + chunk_count(memory_bytes) * sizeof(struct checksum),
                    HOST_PAGE_BYTES);
}

uint64_t v1_memory_file_bytes(uint64_t memory_bytes)
{
    return memory_bytes + tail_bytes(memory_bytes);
}

static int check_tail(const uint8_t *tail, const struct manifest *m, struct err *err)
{
    const size_t table_bytes = chunk_count(m->memory_bytes) * sizeof(struct checksum);
    struct v1_footer footer;

    memcpy(&footer, tail, sizeof footer);
    struct checksum own = checksum_of(&footer, offsetof(struct v1_footer, footer));
    struct checksum table = checksum_of(tail + sizeof footer, table_bytes);
    if (memcmp(footer.magic, V1_FOOTER_MAGIC, sizeof footer.magic) != 0 ||
        !checksum_equal(&own, &footer.footer) || !checksum_equal(&table, &footer.table) ||
        footer.chunk_bytes != V1_CHUNK_BYTES || footer.memory_bytes != m->memory_bytes)
        return err_set(err, EINVAL, "memory.img: its footer is damaged");
    if (!unique_id_equal(&footer.snapshot_id, &m->id) || !v1_matches(&m->memory_digest, &table))
        return err_set(err, EINVAL, "memory.img: belongs to another snapshot");
    return 0;
}

static int check_chunks(int fd, const struct checksum *expected, const struct manifest *m,
                        const struct upgrade_log *log, struct upgrade_step *step, struct err *err)
{
    _cleanup_free_ uint8_t *buffer = malloc(V1_CHUNK_BYTES);

    if (!buffer)
        return err_set_errno(err, ENOMEM, "memory.img");
    for (uint32_t i = 0; i < chunk_count(m->memory_bytes); i++) {
        uint64_t at = (uint64_t)i * V1_CHUNK_BYTES;
        int rc = pread_all(fd, buffer, V1_CHUNK_BYTES, at);

        if (rc < 0)
            return err_set_errno(err, -rc, "memory.img: reading chunk %u", i);
        struct checksum sum = checksum_of(buffer, V1_CHUNK_BYTES);
        if (!checksum_equal(&sum, &expected[i]))
            return err_set(err, EINVAL, "memory.img: chunk %u at offset %llu is damaged", i,
                           (unsigned long long)at);
        step->done_bytes = at;
        upgrade_tell(log, step);
    }
    return 0;
}

int v1_memory_check(int fd, const struct manifest *m, const struct upgrade_log *log,
                    struct upgrade_step *step, struct err *err)
{
    size_t len = tail_bytes(m->memory_bytes);
    _cleanup_free_ uint8_t *tail = malloc(len);

    if (!tail)
        return err_set_errno(err, ENOMEM, "memory.img");
    int rc = pread_all(fd, tail, len, m->memory_bytes);
    if (rc < 0)
        return err_set_errno(err, -rc, "memory.img: reading its footer");
    rc = check_tail(tail, m, err);
    if (rc < 0)
        return rc;
    memmove(tail, tail + sizeof(struct v1_footer), len - sizeof(struct v1_footer));
    return check_chunks(fd, (const struct checksum *)tail, m, log, step, err);
}

/* ---- disk ---- */

struct row {
    uint64_t cluster;
    struct checksum checksum;
};

/* A batch of rows is replaced by one of their count and checksum. */
static void fold(struct row *rows, uint32_t *count)
{
    rows[0] = (struct row){ *count, checksum_of(rows, *count * sizeof *rows) };
    *count = 1;
}

static int sum_clusters(const struct disk_delta *delta, struct row *rows, struct checksum *ret_sum)
{
    uint8_t bytes[DISK_CLUSTER_BYTES];
    uint32_t count = 1;
    int rc = 0;

    rows[0] = (struct row){ .cluster = delta->cluster_count };
    for (uint64_t i = disk_delta_next(delta, 0); i < delta->cluster_count && rc == 0;
         i = disk_delta_next(delta, i + 1)) {
        rc = pread_all(delta->fd, bytes, sizeof bytes, delta->data_offset + i * sizeof bytes);
        rows[count++] = (struct row){ i, checksum_of(bytes, sizeof bytes) };
        if (count == ROWS)
            fold(rows, &count);
    }
    fold(rows, &count);
    *ret_sum = rows[0].checksum;
    return rc;
}

int v1_disk_check(int fd, const struct manifest *m, struct err *err)
{
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    struct disk_delta delta;
    struct checksum sum;

    if (own < 0)
        return err_set_errno(err, errno, "disk");
    int rc = disk_delta_open(&delta, own, m->disk_bytes, false, err);
    if (rc < 0)
        return rc;
    _cleanup_free_ struct row *rows = calloc(ROWS, sizeof *rows);
    rc = rows ? sum_clusters(&delta, rows, &sum) : -ENOMEM;
    disk_delta_close(&delta);
    if (rc < 0)
        return err_set_errno(err, -rc, "disk: reading the delta");
    return v1_matches(&m->disk_delta, &sum) ? 0 : err_set(err, EINVAL, "disk: damaged");
}
