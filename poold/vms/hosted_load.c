/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the loading of all pools at start; see hosted_load.h. */
#include "vms/hosted_load.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "snapshot/store.h"
#include "vms/hosted.h"
#include "vms/hosted_file.h"

static int pool_load(struct vms *vms, const char *name, struct err *err)
{
    _cleanup_free_ struct client_ids *maker = NULL;
    _cleanup_free_ struct pool_record *record = calloc(1, sizeof *record);
    int rc;

    if (!record)
        return err_set(err, ENOMEM, "out of memory");
    rc = hosted_file_read(vms->pools_fd, name, record, &maker, err);
    if (rc < 0)
        return rc;
    if (!hosted_restore(vms, name, record, maker))
        return err_set(err, ENOMEM, "out of memory");
    take_pointer(&maker);
    return 0;
}

/* A kill between a snapshot's commit and the writing of its pool's file, or in a deletion, leaves a
 * snapshot that nobody can use or delete. */
static void orphans_delete(struct vms *vms)
{
    struct snapshot_info *infos = NULL;
    size_t count = 0;
    struct err err = { 0 };

    if (snapshot_list(vms->snapshots_fd, &infos, &count, &err) < 0)
        log_warn("snapshots without a pool were not looked for: %s", err.msg);
    for (size_t i = 0; i < count; i++) {
        char file[POOL_NAME_BYTES + 16];
        struct stat st;

        snprintf(file, sizeof file, "%s.json", infos[i].name);
        if (fstatat(vms->pools_fd, file, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
            continue;
        if (snapshot_delete(vms->snapshots_fd, infos[i].name, &err) < 0)
            log_warn("a snapshot without a pool was not deleted: %s", err.msg);
        else
            log_warn("snapshot '%s' had no pool and is deleted: an earlier poold was killed while "
                     "it made or deleted it",
                     infos[i].name);
    }
    free(infos);
}

void hosted_load_all(struct vms *vms)
{
    int fd = openat(vms->pools_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char name[POOL_NAME_BYTES];
        struct err err = { 0 };

        if (hosted_file_name(entry->d_name, name) && pool_load(vms, name, &err) < 0)
            log_pool(LOG_LEVEL_ERROR, name, "pool '%s' was not loaded: pools/%s: %s", name,
                     entry->d_name, err.msg);
    }
    if (dir)
        closedir(dir);
    else
        close_fd(&fd);
    orphans_delete(vms);
}
