/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the question whether somebody listens at a path; see unix_listen.h. */
#include "base/unix_listen.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"

#define LOCK_TRIES 200u
#define LOCK_PAUSE_NS (10 * NS_PER_MS)

/* The directory of path, locked until it is closed; or -errno. Who listens holds the lock for an instant,
 * so one that is held on and on is that of a stranger, whom a directory that everybody may read does not
 * keep from it: he holds nobody up. */
static int directory_lock(const char *path)
{
    char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
    const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };
    const char *slash = strrchr(path, '/');

    snprintf(directory, sizeof directory, "%.*s", slash ? (int)MAX_OF(slash - path, 1) : 1,
             slash ? path : ".");
    _cleanup_close_ int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (unsigned i = 0; i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
        if (errno != EWOULDBLOCK)
            return -errno;
        nanosleep(&pause, NULL);
    }
    return take_fd(&fd);
}

/* 0: nobody listens there, so it may be removed; else -errno as a connection ends. */
static int nobody_listens(const struct sockaddr_un *address)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0)
        return -EADDRINUSE;
    switch (errno) {
    case ECONNREFUSED:
        return 0;
    case EAGAIN:     /* a full backlog */
    case EPROTOTYPE: /* a socket of another type */
        return -EADDRINUSE;
    default:
        return -errno;
    }
}

/* Under the directory's lock. */
static int path_clear(const struct sockaddr_un *address, struct err *err)
{
    const char *path = address->sun_path;
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_set_errno(err, errno, "%s", path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, EEXIST, "%s is there and is no socket; remove it, or choose another",
                       path);
    int rc = nobody_listens(address);
    if (rc == -EADDRINUSE)
        return err_set(err, EADDRINUSE, "another program listens on %s; stop it, or choose another",
                       path);
    if (rc < 0)
        return err_set_errno(err, -rc, "can't tell whether another program listens on %s", path);
    if (unlink(path) < 0 && errno != ENOENT)
        return err_set_errno(err, errno, "can't remove %s, on which nobody listens", path);
    return 0;
}

static int bind_at(int fd, const struct sockaddr_un *address, mode_t mode, gid_t group,
                   struct err *err)
{
    mode_t mask = umask(0177);
    int rc = bind(fd, (const struct sockaddr *)address, sizeof *address) < 0 ? -errno : 0;

    umask(mask);
    if (rc < 0)
        return err_set_errno(err, -rc, "can't bind %s", address->sun_path);
    if (group != UNIX_KEEP_GROUP && chown(address->sun_path, (uid_t)-1, group) < 0)
        rc = err_set_errno(err, errno, "can't give %s to group %u", address->sun_path,
                           (unsigned)group);
    else if (chmod(address->sun_path, mode) < 0)
        rc = err_set_errno(err, errno, "can't set the mode of %s", address->sun_path);
    if (rc < 0)
        unlink(address->sun_path);
    return rc;
}

static int listen_at(struct unix_listener *ret_listener, const char *path, int type, mode_t mode,
                     gid_t group, int backlog, struct err *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct unix_listener listener = { .fd = -1 };
    struct stat st;

    if (strlen(path) >= sizeof address.sun_path)
        return err_set(err, ENAMETOOLONG, "a socket's path has at most %zu characters: %s",
                       sizeof address.sun_path - 1, path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    memcpy(listener.path, path, strlen(path) + 1);
    _cleanup_close_ int directory = directory_lock(path);
    if (directory < 0)
        return err_set_errno(err, -directory, "can't lock the directory of %s", path);
    int rc = path_clear(&address, err);
    if (rc < 0)
        return rc;
    _cleanup_close_ int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set_errno(err, errno, "can't make a socket");
    rc = bind_at(fd, &address, mode, group, err);
    if (rc < 0)
        return rc;
    if (listen(fd, backlog) < 0 || lstat(path, &st) < 0) {
        rc = err_set_errno(err, errno, "can't listen on %s", address.sun_path);
        unlink(path);
        return rc;
    }
    listener.fd = take_fd(&fd);
    listener.device = st.st_dev;
    listener.inode = st.st_ino;
    *ret_listener = listener;
    return 0;
}

int unix_listen(struct unix_listener *ret_listener, const char *path, mode_t mode, gid_t group,
                int backlog, struct err *err)
{
    return listen_at(ret_listener, path, SOCK_STREAM, mode, group, backlog, err);
}

int unix_listen_packets(struct unix_listener *ret_listener, const char *path, mode_t mode,
                        int backlog, struct err *err)
{
    return listen_at(ret_listener, path, SOCK_SEQPACKET, mode, UNIX_KEEP_GROUP, backlog, err);
}

void unix_listener_remove(struct unix_listener *listener)
{
    struct stat st;

    if (listener->path[0] && lstat(listener->path, &st) == 0 && st.st_dev == listener->device &&
        st.st_ino == listener->inode)
        unlink(listener->path);
    listener->path[0] = '\0';
}

void unix_listener_close(struct unix_listener *listener)
{
    if (listener->fd < 0)
        return;
    unix_listener_remove(listener);
    close_fd(&listener->fd);
}
