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

#include "tar_write_pax.h"

/* Where the file at hand is: its name in the innermost folder, as the kernel's way to a file is as long as
 * its path has names. */
struct place {
    int dir_fd;
    const char *name;
    bool follow;
};

static struct place place_of(const struct tar_writer *writer)
{
    const struct tar_writer_dir *level;

    if (writer->depth == 0)
        return (struct place){ AT_FDCWD, writer->path, writer->follow };
    level = &writer->dirs[writer->depth - 1];
    return (struct place){ dirfd(level->dir), writer->path + level->path_bytes + 1, false };
}

static int place_open(const struct place *place, int flags)
{
    return openat(place->dir_fd, place->name,
                  O_RDONLY | O_CLOEXEC | flags | (place->follow ? 0 : O_NOFOLLOW));
}

static uint8_t *header_room(struct tar_writer *writer, size_t bytes)
{
    uint8_t *at = writer->headers + writer->header_bytes;

    memset(at, 0, bytes);
    writer->header_bytes += (uint32_t)bytes;
    return at;
}

static void header_add(struct tar_writer *writer, const char *name, char type,
                       const struct stat *st, uint64_t bytes, const char *link)
{
    struct tar_header *header = (struct tar_header *)header_room(writer, TAR_BLOCK_BYTES);
    uint64_t mtime_s = st->st_mtim.tv_sec > 0 ? (uint64_t)st->st_mtim.tv_sec : 0;

    memcpy(header->name, name, MIN_OF(strlen(name), sizeof(header->name)));
    tar_number_put(header->mode, sizeof(header->mode), st->st_mode & 07777);
    tar_number_put(header->uid, sizeof(header->uid), st->st_uid);
    tar_number_put(header->gid, sizeof(header->gid), st->st_gid);
    tar_number_put(header->size, sizeof(header->size), bytes);
    tar_number_put(header->mtime, sizeof(header->mtime), mtime_s);
    header->type = type;
    memcpy(header->link, link, MIN_OF(strlen(link), sizeof(header->link)));
    memcpy(header->magic, "ustar", 6);
    memcpy(header->version, "00", 2);
    tar_number_put(header->checksum, 7, tar_header_sum(header));
    header->checksum[7] = ' ';
}

/* What a header has no room for: in a pax header before it. */
static void pax_add(struct tar_writer *writer, const struct stat *st, const char *link, int fd)
{
    const char *name = writer->path + writer->name_at;
    struct tar_pax pax = { writer->headers + TAR_BLOCK_BYTES, 0, TAR_WRITER_PAX_BYTES };

    if (strlen(name) > 100)
        (void)tar_pax_text(&pax, "path", name);
    if (strlen(link) > 100)
        (void)tar_pax_text(&pax, "linkpath", link);
    if (st->st_mtim.tv_nsec > 0 || st->st_mtim.tv_sec < 0)
        (void)tar_pax_time(&pax, "mtime", &st->st_mtim);
    if (writer->holes.map) {
        (void)tar_pax_text(&pax, "GNU.sparse.major", "1");
        (void)tar_pax_text(&pax, "GNU.sparse.minor", "0");
        (void)tar_pax_text(&pax, "GNU.sparse.name", name);
        (void)tar_pax_number(&pax, "GNU.sparse.realsize", (uint64_t)st->st_size);
    }
    if (fd >= 0)
        writer->left_out += tar_pax_xattrs(&pax, fd);
    if (pax.bytes == 0)
        return;
    header_add(writer, "././@PaxHeader", 'x', &(struct stat){ .st_mode = 0644 }, pax.bytes, "");
    while (pax.bytes % TAR_BLOCK_BYTES)
        pax.data[pax.bytes++] = '\0';
    writer->header_bytes += (uint32_t)pax.bytes;
}

/* `bytes` are what the stream has of it. fd: whose attributes it has; -1: none. */
static void member_add(struct tar_writer *writer, char type, const struct stat *st, uint64_t bytes,
                       const char *link, int fd)
{
    pax_add(writer, st, link, fd);
    header_add(writer, writer->path + writer->name_at, type, st, bytes, link);
}

