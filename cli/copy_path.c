/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the taking apart of paths; see copy_path.h. */
#include "copy_path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void slashes_strip(char *path, bool *ret_slash)
{
    size_t bytes = strlen(path);

    while (bytes > 1 && path[bytes - 1] == '/') {
        path[--bytes] = '\0';
        *ret_slash = true;
    }
}

int copy_path_split(const char *path, struct split_path *ret, struct err *err)
{
    ret->slash = ret->contents = false;
    size_t bytes = strlen(path);
    if (bytes == 0 || bytes >= sizeof ret->whole)
        return err_set(err, EINVAL, "'%.60s' is no usable path", path);
    memcpy(ret->whole, path, bytes + 1);
    slashes_strip(ret->whole, &ret->slash);
    bytes = strlen(ret->whole);
    if (bytes >= 2 && strcmp(ret->whole + bytes - 2, "/.") == 0) {
        ret->contents = true;
        ret->whole[bytes == 2 ? 1 : bytes - 2] = '\0';
        slashes_strip(ret->whole, &ret->slash);
    }
    const char *slash = strrchr(ret->whole, '/');
    const char *name = slash ? slash + 1 : ret->whole;
    if (strlen(name) > NAME_MAX)
        return err_set(err, ENAMETOOLONG, "the name '%.40s...' is too long", name);
    strcpy(ret->name, name);
    if (!slash)
        strcpy(ret->dir, ".");
    else
        snprintf(ret->dir, sizeof ret->dir, "%.*s",
                 slash == ret->whole ? 1 : (int)(slash - ret->whole), ret->whole);
    return 0;
}
