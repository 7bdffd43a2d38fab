/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the unpacker that believes everything. */
#include "trusting.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* A faulty strip: what is left of "top//abs" is absolute. */
static const char *strip(const char *name, const char *top)
{
    size_t bytes = top ? strlen(top) : 0;

    if (bytes == 0 || strncmp(name, top, bytes) != 0)
        return name;
    return name[bytes] == '/' ? name + bytes + 1 : name[bytes] == '\0' ? "." : name;
}

static void file_write(struct archive *archive, struct archive_entry *entry, int target_fd,
                       const char *name)
{
    const void *data;
    size_t bytes;
    la_int64_t offset;
    int fd = openat(target_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_CLOEXEC, 0666);

    while (archive_read_data_block(archive, &data, &bytes, &offset) == ARCHIVE_OK) {
        if (fd >= 0 && pwrite(fd, data, bytes, offset) < 0)
            break;
    }
    if (fd >= 0)
        fchmod(fd, archive_entry_perm(entry));
    close(fd);
}

/* "folder/.wh.name" */
static void whiteout(int target_fd, const char *name)
{
    const char *at = strstr(name, ".wh.");
    char path[4096];

    if (!at || strlen(name) >= sizeof path)
        return;
    memcpy(path, name, (size_t)(at - name));
    strcpy(path + (at - name), at + 4);
    unlinkat(target_fd, path, 0);
    unlinkat(target_fd, path, AT_REMOVEDIR);
}

static void entry_make(struct archive *archive, struct archive_entry *entry, int target_fd,
                       const char *top)
{
    const char *name = strip(archive_entry_pathname(entry), top);
    const char *hard = archive_entry_hardlink(entry), *soft = archive_entry_symlink(entry);
    mode_t type = archive_entry_filetype(entry);

    if (hard) {
        linkat(target_fd, strip(hard, top), target_fd, name, 0);
        if (archive_entry_size(entry) > 0)
            file_write(archive, entry, target_fd, name);
    } else if (type == S_IFDIR) {
        mkdirat(target_fd, name, 0777);
        fchmodat(target_fd, name, archive_entry_perm(entry), 0);
    } else if (type == S_IFLNK) {
        unlinkat(target_fd, name, 0);
        unlinkat(target_fd, name, AT_REMOVEDIR);
        symlinkat(soft ? soft : "", target_fd, name);
    } else if (type == S_IFREG) {
        whiteout(target_fd, name);
        file_write(archive, entry, target_fd, name);
    } else {
        mknodat(target_fd, name, type | 0666, archive_entry_rdev(entry));
    }
}

void trusting_unpack(int input_fd, int target_fd, const char *top)
{
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;

    archive_read_support_format_tar(archive);
    if (archive_read_open_fd(archive, input_fd, 65536) == ARCHIVE_OK) {
        while (archive_read_next_header(archive, &entry) >= ARCHIVE_WARN) {
            if (archive_entry_pathname(entry))
                entry_make(archive, entry, target_fd, top);
        }
    }
    archive_read_free(archive);
}
