/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the loading of all pools at start; see hosted_load.h. */
#include "vms/hosted_load.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "snapshot/store.h"
#include "vms/adopt.h"
#include "vms/hosted.h"
#include "vms/hosted_file.h"
#include "vms/template.h"

/* Its snapshot was not whole; who asked for it was told that it is on its way. */
static int boot_again(struct hosted_pool *hosted, struct err *err)
{
    struct vms *vms = hosted->vms;
    const char *name = hosted->pool.name;
    int rc = snapshot_delete(vms->snapshots_fd, name, err);

    if (rc < 0 && rc != -ENOENT)
        return rc;
    log_pool(LOG_LEVEL_INFO, name, "pool '%s' boots again: an earlier poold ended before it had",
             name);
    return hosted_boot_again(hosted, err);
}

static void restore_booted(struct hosted_pool *hosted, const struct pool_record *record)
{
    struct vms *vms = hosted->vms;

    hosted->booted = hosted->saved = true;
    hosted_adopt(hosted);
    if (hosted->template)
        vms->hosted_ops->template_ready(hosted, template_has_working_set(hosted->template));
    else
        hosted_set_state(hosted, record->draining ? POOL_DRAINING : POOL_LOADING, NULL);
    if (record->draining)
        hosted_set_state(hosted, POOL_DRAINING, NULL);
    else if (!hosted->template && !vms->settings->stop_only)
        template_start(hosted);
}

/* Takes maker. */
static int restore(struct vms *vms, const char *name, const struct pool_record *record,
                   struct client_ids **maker, struct err *err)
{
    const struct pool_body *body = &record->body;
    struct hosted_pool *hosted = hosted_add(vms, name);
    int rc = 0;

    if (!hosted)
        return err_set(err, ENOMEM, "out of memory");
    hosted->spec = body->spec;
    hosted->maker = take_pointer(maker);
    memcpy(hosted->created, record->created, sizeof hosted->created);
    hosted->cold_boot_ms = record->cold_boot_ms;
    hosted->snapshot_ms = record->snapshot_ms;
    hosted->pool.vm_bytes = hosted->spec.memory_bytes;
    pool_set_limits(&hosted->pool, body->min, body->max, body->shells);
    if (!record->booting)
        restore_booted(hosted, record);
    else if (!vms->settings->stop_only)
        rc = boot_again(hosted, err);
    if (rc < 0)
        hosted_set_state(hosted, POOL_FAILED, err->msg);
    return 0;
}

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
    return restore(vms, name, record, &maker, err);
}

/* A pool that is there and can't be had is shown, so that it can be deleted. */
static void broken_add(struct vms *vms, const char *name, const struct err *err)
{
    struct hosted_pool *hosted = hosted_add(vms, name);
    char detail[ERR_MSG_BYTES + 160];

    snprintf(detail, sizeof detail,
             "pools/%s.json can't be read: %s; mend it and start poold again, or delete the pool",
             name, err->msg);
    if (!hosted) {
        log_pool(LOG_LEVEL_ERROR, name, "pool '%s': %s", name, detail);
        return;
    }
    hosted->broken = true;
    hosted_set_state(hosted, POOL_FAILED, detail);
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
            broken_add(vms, name, &err);
    }
    if (dir)
        closedir(dir);
    else
        close_fd(&fd);
    orphans_delete(vms);
}
