/* SPDX-License-Identifier: Apache-2.0 */
/* Unpacking below one directory.
 *
 * How it works
 *   1. Every name is split into parent and last component. The parent is opened with openat2's
 *      RESOLVE_BENEATH, so no symbolic link leads out of the root, or with RESOLVE_IN_ROOT for the
 *      guest's own root, whose links are absolute with good reason; a kernel without it gets a walk
 *      that follows no link at all. The last component is created with O_EXCL or its like after
 *      unlinking what is there, so a link there is replaced and never followed.
 *   2. A file that is there is replaced when the new one is whole: until then that has a name of
 *      its own.
 *   3. The parent's fd is kept: members of one directory come in a row.
 *   4. A directory's time is set when the stream has moved on, or creating its files would change
 *      it again. Paths of the directories that are open in this sense are prefixes of one another, so
 *      one buffer and their lengths are enough.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* renameat */
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tar_extract_internal.h"

#define TEMPORARY_TRIES 1000u

void extract_init(struct extract *extract, int root_fd, const struct extract_rules *rules)
{
    extract->rules = *rules;
    extract->mask = umask(022);
    umask(extract->mask);
    extract->root_fd = root_fd;
    extract->left_out = extract->members = 0;
    extract->file_fd = -1;
    extract->parent_fd = -1;
    extract->depth = 0;
    extract->parent_path[0] = '\0';
    extract->dir_path[0] = '\0';
}

static void set_time(int dir_fd, const char *name, const struct timespec *mtime)
{
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, *mtime };

    /* A filesystem that keeps no times is no reason to fail a copy. */
    (void)utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW);
}

static struct timespec mtime_of(const struct tar_entry *entry)
{
    return (struct timespec){ .tv_sec = entry->mtime_s, .tv_nsec = entry->mtime_ns };
}

static mode_t mode_of(const struct extract *extract, const struct tar_entry *entry)
{
    return entry->mode & (extract->rules.owners ? 07777 : 01777);
}

/* What volt-init makes is root's already. */
static int set_owner(const struct extract *extract, const struct tar_entry *entry, int dir_fd,
                     const char *name)
{
    if (!extract->rules.owners)
        return 0;
    return fchownat(dir_fd, name, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW);
}

/* Others mean something to the guest's kernel that the host's did not mean. */
static bool xattr_is_wanted(const struct extract *extract, const char *name)
{
    return !strncmp(name, "user.", 5) ||
           (extract->rules.capabilities && !strcmp(name, "security.capability"));
}

static void set_xattrs(struct extract *extract, const struct tar_entry *entry, int fd)
{
    for (uint32_t i = 0; i < entry->xattr_count; i++) {
        const struct tar_xattr *xattr = &entry->xattrs[i];

        if (xattr_is_wanted(extract, xattr->name) &&
            fsetxattr(fd, xattr->name, xattr->value, xattr->bytes, 0) < 0)
            extract->left_out++;
    }
}

/* Sets the times of the directories that `path` is not in; NULL: of all. */
static void dirs_leave(struct extract *extract, const char *path)
{
    while (extract->depth > 0) {
        const struct extract_dir *dir = &extract->dirs[extract->depth - 1];
        size_t length = dir->path_bytes;
        int fd;

        if (path && !strncmp(path, extract->dir_path, length) && path[length] == '/')
            return;
        extract->dir_path[length] = '\0';
        fd = extract_open_directory(extract, extract->dir_path);
        if (fd >= 0) {
            set_time(fd, ".", &dir->mtime);
            close(fd);
        }
        extract->depth--;
    }
}

void extract_fini(struct extract *extract)
{
    if (extract->file_fd >= 0) {
        close(extract->file_fd);
        (void)unlinkat(extract->parent_fd, extract->file_name, 0);
    }
    extract->file_fd = -1;
    dirs_leave(extract, NULL);
    extract_parent_forget(extract);
}

static void dir_enter(struct extract *extract, const struct tar_entry *entry)
{
    if (extract->depth == EXTRACT_DEPTH_MAX)
        return;
    strcpy(extract->dir_path, entry->path);
    extract->dirs[extract->depth++] = (struct extract_dir){
        .path_bytes = strlen(entry->path),
        .mtime = mtime_of(entry),
    };
}

