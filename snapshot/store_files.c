/* SPDX-License-Identifier: Apache-2.0 */
/* Owns names and removal in the store; see store_internal.h and store.h. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "snapshot/store_internal.h"

#define TEMP_MARK ".tmp."
#define TEMP_RANDOM_CHARS 6u

bool snapshot_name_valid(const char *name)
{
    size_t len = strnlen(name, SNAPSHOT_NAME_BYTES);
    size_t base = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.");

    if (len == 0 || len == SNAPSHOT_NAME_BYTES || !isalnum((unsigned char)name[0]))
        return false;
    return base == len || (name[base] == '~' && base + 1 < len &&
                           base + 1 + strspn(name + base + 1, "0123456789") == len);
}

void store_temp_name(const char *name, char ret_temp_name[SNAPSHOT_TEMP_NAME_BYTES])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz012345";
    uint8_t random[TEMP_RANDOM_CHARS];

    random_bytes(random, sizeof random);
    int used = snprintf(ret_temp_name, SNAPSHOT_TEMP_NAME_BYTES, ".%s" TEMP_MARK, name);
    for (unsigned i = 0; i < TEMP_RANDOM_CHARS; i++)
        ret_temp_name[used++] = letters[random[i] % 32];
    ret_temp_name[used] = '\0';
}

bool store_temp_name_valid(const char *name)
{
    const size_t tail = sizeof TEMP_MARK - 1 + TEMP_RANDOM_CHARS;
    char inner[SNAPSHOT_NAME_BYTES];
    size_t len = strlen(name);

    if (name[0] != '.' || len <= 1 + tail || len - 1 - tail >= sizeof inner ||
        memcmp(name + len - tail, TEMP_MARK, sizeof TEMP_MARK - 1) != 0)
        return false;
    memcpy(inner, name + 1, len - 1 - tail);
    inner[len - 1 - tail] = '\0';
    return snapshot_name_valid(inner);
}

int store_for_each(int dirfd, int (*each)(void *data, const char *name, struct err *err),
                   void *data, struct err *err)
{
    _cleanup_close_ int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int rc = 0;

    if (!dir)
        return err_set_errno(err, errno, "reading a directory of the snapshot store");
    (void)take_fd(&fd); /* closedir closes it */
    while (rc >= 0 && (errno = 0, entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = each(data, entry->d_name, err);
    }
    if (rc >= 0 && errno)
        rc = err_set_errno(err, errno, "reading a directory of the snapshot store");
    closedir(dir);
    return rc;
}

static int remove_file(void *data, const char *name, struct err *err)
{
    const int *dirfd = data;

    if (unlinkat(*dirfd, name, 0) < 0 && errno != ENOENT)
        return err_set_errno(err, errno, "removing '%s'", name);
    return 0;
}

static int remove_once(int store_fd, const char *name, struct err *err)
{
    _cleanup_close_ int dirfd =
        openat(store_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (dirfd < 0 && errno == ENOENT)
        return 0;
    if (dirfd < 0) /* no directory at all: a file, a symbolic link */
        return unlinkat(store_fd, name, 0) < 0 ? err_set_errno(err, errno, "removing '%s'", name)
                                               : 0;
    int rc = store_for_each(dirfd, remove_file, &dirfd, err);
    if (rc == 0 && unlinkat(store_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        rc = err_set_errno(err, errno, "removing '%s'", name);
    return rc;
}

int store_remove(int store_fd, const char *name, struct err *err)
{
    int rc = remove_once(store_fd, name, err);

    for (unsigned i = 1; rc < 0 && i < STORE_TRIES; i++) {
        usleep(STORE_WAIT_US);
        rc = remove_once(store_fd, name, err);
    }
    return rc;
}

int snapshot_dir_open(int store_fd, const char *name, int *ret_dirfd, struct err *err)
{
    struct stat st;

    if (!snapshot_name_valid(name))
        return err_set(err, EINVAL,
                       "'%s' is no name of a snapshot: 1 to 63 of a-z 0-9 - _ ., beginning with a "
                       "letter or digit",
                       name);
    _cleanup_close_ int fd =
        openat(store_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ENOENT, "there is no snapshot '%s'", name);
    if (fd < 0)
        return err_set_errno(err, errno, "snapshot '%s'", name);
    if (fstat(fd, &st) < 0)
        return err_set_errno(err, errno, "snapshot '%s'", name);
    if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return err_set(err, EINVAL,
                       "snapshot '%s': its directory belongs to uid %u with mode %04o, expected "
                       "uid %u and no writing by others",
                       name, st.st_uid, st.st_mode & 07777u, geteuid());
    *ret_dirfd = take_fd(&fd);
    return 0;
}