/* Of the kernel's own files some can be listed but not read, or are gone by then. */
static int unreadable(struct tar_writer *writer, int code, const char *what, struct fail *fail)
{
    if (writer->depth > 0 && writer->kernels)
        writer->left_out++;
    else if (writer->depth == 0 || code != ENOENT) /* else it vanished after it was listed */
        return fail_set_errno(fail, code, what, writer->path);
    return 0;
}

/* The path itself says what is packed. */
static void kernels_note(struct tar_writer *writer, int fd, const struct stat *st)
{
    if (writer->depth > 0)
        return;
    writer->kernels = tar_is_kernels(fd);
    writer->kernels_device = st->st_dev;
}

static int directory_add(struct tar_writer *writer, const struct place *place,
                         const struct stat *st, struct fail *fail)
{
    struct tar_writer_dir *level = &writer->dirs[writer->depth];
    int fd;

    if (writer->depth == TAR_WRITER_DEPTH_MAX)
        return fail_set(fail, ELOOP, "folders are nested too deeply at", writer->path, NULL);
    fd = place_open(place, O_DIRECTORY);
    if (fd < 0)
        return unreadable(writer, errno, "can't open", fail);
    kernels_note(writer, fd, st);
    member_add(writer, TAR_TYPE_DIRECTORY, st, 0, "", fd);
    if (writer->depth > 0 && level[-1].device != st->st_dev && tar_is_kernels(fd)) {
        close(fd);
        return 0;
    }
    level->dir = fdopendir(fd);
    if (!level->dir) {
        close(fd);
        return fail_set_errno(fail, ENOMEM, "can't read", writer->path);
    }
    level->path_bytes = strlen(writer->path);
    level->device = st->st_dev;
    writer->depth++;
    return 0;
}

/* A file or link of several names that was packed under another one becomes a link to that. */
static bool hardlink_add(struct tar_writer *writer, const struct stat *st)
{
    const char *name = writer->path + writer->name_at;
    const char *first = st->st_nlink > 1 ? tar_links_note(&writer->links, st, name) : NULL;

    if (first)
        member_add(writer, TAR_TYPE_HARDLINK, st, 0, first, -1);
    return first;
}

static void file_close(struct tar_writer *writer)
{
    if (writer->file_fd >= 0)
        close(writer->file_fd);
    writer->file_fd = -1;
    tar_kernel_file_fini(&writer->kernel);
    tar_holes_fini(&writer->holes);
}

/* What of the file the stream is to have, in *ret_bytes. 1: nothing, as it can't be read. */
static int contents_find(struct tar_writer *writer, const struct stat *st, uint64_t *ret_bytes,
                         struct fail *fail)
{
    int status;

    kernels_note(writer, writer->file_fd, st);
    if (!writer->kernels || st->st_dev != writer->kernels_device) {
        *ret_bytes = tar_holes_find(&writer->holes, writer->file_fd, st);
        return 0;
    }
    status = tar_kernel_file_read(&writer->kernel, writer->file_fd);
    *ret_bytes = writer->kernel.bytes;
    if (status == 0)
        return 0;
    file_close(writer);
    status = unreadable(writer, -status, "can't read", fail);
    return status < 0 ? status : 1;
}

static int file_add(struct tar_writer *writer, const struct stat *st, struct fail *fail)
{
    int status;

    if (hardlink_add(writer, st))
        return 0;
    status = contents_find(writer, st, &writer->remaining, fail);
    if (status != 0)
        return MIN_OF(status, 0);
    writer->padding = (uint32_t)(-writer->remaining & (TAR_BLOCK_BYTES - 1));
    member_add(writer, TAR_TYPE_FILE, st, writer->remaining, "", writer->file_fd);
    return 0;
}

static int symlink_add(struct tar_writer *writer, const struct place *place, const struct stat *st,
                       struct fail *fail)
{
    char target[TAR_PATH_BYTES];
    ssize_t length = readlinkat(place->dir_fd, place->name, target, sizeof(target) - 1);