static int create_directory(struct extract *extract, const struct tar_entry *entry, int parent_fd,
                            const char *name)
{
    struct stat st;

    if (mkdirat(parent_fd, name, 0755) < 0) {
        if (errno != EEXIST)
            return -1;
        /* A link to a directory is used as it is, but its target's mode is not touched. */
        if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return -1;
        if (S_ISLNK(st.st_mode))
            return 0;
        if (!S_ISDIR(st.st_mode)) {
            errno = ENOTDIR;
            return -1;
        }
    }
    dir_enter(extract, entry);
    if (set_owner(extract, entry, parent_fd, name) < 0)
        return -1;
    if (entry->xattr_count > 0) {
        int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (fd < 0)
            return -1;
        set_xattrs(extract, entry, fd);
        close(fd);
    }
    return fchmodat(parent_fd, name, mode_of(extract, entry), 0);
}

static int create_hardlink(struct extract *extract, const struct tar_entry *entry, int parent_fd,
                           const char *name)
{
    const char *slash = strrchr(entry->link, '/');
    char directory[TAR_PATH_BYTES];
    size_t length = slash ? (size_t)(slash - entry->link) : 0;
    int from_fd, status;

    if (!extract_name_is_safe(entry->link)) {
        errno = EPERM;
        return -1;
    }
    memcpy(directory, entry->link, length);
    directory[length] = '\0';
    from_fd = extract_open_directory(extract, directory);
    if (from_fd < 0)
        return -1;
    status = linkat(from_fd, slash ? slash + 1 : entry->link, parent_fd, name, 0);
    close(from_fd);
    return status;
}

static int create_symlink(const struct extract *extract, const struct tar_entry *entry,
                          int parent_fd, const char *name)
{
    const struct timespec mtime = mtime_of(entry);

    if (symlinkat(entry->link, parent_fd, name) < 0 ||
        set_owner(extract, entry, parent_fd, name) < 0)
        return -1;
    set_time(parent_fd, name, &mtime);
    return 0;
}

static int open_new(int parent_fd, const char *name, mode_t mode)
{
    return openat(parent_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
}

/* What a file is made with: its own mode, where that spares the call that sets it; else it is its
 * owner's alone until it is whole. */
static mode_t first_mode(struct extract *extract, const struct tar_entry *entry)
{
    mode_t mode = mode_of(extract, entry);

    extract->file_has_mode = !extract->rules.owners && !(mode & (extract->mask | ~(mode_t)0777)) &&
                             extract_parent_keeps_modes(extract);
    return extract->file_has_mode ? mode : 0600;
}

/* Under a name of its own while another file has its name. */
static int create_file(struct extract *extract, const struct tar_entry *entry, int parent_fd,
                       const char *name)
{
    const mode_t mode = first_mode(extract, entry);
    struct stat st;
    struct text text;

    text_init(&text, extract->file_name, sizeof(extract->file_name));
    text_add(&text, name);
    extract->file_replaces = false;
    extract->file_end = 0;
    extract->file_fd = open_new(parent_fd, name, mode);
    if (extract->file_fd >= 0 || errno != EEXIST ||
        fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return extract->file_fd;
    extract->file_replaces = true;
    for (uint64_t i = 0; extract->file_fd < 0 && i < TEMPORARY_TRIES; i++) {
        text_init(&text, extract->file_name, sizeof(extract->file_name));
        text_add(&text, ".volt-cp-");
        text_add_u64(&text, i);
        extract->file_fd = open_new(parent_fd, extract->file_name, mode);
        if (extract->file_fd < 0 && errno != EEXIST)
            break;
    }
    return extract->file_fd;
}

static int create_member(struct extract *extract, const struct tar_entry *entry, int parent_fd,
                         const char *name)
{
    switch (entry->type) {
    case TAR_TYPE_FILE:
        return create_file(extract, entry, parent_fd, name);
    case TAR_TYPE_DIRECTORY:
        return create_directory(extract, entry, parent_fd, name);
    case TAR_TYPE_SYMLINK:
        return create_symlink(extract, entry, parent_fd, name);
    case TAR_TYPE_HARDLINK:
        return create_hardlink(extract, entry, parent_fd, name);
    default:
        errno = ENOTSUP;
        return -1;
    }
}

/* Takes away what a member would replace: a file or a link, never a directory, and nothing special.
 */
static int remove_existing(int parent_fd, const char *name)
{
    struct stat st;

    if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode))
        return unlinkat(parent_fd, name, 0);
    errno = S_ISDIR(st.st_mode) ? EISDIR : EEXIST;
    return -1;
}

