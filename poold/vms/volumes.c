/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the list of volumes, and their making and deletion; see volumes.h. */
#include "vms/volumes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "base/work.h"
#include "snapshot/manifest_table.h"
#include "vms/volume_lease.h"

/* Of a user, that no lease has: the next lease is likely to want one of the last. */
#define FOLDERS_KEPT 8u

void volumes_init(struct volumes *volumes, uv_loop_t *loop)
{
    *volumes = (struct volumes){ .dirs = { -1, -1, -1 }, .loop = loop };
    list_init(&volumes->list);
    list_init(&volumes->attachments);
    list_init(&volumes->releases);
}

static struct volume *volume_add(struct volumes *volumes, const char *id,
                                 const struct volume_record *record)
{
    struct volume *volume = calloc(1, sizeof *volume);

    if (!volume)
        return NULL;
    snprintf(volume->id, sizeof volume->id, "%s", id);
    volume->record = *record;
    list_append(&volumes->list, &volume->node);
    return volume;
}

static void read_one(void *data, const char *id)
{
    struct volumes *volumes = data;
    struct volume_record record;
    struct err err;

    if (volume_record_read(&volumes->dirs, id, &record, &err) == 0) {
        if (volume_add(volumes, id, &record))
            return;
        err_set(&err, ENOMEM, "out of memory");
    }
    log_warn(
        "the volume %s can't be used: %s; mend volumes/%s.json and start poold again, or remove "
        "it: until then no contents are removed that nobody names",
        id, err.msg, id);
    volumes->unread = true;
}

int volumes_open(struct volumes *volumes, int dir_fd, struct err *err)
{
    int rc = volume_dirs_open(&volumes->dirs, dir_fd, err);

    if (rc == 0) {
        state_files_tidy(volumes->dirs.fd);
        state_files_tidy(volumes->dirs.leases_fd);
    }
    if (rc == 0 && (rc = volume_files_each(volumes->dirs.fd, read_one, volumes)) < 0)
        err_set_errno(err, -rc, "volumes: reading the folder");
    return rc;
}

void volumes_fini(struct volumes *volumes)
{
    while (!list_empty(&volumes->attachments))
        attachment_free(list_entry(volumes->attachments.next, struct attachment, node));
    while (!list_empty(&volumes->list))
        volume_forget(list_entry(volumes->list.next, struct volume, node));
    volume_dirs_close(&volumes->dirs);
}

bool volumes_idle(const struct volumes *volumes)
{
    return volumes->works == 0 && list_empty(&volumes->releases);
}

struct volume *volume_find(const struct volumes *volumes, const char *id)
{
    LIST_FOR_EACH(at, &volumes->list)
    {
        struct volume *volume = list_entry(at, struct volume, node);

        if (strcmp(volume->id, id) == 0)
            return volume;
    }
    return NULL;
}

uint64_t volumes_bytes_of(const struct volumes *volumes, uint32_t owner, uint32_t *ret_count)
{
    uint64_t bytes = 0;

    *ret_count = 0;
    LIST_FOR_EACH(at, &volumes->list)
    {
        const struct volume *volume = list_entry(at, struct volume, node);

        if (volume->record.owner != owner)
            continue;
        bytes += volume->record.bytes;
        ++*ret_count;
    }
    return bytes;
}

/* The one that was used longest ago of a user's folders that nobody has; NULL: they are not more than
 * are kept. */
static struct volume *folder_too_many(const struct volumes *volumes, uint64_t owner)
{
    struct volume *oldest = NULL;
    unsigned count = 0;

    LIST_FOR_EACH(at, &volumes->list)
    {
        struct volume *volume = list_entry(at, struct volume, node);

        if (!volume->record.folder || volume->record.owner != owner || volume->users ||
            volume->making || volume->deleting)
            continue;
        count++;
        if (!oldest || volume->used_ns < oldest->used_ns)
            oldest = volume;
    }
    return count >= FOLDERS_KEPT ? oldest : NULL;
}

