/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the making of snapshots: begin, commit, abort; see store.h. */
#include "snapshot/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "snapshot/disk.h"
#include "snapshot/file.h"
#include "snapshot/manifest_table.h"
#include "snapshot/store_internal.h"
#include "snapshot/vm_codec.h"

#define TEMP_NAME_TRIES 16u

static int make_temp_dir(struct snapshot_txn *txn, struct err *err)
{
    for (unsigned i = 0; i < TEMP_NAME_TRIES; i++) {
        store_temp_name(txn->name, txn->temp_name);
        if (mkdirat(txn->store_fd, txn->temp_name, 0700) == 0)
            return 0;
        if (errno != EEXIST)
            break;
    }
    int code = errno;
    txn->temp_name[0] = '\0';
    return err_set_errno(err, code, "making a directory in the snapshot store");
}

static int create_empty(int dirfd, const char *name, int *ret_fd, struct err *err)
{
    int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_set_errno(err, errno, "%s: creating it", name);
    *ret_fd = fd;
    return 0;
}

int store_txn_begin(int store_fd, const char *name, struct snapshot_txn *ret_txn, struct err *err)
{
    *ret_txn = (struct snapshot_txn){
        .store_fd = store_fd, .dir_fd = -1, .state_fd = -1, .memory_fd = -1, .disk_fd = -1
    };
    if (!snapshot_name_valid(name))
        return err_set(err, EINVAL,
                       "'%s' can't name a snapshot: use 1 to 63 of a-z 0-9 - _ ., beginning with a "
                       "letter or digit",
                       name);
    snprintf(ret_txn->name, sizeof ret_txn->name, "%s", name);
    int rc = make_temp_dir(ret_txn, err);
    if (rc < 0)
        return rc;
    ret_txn->dir_fd =
        openat(store_fd, ret_txn->temp_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (ret_txn->dir_fd < 0) {
        rc = err_set_errno(err, errno, "opening a directory in the snapshot store");
        snapshot_create_abort(ret_txn);
    }
    return rc;
}

int snapshot_create_begin(int store_fd, const char *name, struct snapshot_txn *ret_txn,
                          struct err *err)
{
    int rc = store_txn_begin(store_fd, name, ret_txn, err);

    if (rc < 0)
        return rc;
    rc = create_empty(ret_txn->dir_fd, SNAPSHOT_FILE_STATE, &ret_txn->state_fd, err);
    if (rc == 0)
        rc = create_empty(ret_txn->dir_fd, SNAPSHOT_FILE_MEMORY, &ret_txn->memory_fd, err);
    if (rc < 0)
        snapshot_create_abort(ret_txn);
    return rc;
}

int snapshot_create_disk(struct snapshot_txn *txn, struct err *err)
{
    return create_empty(txn->dir_fd, SNAPSHOT_FILE_DISK, &txn->disk_fd, err);
}

void snapshot_create_abort(struct snapshot_txn *txn)
{
    close_fd(&txn->disk_fd);
    close_fd(&txn->state_fd);
    close_fd(&txn->memory_fd);
    close_fd(&txn->dir_fd);
    if (txn->temp_name[0]) /* what can't be removed now, snapshot_store_clean finds */
        store_remove(txn->store_fd, txn->temp_name, NULL);
    txn->temp_name[0] = '\0';
}

/* The devices, as the state file has them. */
static int list_devices(const struct state_reader *reader, struct manifest *m, struct err *err)
{
    m->device_count = 0;
    for (uint32_t i = 0; i < reader->section_count; i++) {
        const char *name = state_reader_at(reader, i).name;

        if (vm_state_section(name))
            continue;
        if (m->device_count == MANIFEST_DEVICES_MAX)
            return err_set(err, E2BIG, "state: more than %u devices", MANIFEST_DEVICES_MAX);
        snprintf(m->device[m->device_count++], sizeof m->device[0], "%s", name);
    }
    return 0;
}

/* The state as the VM left it: whole by its own digests, or there is no snapshot. */
static int seal_state(struct snapshot_txn *txn, struct manifest *m, struct err *err)
{
    struct stat st;

    if (fstat(txn->state_fd, &st) < 0)
        return err_set_errno(err, errno, "state");
    if (st.st_size == 0 || st.st_size > (off_t)STATE_FILE_BYTES_MAX)
        return err_set(err, EINVAL, "state: %lld bytes long: the VM did not finish it",
                       (long long)st.st_size);
    size_t len = (size_t)st.st_size;
    struct state_reader *reader = calloc(1, sizeof *reader);
    _cleanup_free_ uint8_t *bytes = malloc(len);
    int rc = reader && bytes ? pread_all(txn->state_fd, bytes, len, 0) : -ENOMEM;
    if (rc < 0)
        err_set_errno(err, -rc, "state: reading it back");
    if (rc == 0)
        rc = state_reader_open(reader, bytes, len, err);
    if (rc == 0) {
        m->state_bytes = len;
        m->state_digest = digest_of(take_pointer(&bytes), len);
        rc = list_devices(reader, m, err);
        state_reader_fini(reader);
    }
    free(reader);
    return rc;
}

static void stamp(struct manifest *m)
{
    m->format_version = MANIFEST_FORMAT_VERSION;
    m->id = unique_id_make();
    manifest_time_now(m->created);
}

int store_manifest_write(const struct snapshot_txn *txn, const struct manifest *m, struct err *err)
{
    _cleanup_free_ char *text = NULL;
    size_t len;
    int rc = manifest_format(m, &text, &len, err);

    return rc < 0 ? rc : snapshot_file_create(txn->dir_fd, SNAPSHOT_FILE_MANIFEST, text, len, err);
}

/* All of it on disk before it gets its name. */
static int fill(struct snapshot_txn *txn, struct manifest *m, struct err *err)
{
    stamp(m);
    int rc = seal_state(txn, m, err);
    if (rc == 0)
        rc = snapshot_memory_seal(txn->dir_fd, txn->memory_fd, m->memory_bytes, &m->memory_digest,
                                  &m->memory_data_bytes, err);
    if (rc == 0 && txn->disk_fd >= 0)
        rc = snapshot_disk_digest(txn->disk_fd, m->disk_bytes, &m->disk_delta, err);
    if (rc == 0)
        rc = store_manifest_write(txn, m, err);
    if (rc < 0)
        return rc;
    if ((txn->disk_fd >= 0 && fsync(txn->disk_fd) < 0) || fsync(txn->state_fd) < 0 ||
        fsync(txn->memory_fd) < 0 || fsync(txn->dir_fd) < 0)
        return err_set_errno(err, errno, "writing the snapshot to disk");
    return 0;
}

/* One rename makes it the snapshot; temp_name is then free or names the old one. When the store
 * can't be brought to disk, the rename is undone, for the old one is known to be there. */
int store_publish(const struct snapshot_txn *txn, struct err *err)
{
    unsigned flags = RENAME_NOREPLACE;
    int store = txn->store_fd;
    int rc = renameat2(store, txn->temp_name, store, txn->name, flags);

    if (rc < 0 && errno == EEXIST) {
        flags = RENAME_EXCHANGE;
        rc = renameat2(store, txn->temp_name, store, txn->name, flags);
    }
    if (rc < 0 && errno == EINVAL)
        return err_set(err, EINVAL,
                       "the file system of the snapshot store can't replace a directory in one "
                       "step (renameat2): use ext4, XFS, Btrfs or tmpfs");
    if (rc < 0)
        return err_set_errno(err, errno, "putting the snapshot in place");
    if (fsync(store) == 0)
        return 0;
    int code = errno;
    renameat2(store, txn->name, store, txn->temp_name, flags);
    return err_set_errno(err, code, "writing the snapshot store to disk");
}

int snapshot_create_commit(struct snapshot_txn *txn, struct manifest *manifest, struct err *err)
{
    int rc = fill(txn, manifest, err);

    if (rc == 0)
        rc = store_publish(txn, err);
    if (rc < 0)
        err_wrap(err, "snapshot '%s'", txn->name);
    snapshot_create_abort(txn); /* removes the old one, or on failure the new one */
    return rc;
}
