/* SPDX-License-Identifier: Apache-2.0 */
/* Packing a file or folder: see tar_write.h.
 *
 * How it works
 *   The writer walks the tree with a stack of open directories. Each step puts one member's headers
 *   into `headers`; they, the file's data and its padding are then drained by tar_writer_read, in
 *   that order, before the next step. The last "member" is the end marker.
 */
#include "tar_write.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint8_t *header_room(struct tar_writer *writer, size_t bytes)
{
    uint8_t *at = writer->headers + writer->header_bytes;

    memset(at, 0, bytes);
    writer->header_bytes += (uint32_t)bytes;
    return at;
}

static void header_add(struct tar_writer *writer, const char *name, char type, uint32_t mode,
                       uint64_t bytes, int64_t mtime_s, const char *link)
{
    struct tar_header *header = (struct tar_header *)header_room(writer, TAR_BLOCK_BYTES);

    memcpy(header->name, name, MIN_OF(strlen(name), sizeof(header->name)));
    tar_number_put(header->mode, sizeof(header->mode), mode & 07777);
    tar_number_put(header->uid, sizeof(header->uid), 0);
    tar_number_put(header->gid, sizeof(header->gid), 0);
    tar_number_put(header->size, sizeof(header->size), bytes);
    tar_number_put(header->mtime, sizeof(header->mtime), mtime_s > 0 ? (uint64_t)mtime_s : 0);
    header->type = type;
    memcpy(header->link, link, MIN_OF(strlen(link), sizeof(header->link)));
    memcpy(header->magic, "ustar ", 6);
    memcpy(header->version, " ", 2);
    tar_number_put(header->checksum, 7, tar_header_sum(header));
    header->checksum[7] = ' ';
}

/* GNU: a member of type L (or K, for the link) before the real one holds a name of 100 and more. */
static void long_name_add(struct tar_writer *writer, char type, const char *name)
{
    size_t bytes = strlen(name) + 1;

    if (bytes <= 100)
        return;
    header_add(writer, "././@LongLink", type, 0644, bytes, 0, "");
    memcpy(header_room(writer, (bytes + TAR_BLOCK_BYTES - 1) & ~(size_t)(TAR_BLOCK_BYTES - 1)),
           name, bytes);
}

static void member_add(struct tar_writer *writer, char type, const struct stat *st, uint64_t bytes,
                       const char *link)
{
    const char *name = writer->path + writer->name_at;

    long_name_add(writer, 'K', link);
    long_name_add(writer, 'L', name);
    header_add(writer, name, type, (uint32_t)st->st_mode, bytes, st->st_mtim.tv_sec, link);
}

