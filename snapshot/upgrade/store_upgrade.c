/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the upgrade of snapshots of format version 1, which knew its parts by checksums; see
 * store_upgrade.h.
 *
 * How it works: every file is read and compared with its checksum, which finds damage, and digested
 * as it is made now. The new snapshot is a directory of its own with links to the old files and a
 * new manifest, and takes the name in one exchange, so at every moment the snapshot is of one
 * version or of the other, whole. Only then is the old footer cut off from memory.img: where that
 * was not done any more, the next start does it (trim). */
#include "snapshot/upgrade/store_upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/util.h"
#include "snapshot/disk.h"
#include "snapshot/file.h"
#include "snapshot/sections.h"
#include "snapshot/store_internal.h"
#include "snapshot/upgrade/format_v1.h"

struct upgrading {
    int store_fd;
    struct image_store *images;
    const struct upgrade_log *log;
    struct upgrade_step step;
    int old_fd; /* the directory of version 1 */
    struct snapshot_txn txn;
    struct manifest m; /* read as of version 1, then made one of this */
};

/* ---- The parts ---- */

static int upgrade_state(struct upgrading *u, struct err *err)
{
    _cleanup_free_ uint8_t *bytes = NULL;
    size_t len;
    int rc =
        snapshot_file_read(u->old_fd, SNAPSHOT_FILE_STATE, STATE_FILE_BYTES_MAX, &bytes, &len, err);

    if (rc < 0)
        return rc;
    struct checksum sum = checksum_of(bytes, len);
    if (len != u->m.state_bytes || !v1_matches(&u->m.state_digest, &sum))
        return err_set(err, EINVAL, "state: damaged");
    u->m.state_digest = digest_of(bytes, len);
    return 0;
}

static int upgrade_memory(struct upgrading *u, struct err *err)
{
    uint64_t size = v1_memory_file_bytes(u->m.memory_bytes), data_bytes;
    _cleanup_close_ int fd = -1;
    int rc = snapshot_file_open(u->old_fd, SNAPSHOT_FILE_MEMORY, size, size, &fd, &size, err);

    if (rc == 0)
        rc = v1_memory_check(fd, &u->m, u->log, &u->step, err);
    return rc < 0 ? rc
                  : snapshot_memory_digest(u->txn.dir_fd, fd, u->m.memory_bytes,
                                           &u->m.memory_digest, &data_bytes, err);
}

static int upgrade_disk(struct upgrading *u, struct err *err)
{
    _cleanup_close_ int fd = -1;
    uint64_t size;
    int rc = 0;

    if (!digest_is_none(&u->m.disk_delta)) {
        rc = snapshot_file_open(u->old_fd, SNAPSHOT_FILE_DISK, 1, INT64_MAX, &fd, &size, err);
        if (rc == 0)
            rc = v1_disk_check(fd, &u->m, err);
        if (rc == 0)
            rc = snapshot_disk_digest(fd, u->m.disk_bytes, &u->m.disk_delta, err);
    }
    if (rc == 0 && u->m.disk_image[0])
        rc = image_id_upgrade(u->images, u->m.disk_image, &u->m.disk_id, err);
    return rc;
}

/* The files that stay what they are. */
static int link_files(const struct upgrading *u, struct err *err)
{
    static const char *const files[] = { SNAPSHOT_FILE_STATE, SNAPSHOT_FILE_MEMORY,
                                         SNAPSHOT_FILE_DISK, SNAPSHOT_FILE_WORKING_SET };

    for (unsigned i = 0; i < ARRAY_LEN(files); i++) {
        if (linkat(u->old_fd, files[i], u->txn.dir_fd, files[i], 0) < 0 && errno != ENOENT)
            return err_set_errno(err, errno, "%s: linking it", files[i]);
    }
    return 0;
}

/* The kernel's file may be another one by now: what it was then has no digest. */
static int make(struct upgrading *u, struct err *err)
{
    int rc = upgrade_state(u, err);

    if (rc == 0)
        rc = upgrade_memory(u, err);
    if (rc == 0)
        rc = upgrade_disk(u, err);
    if (rc == 0)
        rc = link_files(u, err);
    u->m.kernel.digest = u->m.initrd.digest = (struct digest){ 0 };
    if (rc == 0)
        rc = store_manifest_write(&u->txn, &u->m, err);
    if (rc == 0 && fsync(u->txn.dir_fd) < 0)
        rc = err_set_errno(err, errno, "writing the snapshot to disk");
    return rc < 0 ? rc : store_publish(&u->txn, err);
}

/* ---- One snapshot ---- */

/* Cuts the footer of version 1 off, once a manifest of this version is in place. */
static int trim(int dirfd, uint64_t memory_bytes, struct err *err)
{
    _cleanup_close_ int fd =
        openat(dirfd, SNAPSHOT_FILE_MEMORY, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        (uint64_t)st.st_size != v1_memory_file_bytes(memory_bytes))
        return 0; /* nothing to cut; what is wrong with it, opening tells */
    if (ftruncate(fd, (off_t)memory_bytes) < 0 || fsync(fd) < 0)
        return err_set_errno(err, errno, "memory.img: cutting off its old footer");
    return 0;
}

static int upgrade(struct upgrading *u, struct err *err)
{
    int rc = store_txn_begin(u->store_fd, u->step.name, &u->txn, err);

    if (rc < 0)
        return rc;
    u->step.total_bytes = u->m.memory_bytes + V1_CHUNK_BYTES; /* and a last step */
    rc = make(u, err);
    if (rc == 0)
        rc = trim(u->txn.dir_fd, u->m.memory_bytes, err);
    snapshot_create_abort(&u->txn); /* removes the old one, or what there is of the new one */
    return rc;
}

static int look_at(struct upgrading *u, struct err *err)
{
    _cleanup_free_ uint8_t *text = NULL;
    size_t len;
    int rc = snapshot_file_read(u->old_fd, SNAPSHOT_FILE_MANIFEST, MANIFEST_BYTES_MAX, &text, &len,
                                NULL);

    if (rc < 0)
        return 0; /* the list of snapshots says so */
    if (manifest_parse((char *)text, len, &u->m, NULL) == 0)
        return trim(u->old_fd, u->m.memory_bytes, err);
    if (manifest_parse_v1((char *)text, len, &u->m, NULL) < 0)
        return 0;
    u->step.total_bytes = 1;
    upgrade_tell(u->log, &u->step);
    rc = upgrade(u, err);
    u->step.done_bytes = u->step.total_bytes;
    u->step.err = rc < 0 ? err : NULL;
    upgrade_tell(u->log, &u->step);
    return 0;
}

static int upgrade_one(void *data, const char *name, struct err *err)
{
    struct upgrading *u = data;
    struct err why = { 0 };

    (void)err;
    if (!snapshot_name_valid(name) || snapshot_dir_open(u->store_fd, name, &u->old_fd, NULL) < 0)
        return 0;
    u->step = (struct upgrade_step){ .what = "snapshot", .name = name };
    if (look_at(u, &why) < 0) { /* only for cutting is it not told yet */
        u->step.err = &why;
        upgrade_tell(u->log, &u->step);
    }
    close_fd(&u->old_fd);
    return 0;
}

void snapshot_store_upgrade(int store_fd, struct image_store *images, const struct upgrade_log *log)
{
    _cleanup_free_ struct upgrading *u = calloc(1, sizeof *u);

    if (!u)
        return;
    *u = (struct upgrading){ .store_fd = store_fd, .images = images, .log = log, .old_fd = -1 };
    store_for_each(store_fd, upgrade_one, u, NULL);
}
