/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what a layer takes away; see whiteout.h. */
#include "whiteout.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "tree_remove.h"

#define PREFIX ".wh."
#define META_PREFIX ".wh..wh."
#define OPAQUE ".wh..wh..opq"

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

bool whiteout_is(const char *path)
{
    return begins(base_name(path), PREFIX);
}

/* The folder that a whiteout is in; 1 if there is none: then there is nothing to take away. */
static int folder_open(const struct place *place, const char *path, const char *name, int *ret_fd)
{
    char folder[NAME_PATH_BYTES];
    size_t bytes = (size_t)(name - path);

    memcpy(folder, path, bytes);
    folder[bytes > 0 ? bytes - 1 : 0] = '\0';
    int rc = place_open_folder(place, folder, ret_fd);
    return rc == -ENOENT || rc == -ENOTDIR ? 1 : rc;
}

int whiteout_apply(struct place *place, const char *path, struct err *err)
{
    const char *base = base_name(path), *name = base + strlen(PREFIX);
    bool opaque = strcmp(base, OPAQUE) == 0;
    _cleanup_close_ int fd = -1;
    char shown[200];

    name_printable(path, shown, sizeof shown);
    if (begins(base, META_PREFIX) && !opaque)
        return 0;
    if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return err_set(err, EPERM, "the layer has '%s', which names no file to take away", shown);
    int rc = folder_open(place, path, base, &fd);
    if (rc != 0)
        return rc > 0 ? 0 : err_set_errno(err, -rc, "%s", shown);
    place->parent_stale = true;
    rc = opaque ? tree_empty(fd, place->layer) : tree_remove(fd, name, place->layer);
    return rc < 0 ? err_set_errno(err, -rc, "%s", shown) : 0;
}
