/* SPDX-License-Identifier: Apache-2.0 */
/* Unpacking below one directory.
 *
 * How it works
 *   1. Every name is split into parent and last component. The parent is opened with openat2's
 *      RESOLVE_BENEATH, so no symbolic link leads out of the root; a kernel without it gets a walk
 *      that follows no link at all. The last component is created with O_EXCL or its like after
 *      unlinking what is there, so a link there is replaced and never followed.
 *   2. The parent's fd is kept: members of one directory come in a row.
 *   3. A directory's time is set when the stream has moved on, or creating its files would change
 * it again. Paths of the directories that are open in this sense are prefixes of one another, so
 *      one buffer and their lengths are enough.
 */
#include "tar_extract.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/openat2.h */
struct open_beneath_how {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};
#define OPEN_RESOLVE_NO_MAGICLINKS 0x02
#define OPEN_RESOLVE_BENEATH 0x08
#define OPENAT2_NUMBER 437

void extract_init(struct extract *extract, int root_fd)
{
    extract->root_fd = root_fd;
    extract->file_fd = -1;
    extract->parent_fd = -1;
    extract->depth = 0;
    extract->parent_path[0] = '\0';
    extract->dir_path[0] = '\0';
}

static void parent_forget(struct extract *extract)
{
    if (extract->parent_fd >= 0)
        close(extract->parent_fd);
    extract->parent_fd = -1;
}

/* The same as RESOLVE_BENEATH for kernels before 5.6, and stricter: no symbolic link at all. */
static int open_walk(int root_fd, const char *path)
{
    int fd = openat(root_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    char name[256];

    while (fd >= 0 && *path) {
        size_t length = strcspn(path, "/");
        int next;

        if (length >= sizeof(name)) {
            close(fd);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(name, path, length);
        name[length] = '\0';
        path += length + (path[length] == '/');
        if (!length)
            continue;
        next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close(fd);
        fd = next;
    }
    return fd;
}

static int open_directory(int root_fd, const char *path)
{
    const struct open_beneath_how how = {
        .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
        .resolve = OPEN_RESOLVE_BENEATH | OPEN_RESOLVE_NO_MAGICLINKS,
    };
    long fd = syscall(OPENAT2_NUMBER, root_fd, *path ? path : ".", &how, sizeof(how));

    if (fd < 0 && errno == ENOSYS)
        return open_walk(root_fd, path);
    return (int)fd;
}

/* Makes each missing directory of `path`. */
static int make_directories(int root_fd, const char *path)
{
    char prefix[TAR_PATH_BYTES];
    size_t length = 0;

    while (path[length]) {
        size_t from = length;
        int parent_fd, status;

        while (path[from] == '/')
            from++;
        memcpy(prefix, path, length);
        prefix[length] = '\0';
        parent_fd = open_directory(root_fd, prefix);
        if (parent_fd < 0)
            return -1;
        length = from + strcspn(path + from, "/");
        memcpy(prefix, path + from, length - from);
        prefix[length - from] = '\0';
        status = length == from ? 0 : mkdirat(parent_fd, prefix, 0755);
        close(parent_fd);
        if (status < 0 && errno != EEXIST)
            return -1;
    }
    return 0;
}

static bool name_is_safe(const char *path)
{
    if (path[0] == '/' || !path[0])
        return false;
    for (const char *at = path; *at; at += strspn(at, "/")) {
        size_t length = strcspn(at, "/");

        if (length == 2 && at[0] == '.' && at[1] == '.')
            return false;
        at += length;
    }
    return true;
}

/* Opens the directory that `path` is in, making it if need be; *ret_name is the rest. The fd stays
 * the extract's. */
static int parent_open(struct extract *extract, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;

    *ret_name = slash ? slash + 1 : path;
    if (extract->parent_fd >= 0 && strlen(extract->parent_path) == length &&
        !memcmp(extract->parent_path, path, length))
        return extract->parent_fd;
    parent_forget(extract);
    memcpy(extract->parent_path, path, length);
    extract->parent_path[length] = '\0';
    extract->parent_fd = open_directory(extract->root_fd, extract->parent_path);
    if (extract->parent_fd < 0 && errno == ENOENT &&
        make_directories(extract->root_fd, extract->parent_path) == 0)
        extract->parent_fd = open_directory(extract->root_fd, extract->parent_path);
    return extract->parent_fd;
}

static void set_time(int dir_fd, const char *name, int64_t mtime_s)
{
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = mtime_s } };

    /* A filesystem that keeps no times is no reason to fail a copy. */
    (void)utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW);
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
        fd = open_directory(extract->root_fd, extract->dir_path);
        if (fd >= 0) {
            set_time(fd, ".", dir->mtime_s);
            close(fd);
        }
        extract->depth--;
    }
}

