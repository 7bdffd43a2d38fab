/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the walk along a path of the user's; see host_walk.h. */
#include "host_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "unpack/place.h"

#define LINKS_MAX 40
#define FOLDER_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

struct walk {
    const char *path; /* as it was given, for messages */
    int fd;           /* where it is by now */
    unsigned links;   /* followed by now */
    char rest[PATH_MAX];
};

int host_kind_of(int parent_fd, const char *name, enum host_kind *ret_kind, bool *ret_own_link)
{
    struct stat st;

    *ret_own_link = false;
    *ret_kind = HOST_MISSING;
    if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (S_ISLNK(st.st_mode)) {
        *ret_own_link = st.st_mtim.tv_nsec != PLACE_LINK_MARK_NS;
        *ret_kind = HOST_GUEST_LINK;
    } else {
        *ret_kind = S_ISDIR(st.st_mode)   ? HOST_FOLDER
                    : S_ISREG(st.st_mode) ? HOST_FILE
                                          : HOST_SPECIAL;
    }
    return 0;
}

/* Goes on at fd, which becomes the walk's. */
static int walk_to(struct walk *walk, int fd, struct err *err)
{
    if (fd < 0)
        return err_set_errno(err, errno, "%s", walk->path);
    close_fd(&walk->fd);
    walk->fd = fd;
    return 0;
}

/* Puts what a link of the user's says before the rest. */
static int link_follow(struct walk *walk, const char *name, struct err *err)
{
    char target[PATH_MAX], rest[PATH_MAX];
    ssize_t bytes = readlinkat(walk->fd, name, target, sizeof target - 1);

    if (bytes < 0)
        return err_set_errno(err, errno, "%s", walk->path);
    target[bytes] = '\0';
    if (++walk->links > LINKS_MAX)
        return err_set_errno(err, ELOOP, "%s", walk->path);
    if (snprintf(rest, sizeof rest, "%s%s%s", target, *walk->rest ? "/" : "", walk->rest) >=
        (int)sizeof rest)
        return err_set_errno(err, ENAMETOOLONG, "%s", walk->path);
    memcpy(walk->rest, rest, sizeof rest);
    return target[0] == '/' ? walk_to(walk, open("/", FOLDER_FLAGS), err) : 0;
}

/* Takes the next component that is a name off the rest; dots are gone along. 1: there was one, 0:
 * the path is at its end. */
static int component_take(struct walk *walk, char name[NAME_MAX + 1], struct err *err)
{
    for (;;) {
        char *at = walk->rest + strspn(walk->rest, "/");
        size_t bytes = strcspn(at, "/");

        if (bytes == 0)
            return 0;
        if (bytes > NAME_MAX)
            return err_set_errno(err, ENAMETOOLONG, "%s", walk->path);
        memcpy(name, at, bytes);
        name[bytes] = '\0';
        memmove(walk->rest, at + bytes, strlen(at + bytes) + 1);
        if (strcmp(name, ".") == 0)
            continue;
        if (strcmp(name, "..") != 0)
            return 1;
        int rc = walk_to(walk, openat(walk->fd, "..", FOLDER_FLAGS), err);
        if (rc < 0)
            return rc;
    }
}

/* Whether nothing but slashes and dots follows. */
static bool is_last(const char *rest)
{
    while (*rest == '/' || (*rest == '.' && (rest[1] == '/' || rest[1] == '\0')))
        rest++;
    return *rest == '\0';
}

/* One component. 1: it was the last one, and *end says what it is. */
static int step(struct walk *walk, const char *name, struct host_end *end, struct err *err)
{
    bool own_link, last = is_last(walk->rest);
    int rc = host_kind_of(walk->fd, name, &end->kind, &own_link);

    if (rc < 0)
        return err_set_errno(err, -rc, "%s", walk->path);
    if (own_link)
        return link_follow(walk, name, err);
    end->folder_meant |= last && *walk->rest;
    if (end->kind == HOST_GUEST_LINK && (!last || end->folder_meant))
        return err_set(err, ELOOP,
                       "%s: '%s' is a link that came out of a VM, which is not followed; name the "
                       "folder itself",
                       walk->path, name);
    if (last) {
        memccpy(end->name, name, '\0', sizeof end->name);
        return 1;
    }
    if (end->kind == HOST_MISSING)
        return err_set(err, ENOENT, "%s: there is no '%s'", walk->path, name);
    return walk_to(walk, openat(walk->fd, name, FOLDER_FLAGS), err);
}

int host_walk(const char *path, struct host_end *ret_end, struct err *err)
{
    struct host_end end = { .parent_fd = -1, .kind = HOST_FOLDER };
    struct walk walk = { .path = path, .fd = -1 };
    char name[NAME_MAX + 1];

    if (*path == '\0' || strlen(path) >= sizeof walk.rest)
        return err_set(err, EINVAL, "'%.60s' is no usable path", path);
    memcpy(walk.rest, path, strlen(path) + 1);
    int rc = walk_to(&walk, open(*path == '/' ? "/" : ".", FOLDER_FLAGS), err);
    while (rc == 0) {
        rc = component_take(&walk, name, err);
        if (rc == 0) { /* dots and slashes to the end: the folder that we are in */
            end.kind = HOST_FOLDER;
            break;
        }
        if (rc > 0)
            rc = step(&walk, name, &end, err);
    }
    if (rc < 0) {
        close_fd(&walk.fd);
        return rc;
    }
    end.parent_fd = walk.fd;
    *ret_end = end;
    return 0;
}