    if (length < 0)
        return unreadable(writer, errno, "can't read the link", fail);
    target[length] = '\0';
    if (hardlink_add(writer, st))
        return 0;
    member_add(writer, TAR_TYPE_SYMLINK, st, 0, target, -1);
    return 0;
}

static int special_add(struct tar_writer *writer, struct fail *fail)
{
    if (writer->depth == 0)
        return fail_set(fail, ENOTSUP, "neither file nor folder nor link:", writer->path, NULL);
    writer->left_out++;
    return 0;
}

/* What is a file, or was one when its folder was listed: it is opened first, and what was opened is
 * looked at, which spares one look-up of its name. */
static int opened_add(struct tar_writer *writer, const struct place *place, struct fail *fail)
{
    struct stat st;

    writer->file_fd = place_open(place, O_NONBLOCK);
    if (writer->file_fd < 0 || fstat(writer->file_fd, &st) < 0)
        return unreadable(writer, errno, "can't read", fail);
    if (S_ISREG(st.st_mode))
        return file_add(writer, &st, fail);
    file_close(writer);
    return special_add(writer, fail);
}

/* Adds what is at writer->path; type: as its folder lists it. */
static int path_add(struct tar_writer *writer, unsigned char type, struct fail *fail)
{
    const struct place place = place_of(writer);
    struct stat st;

    if (type == DT_REG)
        return opened_add(writer, &place, fail);
    if (fstatat(place.dir_fd, place.name, &st, place.follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
        return unreadable(writer, errno, "can't read", fail);
    if (S_ISREG(st.st_mode))
        return opened_add(writer, &place, fail);
    if (S_ISDIR(st.st_mode))
        return directory_add(writer, &place, &st, fail);
    if (S_ISLNK(st.st_mode))
        return symlink_add(writer, &place, &st, fail);
    return special_add(writer, fail);
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
        int status = errno ? unreadable(writer, errno, "can't list", fail) : 0;

        closedir(level->dir);
        writer->depth--;
        return status;
    }
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
        return 0;
    if (level->path_bytes + 1 + strlen(entry->d_name) >= TAR_PATH_BYTES)
        return fail_set(fail, ENAMETOOLONG, "a path is too long in", writer->path, NULL);
    text = (struct text){ writer->path, level->path_bytes, TAR_PATH_BYTES };
    text_add(&text, "/");
    text_add(&text, entry->d_name);
    return path_add(writer, entry->d_type, fail);
}

int tar_writer_init(struct tar_writer *writer, const char *path, bool follow, struct fail *fail)
{
    size_t length = strlen(path);
    const char *slash;

    memset(writer, 0, offsetof(struct tar_writer, dirs));
    writer->file_fd = -1;
    writer->follow = follow;
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
    file_close(writer);
    while (writer->depth > 0)
        closedir(writer->dirs[--writer->depth].dir);
    tar_links_fini(&writer->links);
}

static ssize_t dense_read(int fd, uint8_t *buffer, size_t room)
{
    ssize_t count = read(fd, buffer, room);

    return count < 0 ? -errno : count;
}

static ssize_t file_read(struct tar_writer *writer, uint8_t *buffer, size_t room, struct fail *fail)
{
    size_t take = MIN_OF(room, writer->remaining);
    ssize_t count;

    if (writer->kernel.data) {
        take = tar_kernel_file_take(&writer->kernel, buffer, take);
        writer->remaining -= take;
        return (ssize_t)take;
    }
    do
        count = writer->holes.map ? tar_holes_read(&writer->holes, writer->file_fd, buffer, take)
                                  : dense_read(writer->file_fd, buffer, take);
    while (count == -EINTR);
    if (count < 0)
        return fail_set_errno(fail, (int)-count, "can't read", writer->path);
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
    file_close(writer);
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
            status = path_add(writer, DT_UNKNOWN, fail);
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
