/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the opening of snapshot files; see file.h. */
#include "snapshot/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/util.h"

static int check_stat(const char *name, const struct stat *st, uint64_t min_bytes,
                      uint64_t max_bytes, struct err *err)
{
    if (!S_ISREG(st->st_mode))
        return err_set(err, EINVAL, "%s: not a regular file", name);
    if (st->st_uid != geteuid())
        return err_set(err, EINVAL, "%s: belongs to uid %u, expected %u", name, st->st_uid,
                       geteuid());
    if (st->st_mode & (S_IWGRP | S_IWOTH))
        return err_set(err, EINVAL, "%s: mode %04o: others may write it, expected 0600", name,
                       st->st_mode & 07777u);
    if ((uint64_t)st->st_size >= min_bytes && (uint64_t)st->st_size <= max_bytes)
        return 0;
    if (min_bytes == max_bytes)
        return err_set(err, EINVAL, "%s: %lld bytes long, expected %llu", name,
                       (long long)st->st_size, (unsigned long long)min_bytes);
    return err_set(err, EINVAL, "%s: %lld bytes long, expected %llu to %llu", name,
                   (long long)st->st_size, (unsigned long long)min_bytes,
                   (unsigned long long)max_bytes);
}

int snapshot_file_open(int dirfd, const char *name, uint64_t min_bytes, uint64_t max_bytes,
                       int *ret_fd, uint64_t *ret_bytes, struct err *err)
{
    struct stat st;
    _cleanup_close_ int fd =
        openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd < 0 && errno == ELOOP)
        return err_set(err, EINVAL, "%s: a symbolic link, expected a regular file", name);
    if (fd < 0)
        return err_set_errno(err, errno, "%s", name);
    if (fstat(fd, &st) < 0)
        return err_set_errno(err, errno, "%s", name);
    int rc = check_stat(name, &st, min_bytes, max_bytes, err);
    if (rc < 0)
        return rc;
    *ret_fd = take_fd(&fd);
    *ret_bytes = (uint64_t)st.st_size;
    return 0;
}

int snapshot_file_read(int dirfd, const char *name, uint64_t max_bytes, uint8_t **ret_bytes,
                       size_t *ret_len, struct err *err)
{
    _cleanup_close_ int fd = -1;
    uint64_t len = 0;
    int rc = snapshot_file_open(dirfd, name, 0, max_bytes, &fd, &len, err);

    if (rc < 0)
        return rc;
    _cleanup_free_ uint8_t *bytes = malloc(len + 1);
    if (!bytes)
        return err_set_errno(err, ENOMEM, "%s: reading %llu bytes", name, (unsigned long long)len);
    rc = pread_all(fd, bytes, len, 0);
    if (rc < 0)
        return err_set_errno(err, -rc, "%s", name);
    bytes[len] = '\0';
    *ret_bytes = take_pointer(&bytes);
    *ret_len = len;
    return 0;
}

int snapshot_file_create(int dirfd, const char *name, const void *bytes, size_t len,
                         struct err *err)
{
    _cleanup_close_ int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_set_errno(err, errno, "%s: creating it", name);
    int rc = pwrite_all(fd, bytes, len, 0);
    if (rc < 0)
        return err_set_errno(err, -rc, "%s: writing it", name);
    if (fsync(fd) < 0)
        return err_set_errno(err, errno, "%s: writing it to disk", name);
    return 0;
}
