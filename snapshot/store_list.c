/* SPDX-License-Identifier: Apache-2.0 */
/* Owns looking at, deleting and tidying snapshots; see store.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "snapshot/file.h"
#include "snapshot/memory_mark.h"
#include "snapshot/store_internal.h"
#include "snapshot/workingset.h"

static uint64_t disk_bytes_of(int dirfd)
{
    static const char *const files[] = { SNAPSHOT_FILE_MANIFEST,   SNAPSHOT_FILE_STATE,
                                         SNAPSHOT_FILE_MEMORY,     SNAPSHOT_FILE_MEMORY_DIGESTS,
                                         SNAPSHOT_FILE_DISK,       SNAPSHOT_FILE_WORKING_SET,
                                         SNAPSHOT_FILE_MEMORY_MARK };
    uint64_t bytes = 0;
    struct stat st;

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (fstatat(dirfd, files[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
            bytes += (uint64_t)st.st_blocks * 512;
    }
    return bytes;
}

int snapshot_inspect(int store_fd, const char *name, struct snapshot_info *ret_info,
                     struct err *err)
{
    _cleanup_close_ int dirfd = -1;
    struct working_set set;
    int rc = snapshot_dir_open(store_fd, name, &dirfd, err);

    if (rc < 0)
        return rc;
    memset(ret_info, 0, sizeof *ret_info);
    snprintf(ret_info->name, sizeof ret_info->name, "%s", name);
    ret_info->disk_bytes = disk_bytes_of(dirfd);
    const struct manifest *m = &ret_info->manifest;
    rc = manifest_load(dirfd, &ret_info->manifest, &ret_info->error);
    if (rc == 0 && working_set_load(dirfd, &m->id, m->memory_bytes, &set, NULL) == 0) {
        ret_info->working_set_bytes = working_set_bytes(&set);
        working_set_fini(&set);
    }
    return 0;
}

struct listing {
    int store_fd;
    struct snapshot_info *info;
    size_t count;
};

static int list_one(void *data, const char *name, struct err *err)
{
    struct listing *listing = data;

    if (!snapshot_name_valid(name))
        return 0;
    struct snapshot_info *grown =
        realloc(listing->info, (listing->count + 1) * sizeof *listing->info);
    if (!grown)
        return err_set_errno(err, ENOMEM, "listing snapshots");
    listing->info = grown;
    /* What vanished meanwhile or is no directory of ours is no snapshot. */
    if (snapshot_inspect(listing->store_fd, name, &grown[listing->count], NULL) == 0)
        listing->count++;
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct snapshot_info *)a)->name, ((const struct snapshot_info *)b)->name);
}

int snapshot_list(int store_fd, struct snapshot_info **ret_infos, size_t *ret_count,
                  struct err *err)
{
    struct listing listing = { .store_fd = store_fd };
    int rc = store_for_each(store_fd, list_one, &listing, err);

    if (rc < 0) {
        free(listing.info);
        return rc;
    }
    if (listing.count > 1)
        qsort(listing.info, listing.count, sizeof *listing.info, compare_names);
    *ret_infos = listing.info;
    *ret_count = listing.count;
    return 0;
}

static int name_take_away(int store_fd, const char *name, char temp_name[SNAPSHOT_TEMP_NAME_BYTES],
                          struct err *err)
{
    int rc = 0;

    for (unsigned i = 0; i < STORE_TRIES; i++) {
        if (i > 0)
            usleep(STORE_WAIT_US);
        store_temp_name(name, temp_name);
        if (renameat2(store_fd, name, store_fd, temp_name, RENAME_NOREPLACE) == 0)
            return 0;
        if (errno == ENOENT)
            return err_set(err, ENOENT, "there is no snapshot '%s'", name);
        rc = err_set_errno(err, errno, "deleting snapshot '%s'", name);
    }
    return rc;
}

int snapshot_delete(int store_fd, const char *name, struct err *err)
{
    char temp_name[SNAPSHOT_TEMP_NAME_BYTES];

    if (!snapshot_name_valid(name))
        return err_set(err, EINVAL, "'%s' is no name of a snapshot", name);
    int rc = name_take_away(store_fd, name, temp_name, err);
    if (rc < 0)
        return rc;
    /* Before its files go: a crash must not bring the name back without them. Should that fail,
     * they are removed even so, as the caller is told. */
    bool synced = fsync(store_fd) == 0;
    rc = store_remove(store_fd, temp_name, err);
    if (rc == 0 && !synced && fsync(store_fd) < 0)
        rc = err_set_errno(err, errno, "deleting snapshot '%s'", name);
    return rc;
}

struct cleaning {
    int store_fd;
    unsigned removed;
    int rc; /* the last failure */
};

static int clean_one(void *data, const char *name, struct err *err)
{
    struct cleaning *cleaning = data;

    if (!store_temp_name_valid(name))
        return 0;
    int rc = store_remove(cleaning->store_fd, name, err);
    if (rc < 0)
        cleaning->rc = rc; /* the others go even so */
    else
        cleaning->removed++;
    return 0;
}

int snapshot_store_clean(int store_fd, unsigned *ret_removed, struct err *err)
{
    struct cleaning cleaning = { .store_fd = store_fd };
    int rc = store_for_each(store_fd, clean_one, &cleaning, err);

    if (rc == 0)
        rc = cleaning.rc;
    if (rc == 0 && ret_removed)
        *ret_removed = cleaning.removed;
    return rc;
}