void extract_fini(struct extract *extract)
{
    if (extract->file_fd >= 0)
        close(extract->file_fd);
    extract->file_fd = -1;
    dirs_leave(extract, NULL);
    parent_forget(extract);
}

static void dir_enter(struct extract *extract, const struct tar_entry *entry)
{
    if (extract->depth == EXTRACT_DEPTH_MAX)
        return;
    strcpy(extract->dir_path, entry->path);
    extract->dirs[extract->depth++] = (struct extract_dir){
        .path_bytes = strlen(entry->path),
        .mtime_s = entry->mtime_s,
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
    return fchmodat(parent_fd, name, entry->mode & 0777, 0);
}

static int create_hardlink(struct extract *extract, const struct tar_entry *entry, int parent_fd,
                           const char *name)
{
    const char *slash = strrchr(entry->link, '/');
    char directory[TAR_PATH_BYTES];
    size_t length = slash ? (size_t)(slash - entry->link) : 0;
    int from_fd, status;

    if (!name_is_safe(entry->link)) {
        errno = EPERM;
        return -1;
    }
    memcpy(directory, entry->link, length);
    directory[length] = '\0';
    from_fd = open_directory(extract->root_fd, directory);
    if (from_fd < 0)
        return -1;
    status = linkat(from_fd, slash ? slash + 1 : entry->link, parent_fd, name, 0);
    close(from_fd);
    return status;
}

static int create_member(struct extract *extract, const struct tar_entry *entry, int parent_fd,
                         const char *name)
{
    switch (entry->type) {
    case TAR_TYPE_FILE:
        extract->file_fd =
            openat(parent_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        return extract->file_fd;
    case TAR_TYPE_DIRECTORY:
        return create_directory(extract, entry, parent_fd, name);
    case TAR_TYPE_SYMLINK:
        if (symlinkat(entry->link, parent_fd, name) < 0)
            return -1;
        set_time(parent_fd, name, entry->mtime_s);
        return 0;
    case TAR_TYPE_HARDLINK:
        return create_hardlink(extract, entry, parent_fd, name);
    default:
        errno = ENOTSUP;
        return -1;
    }
}

static int extract_begin(void *context, const struct tar_entry *entry, struct fail *fail)
{
    struct extract *extract = context;
    const char *name;
    int parent_fd;

    if (!strcmp(entry->path, ".") && entry->type == TAR_TYPE_DIRECTORY)
        return 0; /* the target itself */
    if (!name_is_safe(entry->path) || !strcmp(entry->path, "."))
        return fail_set(fail, EPERM,
                        "the tar stream has a name that leads out of the target:", entry->path,
                        NULL);
    dirs_leave(extract, entry->path);
    parent_fd = parent_open(extract, entry->path, &name);
    if (parent_fd < 0)
        return fail_set_errno(fail, errno, "can't open the directory of", entry->path);
    if (create_member(extract, entry, parent_fd, name) >= 0)
        return 0;
    /* What is there is replaced, but a directory is never removed. */
    if (errno == EEXIST && entry->type != TAR_TYPE_DIRECTORY && unlinkat(parent_fd, name, 0) == 0 &&
        create_member(extract, entry, parent_fd, name) >= 0)
        return 0;
    return fail_set_errno(fail, errno, "can't create", entry->path);
}

static int extract_data(void *context, const uint8_t *data, size_t bytes, struct fail *fail)
{
    struct extract *extract = context;

    while (bytes > 0) {
        ssize_t count = write(extract->file_fd, data, bytes);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return fail_set_errno(fail, errno, "can't write a file", NULL);
        data += count;
        bytes -= (size_t)count;
    }
    return 0;
}

static int extract_end(void *context, const struct tar_entry *entry, struct fail *fail)
{
    struct extract *extract = context;
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = entry->mtime_s } };
    int status = 0;

    if (extract->file_fd < 0)
        return 0;
    if (fchmod(extract->file_fd, entry->mode & 0777) < 0)
        status = fail_set_errno(fail, errno, "can't set the mode of", entry->path);
    (void)futimens(extract->file_fd, times);
    if (close(extract->file_fd) < 0 && status == 0)
        status = fail_set_errno(fail, errno, "can't write", entry->path);
    extract->file_fd = -1;
    return status;
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
