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
#include "vms/hosted_replace.h"
#include "vms/template.h"

/* A file of the folder. */
struct found {
    char name[POOL_NAME_BYTES];
    uint32_t generation;
};

/* An earlier poold ended before its snapshot was whole. A pool that is drained boots when it no more
 * is. */
static int boot_again(struct hosted_pool *hosted, bool draining, struct err *err)
{
    struct vms *vms = hosted->vms;
    const char *name = hosted->pool.name;
    int rc = snapshot_delete(vms->snapshots_fd, hosted->id, err);

    if (rc < 0 && rc != -ENOENT)
        return rc;
    if (draining) {
        hosted_set_state(hosted, POOL_DRAINING, NULL);
        return 0;
    }
    log_pool(LOG_LEVEL_INFO, name, "pool '%s' boots again: an earlier poold ended before it had",
             name);
    return hosted_boot_again(hosted, err);
}

static void restore_booted(struct hosted_pool *hosted, bool draining)
{
    struct vms *vms = hosted->vms;

    hosted->booted = hosted->saved = true;
    hosted_adopt(hosted);
    if (hosted->template)
        vms->hosted_ops->template_ready(hosted, template_has_working_set(hosted->template));
    else
        hosted_set_state(hosted, draining ? POOL_DRAINING : POOL_LOADING, NULL);
    if (draining)
        hosted_set_state(hosted, POOL_DRAINING, NULL);
    else if (!hosted->template && !vms->settings->stop_only)
        template_start(hosted);
}

/* Takes maker. current: the pool that has replaced it, NULL: it is the pool. */
static int restore(struct vms *vms, const struct found *found, const struct pool_record *record,
                   struct client_ids **maker, struct hosted_pool *current, struct err *err)
{
    const struct pool_body *body = &record->body;
    struct hosted_pool *hosted = hosted_add(vms, found->name, found->generation);
    const bool draining = record->draining || current;
    int rc = 0;

    if (!hosted)
        return err_set(err, ENOMEM, "out of memory");
    hosted->maker = take_pointer(maker);
    memcpy(hosted->created, record->created, sizeof hosted->created);
    hosted->cold_boot_ms = record->cold_boot_ms;
    hosted->snapshot_ms = record->snapshot_ms;
    hosted_spec_set(hosted, body);
    if (current)
        hosted_replaced(current, hosted);
    if (!record->booting)
        restore_booted(hosted, draining);
    else if (!vms->settings->stop_only)
        rc = boot_again(hosted, draining, err);
    if (rc < 0)
        hosted_set_state(hosted, POOL_FAILED, err->msg);
    return 0;
}

static int pool_load(struct vms *vms, const struct found *found, struct hosted_pool *current,
                     struct err *err)
{
    _cleanup_free_ struct client_ids *maker = NULL;
    _cleanup_free_ struct pool_record *record = calloc(1, sizeof *record);
    char id[POOL_NAME_BYTES];
    int rc;

    if (!record)
        return err_set(err, ENOMEM, "out of memory");
    hosted_id(found->name, found->generation, id);
    rc = hosted_file_read(vms->pools_fd, id, record, &maker, err);
    if (rc < 0)
        return rc;
    return restore(vms, found, record, &maker, current, err);
}

/* A pool that is there and can't be had is shown, so that it can be deleted; one that has been replaced
 * goes. */
static void broken_add(struct vms *vms, const struct found *found, struct hosted_pool *current,
                       const struct err *err)
{
    const char *name = found->name;
    struct hosted_pool *hosted = hosted_add(vms, name, found->generation);
    char detail[ERR_MSG_BYTES + 160];

    snprintf(detail, sizeof detail,
             "pools/%s.json can't be read: %s; mend it and start poold again, or delete the pool",
             hosted ? hosted->id : name, err->msg);
    if (!hosted) {
        log_pool(LOG_LEVEL_ERROR, name, "pool '%s': %s", name, detail);
        return;
    }
    hosted->broken = true;
    if (current)
        hosted_replaced(current, hosted);
    hosted_set_state(hosted, current ? POOL_DRAINING : POOL_FAILED, detail);
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

/* By name, the youngest of one name first. */
static int compare(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    int order = strcmp(x->name, y->name);

    return order ? order : (x->generation < y->generation) - (x->generation > y->generation);
}

/* The files that there are, the caller's; NULL for none, or without memory (logged). */
static struct found *files_find(int pools_fd, size_t *ret_count)
{
    int fd = openat(pools_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct found *files = NULL, file;
    size_t count = 0;

    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct found *more;

        if (!hosted_file_name(entry->d_name, file.name, &file.generation))
            continue;
        more = reallocarray(files, count + 1, sizeof *files);
        if (!more) {
            log_error("pools/%s: out of memory", entry->d_name);
            continue;
        }
        files = more;
        files[count++] = file;
    }
    if (dir)
        closedir(dir);
    else
        close_fd(&fd);
    *ret_count = count;
    return files;
}

void hosted_load_all(struct vms *vms)
{
    size_t count;
    _cleanup_free_ struct found *files = files_find(vms->pools_fd, &count);

    if (files)
        qsort(files, count, sizeof *files, compare);
    for (size_t i = 0; i < count; i++) {
        struct hosted_pool *current = hosted_find(vms, files[i].name);
        struct err err = { 0 };

        if (pool_load(vms, &files[i], current, &err) < 0)
            broken_add(vms, &files[i], current, &err);
    }
    orphans_delete(vms);
}
