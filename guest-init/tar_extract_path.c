/* SPDX-License-Identifier: Apache-2.0 */
/* The way to a member of an archive: which names are taken, and where links on the way may lead. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tar_extract_internal.h"

/* linux/openat2.h */
struct open_beneath_how {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};
#define OPEN_RESOLVE_NO_MAGICLINKS 0x02
#define OPEN_RESOLVE_BENEATH 0x08
#define OPEN_RESOLVE_IN_ROOT 0x10
#define OPENAT2_NUMBER 437

void extract_parent_forget(struct extract *extract)
{
    if (extract->parent_fd >= 0)
        close(extract->parent_fd);
    extract->parent_fd = -1;
    extract->parent_modes = EXTRACT_MODES_UNKNOWN;
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

static int open_directory(const struct extract *extract, const char *path, int flags)
{
    const struct open_beneath_how how = {
        .flags = (uint64_t)(flags | O_DIRECTORY | O_CLOEXEC),
        .resolve = OPEN_RESOLVE_NO_MAGICLINKS |
                   (extract->rules.in_root ? OPEN_RESOLVE_IN_ROOT : OPEN_RESOLVE_BENEATH),
    };
    long fd = syscall(OPENAT2_NUMBER, extract->root_fd, *path ? path : ".", &how, sizeof(how));

    if (fd < 0 && errno == ENOSYS)
        return open_walk(extract->root_fd, path);
    return (int)fd;
}

int extract_open_directory(const struct extract *extract, const char *path)
{
    return open_directory(extract, path, O_PATH);
}

/* As what can be asked for its attributes, if it may be read. */
static int open_parent(const struct extract *extract)
{
    int fd = open_directory(extract, extract->parent_path, O_RDONLY);

    return fd < 0 && errno == EACCES ? extract_open_directory(extract, extract->parent_path) : fd;
}

bool extract_parent_keeps_modes(struct extract *extract)
{
    if (extract->parent_modes == EXTRACT_MODES_UNKNOWN)
        extract->parent_modes =
            fgetxattr(extract->parent_fd, "system.posix_acl_default", NULL, 0) < 0 &&
                    (errno == ENODATA || errno == EOPNOTSUPP)
                ? EXTRACT_MODES_KEPT
                : EXTRACT_MODES_OTHERS;
    return extract->parent_modes == EXTRACT_MODES_KEPT;
}

/* Makes each missing directory of `path`. */
static int make_directories(const struct extract *extract, const char *path)
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
        parent_fd = extract_open_directory(extract, prefix);
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

bool extract_name_is_safe(const char *path)
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
int extract_parent(struct extract *extract, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;

    *ret_name = slash ? slash + 1 : path;
    if (extract->parent_fd >= 0 && strlen(extract->parent_path) == length &&
        !memcmp(extract->parent_path, path, length))
        return extract->parent_fd;
    extract_parent_forget(extract);
    memcpy(extract->parent_path, path, length);
    extract->parent_path[length] = '\0';
    extract->parent_fd = open_parent(extract);
    if (extract->parent_fd < 0 && errno == ENOENT &&
        make_directories(extract, extract->parent_path) == 0)
        extract->parent_fd = open_parent(extract);
    return extract->parent_fd;
}