static int create_fails(int error, const struct tar_entry *entry, struct fail *fail)
{
    switch (error) {
    case EEXIST:
        return fail_set(fail, error, "there is a device, FIFO or socket, which is not replaced, at",
                        entry->path, NULL);
    case EXDEV:
    case ELOOP:
        return fail_set(fail, error, "a link leads out of the target, in the path", entry->path,
                        NULL);
    case ENOTSUP:
        return fail_set(fail, error,
                        "the tar stream has something of an unknown kind:", entry->path, NULL);
    default:
        return fail_set_errno(fail, error, "can't create", entry->path);
    }
}

static int extract_begin(void *context, const struct tar_entry *entry, struct fail *fail)
{
    struct extract *extract = context;
    const char *name;
    int parent_fd;

    if (!strcmp(entry->path, ".") && entry->type == TAR_TYPE_DIRECTORY)
        return 0; /* the target itself */
    if (entry->type == TAR_TYPE_CHARACTER || entry->type == TAR_TYPE_BLOCK ||
        entry->type == TAR_TYPE_FIFO) {
        extract->left_out++;
        return 0;
    }
    if (!extract_name_is_safe(entry->path) || !strcmp(entry->path, "."))
        return fail_set(fail, EPERM,
                        "the tar stream has a name that leads out of the target:", entry->path,
                        NULL);
    dirs_leave(extract, entry->path);
    parent_fd = extract_parent(extract, entry->path, &name);
    if (parent_fd < 0)
        return create_fails(errno, entry, fail);
    extract->members++; /* when the next one begins this one is whole */
    if (create_member(extract, entry, parent_fd, name) >= 0)
        return 0;
    if (errno == EEXIST && entry->type != TAR_TYPE_DIRECTORY &&
        remove_existing(parent_fd, name) == 0 &&
        create_member(extract, entry, parent_fd, name) >= 0)
        return 0;
    return create_fails(errno, entry, fail);
}

static int extract_data(void *context, uint64_t offset, const uint8_t *data, size_t bytes,
                        struct fail *fail)
{
    struct extract *extract = context;

    while (bytes > 0) {
        ssize_t count = pwrite(extract->file_fd, data, bytes, (off_t)offset);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return fail_set_errno(fail, errno, "can't write a file", NULL);
        data += count;
        offset += (uint64_t)count;
        bytes -= (size_t)count;
    }
    extract->file_end = offset;
    return 0;
}

/* In this order: a new owner takes set-id bits and capabilities away. */
static int file_finish(struct extract *extract, const struct tar_entry *entry)
{
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, mtime_of(entry) };
    int fd = extract->file_fd;

    if ((extract->file_end < entry->bytes && ftruncate(fd, (off_t)entry->bytes) < 0) ||
        (extract->rules.owners && fchown(fd, entry->uid, entry->gid) < 0) ||
        (!extract->file_has_mode && fchmod(fd, mode_of(extract, entry)) < 0))
        return -1;
    set_xattrs(extract, entry, fd);
    (void)futimens(fd, times);
    return 0;
}

static int extract_end(void *context, const struct tar_entry *entry, struct fail *fail)
{
    struct extract *extract = context;
    const char *slash = strrchr(entry->path, '/'), *name = slash ? slash + 1 : entry->path;

    if (extract->file_fd < 0)
        return 0;
    if (file_finish(extract, entry) < 0)
        return fail_set_errno(fail, errno, "can't finish", entry->path);
    if (close(extract->file_fd) < 0) {
        extract->file_fd = -1;
        return fail_set_errno(fail, errno, "can't write", entry->path);
    }
    extract->file_fd = -1;
    if (extract->file_replaces &&
        renameat(extract->parent_fd, extract->file_name, extract->parent_fd, name) < 0)
        return fail_set_errno(fail, errno, "can't replace", entry->path);
    return 0;
}

struct tar_sink extract_sink(struct extract *extract)
{
    return (struct tar_sink){
        .begin = extract_begin,
        .data = extract_data,
        .end = extract_end,
        .context = extract,
    };
}