static int directory_add(struct tar_writer *writer, const struct stat *st, struct fail *fail)
{
    struct tar_writer_dir *level = &writer->dirs[writer->depth];
    int fd;

    if (writer->depth == TAR_WRITER_DEPTH_MAX)
        return fail_set(fail, ELOOP, "folders are nested too deeply at", writer->path, NULL);
    fd = open(writer->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fail_set_errno(fail, errno, "can't open", writer->path);
    level->dir = fdopendir(fd);
    if (!level->dir) {
        close(fd);
        return fail_set_errno(fail, ENOMEM, "can't read", writer->path);
    }
    level->path_bytes = strlen(writer->path);
    writer->depth++;
    member_add(writer, TAR_TYPE_DIRECTORY, st, 0, "");
    return 0;
}

static int file_add(struct tar_writer *writer, struct fail *fail)
{
    struct stat st;

    writer->file_fd = open(writer->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (writer->file_fd < 0 || fstat(writer->file_fd, &st) < 0)
        return fail_set_errno(fail, errno, "can't read", writer->path);
    writer->remaining = (uint64_t)st.st_size;
    writer->padding = (uint32_t)(-writer->remaining & (TAR_BLOCK_BYTES - 1));
    member_add(writer, TAR_TYPE_FILE, &st, writer->remaining, "");
    return 0;
}

static int symlink_add(struct tar_writer *writer, const struct stat *st, struct fail *fail)
{
    char target[TAR_PATH_BYTES];
    ssize_t length = readlink(writer->path, target, sizeof(target) - 1);

    if (length < 0)
        return fail_set_errno(fail, errno, "can't read the link", writer->path);
    target[length] = '\0';
    member_add(writer, TAR_TYPE_SYMLINK, st, 0, target);
    return 0;
}

/* Adds what is at writer->path. A file that vanished between the listing and here is left out. */
static int path_add(struct tar_writer *writer, struct fail *fail)
{
    struct stat st;

    if (lstat(writer->path, &st) < 0)
        return errno == ENOENT && writer->depth > 0
                   ? 0
                   : fail_set_errno(fail, errno, "can't read", writer->path);
    if (S_ISDIR(st.st_mode))
        return directory_add(writer, &st, fail);
    if (S_ISREG(st.st_mode))
        return file_add(writer, fail);
    if (S_ISLNK(st.st_mode))
        return symlink_add(writer, &st, fail);
    if (writer->depth == 0)
        return fail_set(fail, ENOTSUP, "neither file nor folder nor link:", writer->path, NULL);
    return 0;
}

/* Goes to the next name of the innermost directory. */
static int walk_next(struct tar_writer *writer, struct fail *fail)
{
    struct tar_writer_dir *level = &writer->dirs[writer->depth - 1];
    const struct dirent *entry;
    struct text text;

    errno = 0;
    entry = readdir(level->dir);
    writer->path[level->path_bytes] = '\0';
    if (!entry) {
        if (errno)
            return fail_set_errno(fail, errno, "can't list", writer->path);
        closedir(level->dir);
        writer->depth--;
        return 0;
    }
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
        return 0;
    if (level->path_bytes + 1 + strlen(entry->d_name) >= TAR_PATH_BYTES)
        return fail_set(fail, ENAMETOOLONG, "a path is too long in", writer->path, NULL);
    text = (struct text){ writer->path, level->path_bytes, TAR_PATH_BYTES };
    text_add(&text, "/");
    text_add(&text, entry->d_name);
    return path_add(writer, fail);
}

int tar_writer_init(struct tar_writer *writer, const char *path, struct fail *fail)
{
    size_t length = strlen(path);
    const char *slash;

    memset(writer, 0, offsetof(struct tar_writer, dirs));
    writer->file_fd = -1;
    while (length > 1 && path[length - 1] == '/')
        length--;
    if (!length || length >= TAR_PATH_BYTES)
        return fail_set(fail, EINVAL, "not a usable path:", path, NULL);
    memcpy(writer->path, path, length);
    writer->path[length] = '\0';
    slash = strrchr(writer->path, '/');
    writer->name_at = slash && slash[1] ? (size_t)(slash + 1 - writer->path) : 0;
    if (!strcmp(writer->path, "/"))
        strcpy(writer->path, "."); /* volt-init's working directory is the root */
    return 0;
}

void tar_writer_fini(struct tar_writer *writer)
{
    if (writer->file_fd >= 0)
        close(writer->file_fd);
    writer->file_fd = -1;
    while (writer->depth > 0)
        closedir(writer->dirs[--writer->depth].dir);
}

static ssize_t file_read(struct tar_writer *writer, uint8_t *buffer, size_t room, struct fail *fail)
{
    size_t take = MIN_OF(room, writer->remaining);
    ssize_t count;

    do
        count = read(writer->file_fd, buffer, take);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return fail_set_errno(fail, errno, "can't read", writer->path);
    if (count == 0) {
        memset(buffer, 0, take);
        count = (ssize_t)take;
    }
    writer->remaining -= (uint64_t)count;
    return count;
}

/* Bytes of the member at hand; 0 when it is done. */
static ssize_t member_read(struct tar_writer *writer, uint8_t *buffer, size_t room,
                           struct fail *fail)
{
    size_t take;

    if (writer->header_sent < writer->header_bytes) {
        take = MIN_OF(room, writer->header_bytes - writer->header_sent);
        memcpy(buffer, writer->headers + writer->header_sent, take);
        writer->header_sent += (uint32_t)take;
        return (ssize_t)take;
    }
    writer->header_sent = writer->header_bytes = 0;
    if (writer->remaining > 0)
        return file_read(writer, buffer, room, fail);
    if (writer->file_fd >= 0)
        close(writer->file_fd);
    writer->file_fd = -1;
    take = MIN_OF(room, writer->padding);
    memset(buffer, 0, take);
    writer->padding -= (uint32_t)take;
    return (ssize_t)take;
}

ssize_t tar_writer_read(struct tar_writer *writer, uint8_t *buffer, size_t room, struct fail *fail)
{
    size_t filled = 0;
    int status;

    while (filled < room) {
        ssize_t count = member_read(writer, buffer + filled, room - filled, fail);

        if (count < 0)
            return count;
        filled += (size_t)count;
        if (count > 0)
            continue;
        if (!writer->started) {
            writer->started = true;
            status = path_add(writer, fail);
        } else if (writer->depth > 0) {
            status = walk_next(writer, fail);
        } else if (!writer->ended) {
            writer->ended = true;
            header_room(writer, 2 * TAR_BLOCK_BYTES);
            status = 0;
        } else {
            break;
        }
        if (status < 0)
            return status;
    }
    return (ssize_t)filled;
}
