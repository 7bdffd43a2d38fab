/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the folders on the way to a member, and what folders get when all else is done. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "inode_set.h"
#include "place_internal.h"

#define PATHS_BYTES_MAX MIB(256) /* of all folders that are remembered */
#define FOLDER_FLAGS (O_PATH | O_DIRECTORY | O_CLOEXEC)

struct place_dir {
    char *path;
    mode_t mode;
    struct timespec mtime;
    bool made;
};

int place_open(const struct place *place, const char *path, int flags)
{
    const struct open_how how = {
        .flags = (uint64_t)flags,
        .resolve =
            RESOLVE_NO_MAGICLINKS | (place->rules.in_root ? RESOLVE_IN_ROOT : RESOLVE_BENEATH),
    };

    for (unsigned tries = 0;; tries++) {
        long fd = syscall(SYS_openat2, place->root_fd, *path ? path : ".", &how, sizeof how);

        /* EAGAIN: somebody moved a folder while ".." of a link was followed. */
        if (fd >= 0 || errno != EAGAIN || tries == 100)
            return fd < 0 ? -errno : (int)fd;
    }
}

int place_open_folder(const struct place *place, const char *path, int *ret_fd)
{
    int fd = place_open(place, path, FOLDER_FLAGS);

    if (fd < 0)
        return fd;
    *ret_fd = fd;
    return 0;
}

int place_made_note(const struct place *place, int parent_fd, const char *name)
{
    struct stat st;

    if (!place->layer)
        return 0;
    if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    return inode_set_add(place->layer, st.st_ino);
}

/* Goes into one folder of a path, which is made if it is missing. A link there is followed as any
 * other on the way: `prefix` is the path up to and with it. An fd or -errno. */
static int folder_step(const struct place *place, int parent_fd, const char *name,
                       const char *prefix)
{
    bool made = mkdirat(parent_fd, name, 0755) == 0;

    if (!made && errno != EEXIST)
        return -errno;
    int rc = made ? place_made_note(place, parent_fd, name) : 0;
    if (rc < 0)
        return rc;
    int fd = openat(parent_fd, name, FOLDER_FLAGS | O_NOFOLLOW);
    if (fd >= 0 || (errno != ELOOP && errno != ENOTDIR))
        return fd < 0 ? -errno : fd;
    return place_open(place, prefix, FOLDER_FLAGS);
}

/* Makes what is missing of a path of folders, and opens it. An fd or -errno. */
static int folders_make(const struct place *place, const char *path)
{
    char prefix[NAME_PATH_BYTES];
    size_t length = 0;
    int fd = place_open(place, "", FOLDER_FLAGS);

    while (fd >= 0 && path[length]) {
        size_t from = length + (length > 0), bytes = strcspn(path + from, "/");

        memcpy(prefix + length, path + length, from + bytes - length);
        length = from + bytes;
        prefix[length] = '\0';
        int next = folder_step(place, fd, prefix + from, prefix);
        close(fd);
        fd = next;
    }
    return fd;
}

int place_make_folder(const struct place *place, const char *path)
{
    _cleanup_close_ int fd = folders_make(place, path);

    return fd < 0 ? fd : 0;
}

int place_parent(struct place *place, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;

    *ret_name = slash ? slash + 1 : path;
    if (place->parent_fd >= 0 && !place->parent_stale && strlen(place->parent_path) == length &&
        memcmp(place->parent_path, path, length) == 0)
        return place->parent_fd;
    close_fd(&place->parent_fd);
    place->parent_stale = false;
    memcpy(place->parent_path, path, length);
    place->parent_path[length] = '\0';
    int fd = place_open(place, place->parent_path, FOLDER_FLAGS);
    if (fd == -ENOENT)
        fd = folders_make(place, place->parent_path);
    if (fd >= 0)
        place->parent_fd = fd;
    return fd;
}

int place_dir_remember(struct place *place, const struct member *member, bool made)
{
    size_t bytes = strlen(member->path) + 1;

    if (place->path_bytes + bytes > PATHS_BYTES_MAX)
        return -E2BIG;
    if (place->dir_count == place->dir_room) {
        size_t room = 2 * place->dir_room + 64;
        struct place_dir *dirs = realloc(place->dirs, room * sizeof *dirs);

        if (!dirs)
            return -ENOMEM;
        place->dirs = dirs;
        place->dir_room = room;
    }
    char *path = strdup(member->path);
    if (!path)
        return -ENOMEM;
    place->dirs[place->dir_count++] =
        (struct place_dir){ path, member->mode & place->rules.mode_mask, member->mtime, made };
    place->path_bytes += bytes;
    return 0;
}

/* What became of a folder since is left as it is: a link or a file in its place, say. */
static int dir_finish(const struct place *place, const struct place_dir *dir,
                      struct inode_set *done, struct err *err)
{
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, dir->mtime };
    struct stat st;
    char shown[128];
    _cleanup_close_ int fd =
        place_open(place, dir->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0 || inode_set_has(done, st.st_ino))
        return 0;
    if (inode_set_add(done, st.st_ino) < 0)
        return err_set(err, ENOMEM, "out of memory");
    if (fchmod(fd, dir->mode) < 0 && dir->made)
        return err_set_errno(err, errno, "setting the mode of %s",
                             name_printable(dir->path, shown, sizeof shown));
    (void)futimens(fd, times); /* a file system that keeps no times is no reason to fail */
    return 0;
}

/* Backwards: what is inside comes after what it is in, and of two words on one folder the last one
 * counts. */
int place_finish(struct place *place, struct err *err)
{
    struct inode_set done = { 0 };
    int rc = 0;

    for (size_t i = place->dir_count; rc == 0 && i-- > 0;)
        rc = dir_finish(place, &place->dirs[i], &done, err);
    inode_set_fini(&done);
    return rc;
}

void place_fini(struct place *place)
{
    close_fd(&place->parent_fd);
    close_fd(&place->file_fd);
    for (size_t i = 0; i < place->dir_count; i++)
        free(place->dirs[i].path);
    free(place->dirs);
    place->dirs = NULL;
    place->dir_count = place->dir_room = 0;
}
