/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the reading, writing and deletion of NAME.json; see state_file.h. */
#include "base/state_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

#define FILE_NAME_BYTES (STATE_NAME_BYTES + 16)

int state_file_write(int dir_fd, const char *name, const char *text, struct err *err)
{
    char file[FILE_NAME_BYTES], temporary[FILE_NAME_BYTES];
    _cleanup_close_ int fd = -1;
    int rc;

    snprintf(file, sizeof file, "%s.json", name);
    snprintf(temporary, sizeof temporary, ".%s.tmp", name);
    fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    rc = fd < 0 ? -errno : pwrite_all(fd, text, strlen(text), 0);
    if (rc == 0 &&
        (fsync(fd) < 0 || renameat(dir_fd, temporary, dir_fd, file) < 0 || fsync(dir_fd) < 0))
        rc = -errno;
    if (rc < 0)
        unlinkat(dir_fd, temporary, 0);
    return rc < 0 ? err_set_errno(err, -rc, "can't write %s", file) : 0;
}

int state_file_delete(int dir_fd, const char *name, struct err *err)
{
    char file[FILE_NAME_BYTES];

    snprintf(file, sizeof file, "%s.json", name);
    if (unlinkat(dir_fd, file, 0) < 0 && errno != ENOENT)
        return err_set_errno(err, errno, "can't remove %s", file);
    fsync(dir_fd);
    return 0;
}

json_t *state_file_read(int dir_fd, const char *name, struct err *err)
{
    char file[FILE_NAME_BYTES];
    _cleanup_close_ int fd = -1;
    json_error_t error;
    json_t *root;

    snprintf(file, sizeof file, "%s.json", name);
    fd = openat(dir_fd, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        err_set_errno(err, errno, "can't open it");
        return NULL;
    }
    root = json_loadfd(fd, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        err_set(err, EINVAL, "line %d: %s", error.line, error.text);
    return root;
}

static bool is_temporary(const char *file)
{
    const size_t len = strlen(file);

    return file[0] == '.' && len > 5 && strcmp(file + len - 4, ".tmp") == 0;
}

void state_files_tidy(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    if (!dir) { /* they do no harm until the next start */
        close_fd(&fd);
        return;
    }
    while ((entry = readdir(dir)))
        if (is_temporary(entry->d_name))
            unlinkat(dir_fd, entry->d_name, 0);
    closedir(dir);
}

bool state_file_name(const char *file, char ret_name[STATE_NAME_BYTES])
{
    size_t len = strlen(file);

    if (len < 6 || len - 5 >= STATE_NAME_BYTES || strcmp(file + len - 5, ".json") != 0)
        return false;
    memcpy(ret_name, file, len - 5);
    ret_name[len - 5] = '\0';
    return true;
}
