/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the place of a copy on the host; see host_target.h. */
#include "host_target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "host_walk.h"
#include "unpack/tree_remove.h"

#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* An empty folder beside the place, which only we may enter. */
static int staging_make(struct host_target *target, struct err *err)
{
    uint32_t number;

    for (unsigned tries = 0; tries < 100; tries++) {
        random_bytes(&number, sizeof number);
        snprintf(target->staging, sizeof target->staging, ".volt-cp-%08x", number);
        if (mkdirat(target->parent_fd, target->staging, 0700) == 0) {
            target->staged = true;
            target->folder_fd = openat(target->parent_fd, target->staging, FOLDER_FLAGS);
            return target->folder_fd < 0 ? err_set_errno(err, errno, "%s", target->shown) : 0;
        }
        if (errno != EEXIST)
            break;
    }
    return err_set_errno(err, errno, "%s: making a folder beside it", target->shown);
}

/* What comes is new, or replaces a file. */
static int staged_prepare(struct host_target *target, const char *name, bool is_folder,
                          struct err *err)
{
    memccpy(target->name, name, '\0', sizeof target->name);
    target->is_file = !is_folder;
    return staging_make(target, err);
}

/* What comes goes into a folder that is there. */
static int folder_prepare(struct host_target *target, const char *name, struct err *err)
{
    target->folder_fd = openat(target->parent_fd, *name ? name : ".", FOLDER_FLAGS);
    return target->folder_fd < 0 ? err_set_errno(err, errno, "%s", target->shown) : 0;
}

static int kind_refuse(const struct host_target *target, enum host_kind kind, const char *name,
                       struct err *err)
{
    switch (kind) {
    case HOST_SPECIAL:
        return err_set(err, EEXIST, "%s is a device, FIFO or socket, which is not replaced", name);
    case HOST_GUEST_LINK:
        return err_set(err, ENOTDIR,
                       "%s is a link that came out of a VM: a folder cannot be copied there", name);
    case HOST_FOLDER:
        return err_set(err, EISDIR,
                       "%s: there is a folder '%s' in it: a file cannot be copied there",
                       target->shown, name);
    default:
        return err_set(err, ENOTDIR, "%s is a file: a folder cannot be copied there", name);
    }
}

/* `name` in parent_fd is of that kind and stands where the source goes. */
static int place_prepare(struct host_target *target, const char *name, enum host_kind kind,
                         const struct host_source *source, struct err *err)
{
    bool fits =
        kind == HOST_MISSING ||
        (source->is_folder ? kind == HOST_FOLDER : kind == HOST_FILE || kind == HOST_GUEST_LINK);

    if (!fits)
        return kind_refuse(target, kind, name, err);
    if (kind == HOST_FOLDER)
        return folder_prepare(target, name, err);
    return staged_prepare(target, name, source->is_folder, err);
}

/* The path is a folder, and the source goes into it. */
static int inside_prepare(struct host_target *target, const char *folder,
                          const struct host_source *source, struct err *err)
{
    enum host_kind kind;
    bool own_link;

    if (source->is_folder && (source->contents || source->name[0] == '\0'))
        return folder_prepare(target, folder, err);
    int fd = openat(target->parent_fd, *folder ? folder : ".", O_PATH | FOLDER_FLAGS);
    if (fd < 0)
        return err_set_errno(err, errno, "%s", target->shown);
    close_fd(&target->parent_fd);
    target->parent_fd = fd;
    int rc = host_kind_of(fd, source->name, &kind, &own_link);
    if (rc < 0)
        return err_set_errno(err, -rc, "%s/%s", target->shown, source->name);
    return place_prepare(target, source->name, kind, source, err);
}

static int target_prepare(struct host_target *target, const struct host_end *end,
                          const struct host_source *source, struct err *err)
{
    if (source->contents && !source->is_folder)
        return err_set(err, ENOTDIR, "%s is a file, not a folder", source->name);
    if (end->kind == HOST_FOLDER)
        return inside_prepare(target, end->name, source, err);
    if (end->folder_meant && (!source->is_folder || end->kind != HOST_MISSING))
        return err_set(err, end->kind == HOST_MISSING ? ENOENT : ENOTDIR, "there is no folder %s",
                       target->shown);
    return place_prepare(target, end->name, end->kind, source, err);
}

int host_target_open(struct host_target *target, const char *path, const struct host_source *source,
                     struct err *err)
{
    struct host_end end;

    *target = (struct host_target){ .parent_fd = -1, .folder_fd = -1 };
    snprintf(target->shown, sizeof target->shown, "%s", path);
    int rc = host_walk(path, &end, err);
    if (rc < 0)
        return rc;
    target->parent_fd = end.parent_fd;
    rc = target_prepare(target, &end, source, err);
    if (rc < 0)
        host_target_discard(target);
    return rc;
}

/* A file or link out of the staging folder takes its place. What stands there was looked at when the
 * copy began; a device that came since is not replaced either. */
static int file_commit(struct host_target *target, struct err *err)
{
    enum host_kind came, there;
    bool own_link;
    int rc = host_kind_of(target->folder_fd, HOST_TARGET_FILE, &came, &own_link);

    if (rc == 0 && came != HOST_FILE && came != HOST_GUEST_LINK)
        return err_set(err, EPROTO, "the guest's agent sent no file for %s", target->shown);
    if (rc == 0)
        rc = host_kind_of(target->parent_fd, target->name, &there, &own_link);
    if (rc < 0)
        return err_set_errno(err, -rc, "%s", target->shown);
    if (there == HOST_SPECIAL)
        return kind_refuse(target, there, target->name, err);
    if (renameat(target->folder_fd, HOST_TARGET_FILE, target->parent_fd, target->name) < 0)
        return err_set_errno(err, errno, "%s", target->shown);
    return 0;
}

static int folder_commit(struct host_target *target, struct err *err)
{
    int rc = renameat2(target->parent_fd, target->staging, target->parent_fd, target->name,
                       RENAME_NOREPLACE);

    if (rc < 0 && errno == EINVAL) /* a file system without that; it replaces empty folders only */
        rc = renameat(target->parent_fd, target->staging, target->parent_fd, target->name);
    if (rc < 0)
        return err_set_errno(err, errno, "%s", target->shown);
    target->staged = false;
    return 0;
}

int host_target_commit(struct host_target *target, struct err *err)
{
    int rc = 0;

    if (target->staged)
        rc = target->is_file ? file_commit(target, err) : folder_commit(target, err);
    host_target_discard(target);
    return rc;
}

void host_target_discard(struct host_target *target)
{
    if (target->staged)
        (void)tree_remove(target->parent_fd, target->staging, NULL);
    target->staged = false;
    close_fd(&target->folder_fd);
    close_fd(&target->parent_fd);
}
