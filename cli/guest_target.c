/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the place of a copy in a guest; see guest_target.h. */
#include "guest_target.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "copy_get.h"

#define LINKS_MAX 40

/* Puts what a link says in its place. Whatever the guest answers is only a path of its own. */
static int link_follow(struct split_path *path, const char *link, struct err *err)
{
    char resolved[PATH_MAX];
    bool slash = path->slash, contents = path->contents;
    int bytes = *link == '/' ? snprintf(resolved, sizeof resolved, "%s", link)
                             : snprintf(resolved, sizeof resolved, "%s/%s", path->dir, link);

    if (bytes >= (int)sizeof resolved)
        return err_set_errno(err, ENAMETOOLONG, "%s", path->whole);
    int rc = copy_path_split(resolved, path, err);
    path->slash |= slash;
    path->contents |= contents;
    return rc;
}

/* One look. 1: it is a link, and was followed. */
static int kind_find(struct guest_target *target, struct api *api, const char *lease,
                     struct err *err)
{
    _cleanup_copy_get_ struct copy_get get = { 0 };
    int rc = copy_get_start(&get, api, lease, target->path.whole, 0, err);

    if (rc == -ENOTSUP)
        return err_set(err, EEXIST, "%s is a device, FIFO or socket, which is not replaced",
                       target->path.whole);
    target->kind = rc == -ENOENT ? GUEST_MISSING : GUEST_FILE;
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    if (get.first.kind == TAR_HEAD_DIRECTORY)
        target->kind = GUEST_FOLDER;
    if (get.first.kind != TAR_HEAD_SYMLINK)
        return 0;
    rc = link_follow(&target->path, get.first.link, err);
    return rc < 0 ? rc : 1;
}

int guest_target_find(struct guest_target *target, struct api *api, const char *lease,
                      const char *path, struct err *err)
{
    int rc = copy_path_split(path, &target->path, err);

    for (unsigned links = 0; rc == 0; links++) {
        rc = kind_find(target, api, lease, err);
        if (rc <= 0)
            return rc;
        rc = links < LINKS_MAX ? 0 : err_set_errno(err, ELOOP, "%s", path);
    }
    return rc;
}

int guest_target_plan(const struct guest_target *target, const struct split_path *source,
                      bool source_is_folder, struct guest_plan *ret, struct err *err)
{
    const struct split_path *path = &target->path;

    *ret = (struct guest_plan){ .folder = path->whole };
    if (source->contents && !source_is_folder)
        return err_set(err, ENOTDIR, "%s is a file, not a folder", source->whole);
    if (target->kind == GUEST_FOLDER) {
        ret->contents = source_is_folder && (source->contents || source->name[0] == '\0');
        return 0;
    }
    if (source_is_folder && target->kind == GUEST_FILE)
        return err_set(err, ENOTDIR, "%s is a file: a folder cannot be copied there", path->whole);
    if (source->name[0] == '\0') { /* the host's root, which tar can't give another name */
        ret->contents = true;
        return 0;
    }
    if (!source_is_folder && (path->slash || path->contents))
        return err_set(err, target->kind == GUEST_FILE ? ENOTDIR : ENOENT, "there is no folder %s",
                       path->whole);
    ret->folder = path->dir;
    ret->rename_to = path->name;
    return 0;
}
