/* SPDX-License-Identifier: Apache-2.0 */
/* Owns locks, folders and leftovers on disk; see cleanup.h. */
#include "host/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"

#define DEPTH_MAX 4
#define REMOVE_TRIES 5u
#define REMOVE_WAIT_US 10000u

int cleanup_make_dirs(const char *path, unsigned mode, struct err *err)
{
    char part[PATH_MAX];
    struct stat st;

    snprintf(part, sizeof part, "%s", path);
    for (char *slash = part; (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return err_set_errno(err, errno, "can't make the directory %s", part);
        *slash = '/';
    }
    if (mkdir(part, mode) < 0 && errno != EEXIST)
        return err_set_errno(err, errno, "can't make the directory %s", part);
    if (lstat(part, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        return err_set(err, EPERM, "%s is not a directory of ours; choose another or remove it",
                       part);
    if (st.st_mode & 022)
        return err_set(err, EPERM, "%s can be written by others; chmod go-w it", part);
    return 0;
}

int cleanup_lock(const char *dir, int *ret_fd, struct err *err)
{
    char path[PATH_MAX + 8], pid[24] = "";
    _cleanup_close_ int fd = -1;
    ssize_t n;

    snprintf(path, sizeof path, "%s/lock", dir);
    fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, errno, "can't open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        n = pread(fd, pid, sizeof pid - 1, 0);
        pid[n > 0 ? n : 0] = '\0';
        pid[strcspn(pid, "\n")] = '\0';
        return err_set(err, EBUSY,
                       "another poold (pid %s) uses %s; stop it, or choose others with "
                       "--state-dir and --run-dir",
                       pid, dir);
    }
    n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite_all(fd, pid, (size_t)n, 0) < 0)
        return err_set_errno(err, errno, "can't write %s", path);
    *ret_fd = take_fd(&fd);
    return 0;
}

/* 0: it is gone now; or -errno. */
static int remove_below(int parent_fd, const char *name, int depth)
{
    int fd;
    DIR *dir;

    /* An empty one goes without a descriptor, too. */
    if (unlinkat(parent_fd, name, 0) == 0 || errno == ENOENT ||
        unlinkat(parent_fd, name, AT_REMOVEDIR) == 0)
        return 0;
    fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        const int rc = -errno;

        close_fd(&fd);
        return rc;
    }
    for (struct dirent *entry; depth < DEPTH_MAX && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove_below(fd, entry->d_name, depth + 1);
    }
    closedir(dir);
    return unlinkat(parent_fd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

int cleanup_remove_tree(int parent_fd, const char *name)
{
    int rc = remove_below(parent_fd, name, 0);

    /* What failed for want of an fd or of memory may work a moment later. */
    for (unsigned i = 0; rc < 0 && i < REMOVE_TRIES; i++) {
        usleep(REMOVE_WAIT_US);
        rc = remove_below(parent_fd, name, 0);
    }
    return rc;
}
