/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the removal of trees.
 *
 * How it works: one descriptor walks the tree; a stack of name lists remembers what is left to do on
 * each level above it. The way up is "..", so depth costs memory and no descriptors. */
#include "tree_remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"

/* A folder that is being emptied. */
struct level {
    char *names; /* NUL-terminated, one behind the other */
    size_t bytes, room;
    size_t at; /* of the name at hand */
    uint64_t inode;
};

struct walk {
    struct level *levels;
    size_t depth, room;
    int fd; /* of the innermost folder */
    const struct inode_set *keep;
};

static bool is_kept(const struct walk *walk, uint64_t inode)
{
    return walk->keep && inode_set_has(walk->keep, inode);
}

static int name_add(struct level *level, const char *name)
{
    size_t bytes = strlen(name) + 1;

    if (level->bytes + bytes > level->room) {
        size_t room = 2 * level->room + bytes + 256;
        char *names = realloc(level->names, room);

        if (!names)
            return -ENOMEM;
        level->names = names;
        level->room = room;
    }
    memcpy(level->names + level->bytes, name, bytes);
    level->bytes += bytes;
    return 0;
}

static int names_list(int fd, struct level *level)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);

    if (!dir) {
        rc = -errno;
        close_fd(&copy);
        return rc;
    }
    errno = 0;
    for (struct dirent *entry; rc == 0 && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = name_add(level, entry->d_name);
        errno = 0;
    }
    if (rc == 0 && errno)
        rc = -errno;
    closedir(dir);
    return rc;
}

/* Opens a folder and makes its owner, unless that is root, able to empty it. */
static int folder_open(int parent_fd, const char *name)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(parent_fd, name, flags);

    if (fd < 0 && errno == EACCES && fchmodat(parent_fd, name, 0700, 0) == 0)
        fd = openat(parent_fd, name, flags);
    if (fd >= 0 && geteuid() != 0)
        (void)fchmod(fd, 0700);
    return fd;
}

static int level_push(struct walk *walk, int fd, uint64_t inode)
{
    if (walk->depth == walk->room) {
        size_t room = 2 * walk->room + 16;
        struct level *levels = realloc(walk->levels, room * sizeof *levels);

        if (!levels)
            return -ENOMEM;
        walk->levels = levels;
        walk->room = room;
    }
    walk->levels[walk->depth] = (struct level){ .inode = inode };
    return names_list(fd, &walk->levels[walk->depth++]);
}

/* Goes into a folder, or removes what is none. */
static int entry_take(struct walk *walk, const char *name, bool *ret_entered)
{
    struct stat st;

    *ret_entered = false;
    if (fstatat(walk->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISDIR(st.st_mode))
        return is_kept(walk, st.st_ino) || unlinkat(walk->fd, name, 0) == 0 ? 0 : -errno;
    int fd = folder_open(walk->fd, name);
    if (fd < 0)
        return -errno;
    close(walk->fd);
    walk->fd = fd;
    *ret_entered = true;
    return level_push(walk, fd, st.st_ino);
}

/* The innermost folder is done: goes up and removes it, unless it is kept or something in it is. */
static int level_pop(struct walk *walk, int parent_fd, const char *top)
{
    struct level *level = &walk->levels[walk->depth - 1];
    bool kept = is_kept(walk, level->inode);
    int fd = walk->depth == 1 ? openat(parent_fd, ".", O_PATH | O_CLOEXEC)
                              : openat(walk->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    free(level->names);
    close(walk->fd);
    walk->fd = fd;
    walk->depth--;
    const char *name = top;
    if (walk->depth > 0) {
        struct level *above = &walk->levels[walk->depth - 1];

        name = above->names + above->at;
        above->at += strlen(name) + 1;
    }
    if (kept || unlinkat(fd, name, AT_REMOVEDIR) == 0 || (walk->keep && errno == ENOTEMPTY))
        return 0;
    return -errno;
}

int tree_remove(int parent_fd, const char *name, const struct inode_set *keep)
{
    struct walk walk = { .fd = openat(parent_fd, ".", O_PATH | O_CLOEXEC), .keep = keep };
    bool entered;
    int rc = walk.fd < 0 ? -errno : entry_take(&walk, name, &entered);

    while (rc == 0 && walk.depth > 0) {
        struct level *level = &walk.levels[walk.depth - 1];

        if (level->at == level->bytes) {
            rc = level_pop(&walk, parent_fd, name);
            continue;
        }
        const char *entry = level->names + level->at;
        rc = entry_take(&walk, entry, &entered);
        if (!entered && rc == 0)
            level->at += strlen(entry) + 1;
    }
    while (walk.depth > 0)
        free(walk.levels[--walk.depth].names);
    free(walk.levels);
    close_fd(&walk.fd);
    return rc;
}

int tree_empty(int folder_fd, const struct inode_set *keep)
{
    struct level level = { 0 };
    int rc = names_list(folder_fd, &level);

    for (size_t at = 0; rc == 0 && at < level.bytes; at += strlen(level.names + at) + 1)
        rc = tree_remove(folder_fd, level.names + at, keep);
    free(level.names);
    return rc;
}
