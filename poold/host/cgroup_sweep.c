/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the making and the end of parent groups; see cgroup_own.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "host/cgroup_own.h"

#define PARENT_PREFIX "volt-"
#define NAME_DIGITS 16u  /* of a poold's (vm_groups.c), in hexadecimal */
#define PARENT_MODE 0700 /* whoever can open a group can lock it */
#define OPEN_ATTEMPTS 10u
#define LOCK_TRIES 50u
#define LOCK_PAUSE_US 2000u

/* Calls each with the name of every group in fd's. */
static void for_each_child(int fd, void (*each)(int fd, const char *name, const void *data),
                           const void *data)
{
    int own_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = own_fd < 0 ? NULL : fdopendir(own_fd);

    if (!dir) {
        close_fd(&own_fd);
        return;
    }
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            each(fd, entry->d_name, data);
    }
    closedir(dir);
}

static void child_remove(int fd, const char *name, const void *data)
{
    (void)data;
    (void)unlinkat(fd, name, AT_REMOVEDIR); /* refused while in use */
}

void cgroup_children_sweep(int parent_fd)
{
    for_each_child(parent_fd, child_remove, NULL);
}

static bool is_a_poolds(const char *group)
{
    const size_t prefix_bytes = strlen(PARENT_PREFIX);

    return strncmp(group, PARENT_PREFIX, prefix_bytes) == 0 &&
           strlen(group) == prefix_bytes + NAME_DIGITS &&
           strspn(group + prefix_bytes, "0123456789abcdef") == NAME_DIGITS;
}

/* A group of another poold's, which has no lock on it: it has ended without removing it. */
static void other_sweep(int own_fd, const char *group, const void *data)
{
    const char *ours = data;
    _cleanup_close_ int fd = -1;

    if (!is_a_poolds(group) || strcmp(group, ours) == 0)
        return;
    fd = openat(own_fd, group, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return;
    cgroup_children_sweep(fd);
    child_remove(own_fd, group, NULL);
}

static bool is_still_there(int own_fd, const char *group, int fd)
{
    struct stat opened, named;

    return fstat(fd, &opened) == 0 && fstatat(own_fd, group, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           opened.st_ino == named.st_ino;
}

/* A sweep holds its lock for microseconds, so one that stays is a stranger's, who has opened the group of
 * a poold that has ended before that was for its user alone: as long as he holds it nobody sweeps. */
static int parent_lock(int fd)
{
    if (fchmod(fd, PARENT_MODE) < 0)
        return -errno;
    for (unsigned i = 0; i < LOCK_TRIES && flock(fd, LOCK_SH | LOCK_NB) < 0; i++) {
        if (errno != EWOULDBLOCK)
            return -errno;
        usleep(LOCK_PAUSE_US);
    }
    return 0;
}

int cgroup_parent_open(int own_fd, const char *group)
{
    for (unsigned i = 0; i < OPEN_ATTEMPTS; i++) {
        _cleanup_close_ int fd = -1;
        int rc;

        if (mkdirat(own_fd, group, PARENT_MODE) < 0 && errno != EEXIST)
            return -errno;
        fd = openat(own_fd, group, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT)
            continue; /* swept by another poold, which came before our lock */
        rc = fd < 0 ? -errno : parent_lock(fd);
        if (rc < 0)
            return rc;
        if (!is_still_there(own_fd, group, fd))
            continue;
        cgroup_children_sweep(fd);
        for_each_child(own_fd, other_sweep, group);
        return take_fd(&fd);
    }
    return -EBUSY;
}