struct volume *volume_reserve(struct volumes *volumes, const char *id, struct volume_record *record)
{
    struct volume *volume, *old;

    manifest_time_now(record->created);
    volume_data_name(record->data);
    while (record->folder && (old = folder_too_many(volumes, record->owner)))
        volume_delete(volumes, old, NULL, NULL);
    volume = volume_add(volumes, id, record);
    if (volume)
        volume->making = true;
    return volume;
}

void volume_forget(struct volume *volume)
{
    list_remove(&volume->node);
    free(volume);
}

/* ---- Deletion ---- */

struct deletion {
    struct volumes *volumes;
    struct volume *volume;
    volume_deleted_fn *done;
    void *data;
    struct err err;
};

static void deletion_run(void *data)
{
    struct deletion *deletion = data;
    const struct volume *volume = deletion->volume;

    if (state_file_delete(deletion->volumes->dirs.fd, volume->id, &deletion->err) == 0)
        volume_data_remove(&deletion->volumes->dirs, volume->record.data);
}

static void deletion_done(void *data)
{
    struct deletion *deletion = data;
    const struct err *err = deletion->err.code ? &deletion->err : NULL;

    deletion->volumes->works--;
    deletion->volume->deleting = false;
    if (err)
        log_warn("the volume %s: %s", deletion->volume->id, err->msg);
    else
        volume_forget(deletion->volume);
    if (deletion->done)
        deletion->done(deletion->data, err);
    free(deletion);
}

void volume_delete(struct volumes *volumes, struct volume *volume, volume_deleted_fn *done,
                   void *data)
{
    struct deletion *deletion = calloc(1, sizeof *deletion);
    struct err err;

    volume->deleting = true; /* also of one that there is no memory for: it is not met again */
    if (deletion) {
        *deletion = (struct deletion){ volumes, volume, done, data, { 0 } };
        if (work_start(volumes->loop, deletion_run, deletion_done, deletion) == 0) {
            volumes->works++;
            return;
        }
        free(deletion);
    }
    volume->deleting = false;
    err_set(&err, ENOMEM, "out of memory");
    if (done)
        done(data, &err);
}

/* ---- Words ---- */

static const char *const mode_names[] = {
    [CONTROL_VOLUME_READ_ONLY] = "ro",
    [CONTROL_VOLUME_COPY] = "copy",
    [CONTROL_VOLUME_IN_PLACE] = "rw",
};

const char *volume_mode_name(enum control_volume_mode mode)
{
    return mode_names[mode];
}

bool volume_mode_parse(const char *name, enum control_volume_mode *ret_mode)
{
    for (unsigned i = 0; i < ARRAY_LEN(mode_names); i++) {
        if (strcmp(name, mode_names[i]) != 0)
            continue;
        *ret_mode = (enum control_volume_mode)i;
        return true;
    }
    return false;
}

bool volume_path_valid(const char *path)
{
    static const char *const whole[] = { "bin", "sbin", "lib",  "lib64", "usr", "etc",
                                         "run", "tmp",  "root", "home",  "var" },
                             *const beneath[] = { "proc", "sys", "dev", "volt" };
    const char *rest;

    if (path[0] != '/' || !path[1] || strlen(path) >= AGENT_MOUNT_PATH_BYTES)
        return false;
    for (const char *at = path + 1;; at = rest + 1) {
        rest = strchrnul(at, '/');
        const size_t bytes = (size_t)(rest - at);

        if (bytes == 0 || (bytes == 1 && at[0] == '.') || (bytes == 2 && !memcmp(at, "..", 2)))
            return false;
        if (!*rest)
            break;
    }
    for (unsigned i = 0; i < ARRAY_LEN(whole); i++)
        if (strcmp(path + 1, whole[i]) == 0)
            return false;
    for (unsigned i = 0; i < ARRAY_LEN(beneath); i++) {
        const size_t bytes = strlen(beneath[i]);

        if (strncmp(path + 1, beneath[i], bytes) == 0 && strchr("/", path[1 + bytes]))
            return false;
    }
    return true;
}
