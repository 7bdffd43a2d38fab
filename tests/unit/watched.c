/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the victim and its fingerprint. */
#include "watched.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/util.h"
#include "tree_remove.h"

/* What the tests write to; either may be missing, or be a mount already. */
static const char *const writable[] = { "/dev/shm", "/tmp" };

bool watched_host_protect(void)
{
    struct mount_attr read_only = { .attr_set = MOUNT_ATTR_RDONLY };
    struct mount_attr read_write = { .attr_clr = MOUNT_ATTR_RDONLY };

    if (geteuid() != 0)
        return true;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(writable); i++)
        mount(writable[i], writable[i], NULL, MS_BIND, NULL);
    if (mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &read_only, sizeof read_only) < 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(writable); i++)
        mount_setattr(AT_FDCWD, writable[i], 0, &read_write, sizeof read_write);
    return true;
}

static void file_write(const char *folder, const char *name, mode_t mode)
{
    char path[160];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, "good", 4), 4);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

static void folder_make(const char *parent, const char *name, mode_t mode, char *path,
                        size_t path_bytes)
{
    snprintf(path, path_bytes, "%s/%s", parent, name);
    ck_assert_int_eq(mkdir(path, mode), 0);
    ck_assert_int_eq(chmod(path, mode), 0);
}

/* As open as can be, so that only the walls are in the way. */
static void victim_make(const char *parent, char *path, size_t path_bytes)
{
    char inner[160];

    folder_make(parent, "victim", 0777, path, path_bytes);
    file_write(path, "file", 0666);
    folder_make(path, "dir", 0777, inner, sizeof inner);
    file_write(inner, "inner", 0666);
}

void watched_make(struct watched *watched)
{
    char in[80], other[96];

    /* ext4 is slow at making folders where others were just removed. */
    strcpy(watched->base,
           access("/dev/shm", W_OK) == 0 ? "/dev/shm/volt-unit-XXXXXX" : "/tmp/volt-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(watched->base));
    ck_assert_int_eq(chmod(watched->base, 0777), 0);
    folder_make(watched->base, "in", 0777, in, sizeof in);
    folder_make(in, "target", 0777, watched->target, sizeof watched->target);
    victim_make(in, watched->victim, sizeof watched->victim);
    victim_make(watched->base, other, sizeof other);
}

void watched_remove(struct watched *watched)
{
    ck_assert_int_eq(tree_remove(AT_FDCWD, watched->base, NULL), 0);
}

void watched_target_reset(const struct watched *watched)
{
    int fd = open(watched->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    int rc = tree_empty(fd, NULL);
    ck_assert_msg(rc == 0, "emptying %s: %s", watched->target, strerror(-rc));
    ck_assert_int_eq(fchmod(fd, 0777), 0);
    close(fd);
}

/* ---- The fingerprint ---- */

static void contents_print(FILE *out, int parent_fd, const char *name)
{
    char data[64], names[256];
    int fd = openat(parent_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ssize_t bytes = read(fd, data, sizeof data);
    ck_assert_int_ge(bytes, 0);
    ssize_t name_bytes = flistxattr(fd, names, sizeof names);
    fprintf(out, " '%.*s' xattrs %zd", (int)bytes, data, name_bytes);
    close(fd);
}

static void folder_print(FILE *out, int fd, const char *path, const struct watched *watched);

static void entry_print(FILE *out, int parent_fd, const char *path, const char *name,
                        const struct watched *watched)
{
    char whole[4096], target[4096];
    struct stat st;

    snprintf(whole, sizeof whole, "%s/%s", path, name);
    ck_assert_int_eq(fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
    bool is_target = strcmp(whole, watched->target) == 0;
    fprintf(out, "%s", whole);
    if (!is_target) /* its own mode and times may be the archive's */
        fprintf(out, " %o %u:%u %lu %lu %ld %ld.%ld", st.st_mode, st.st_uid, st.st_gid,
                (unsigned long)st.st_ino, (unsigned long)st.st_nlink, (long)st.st_size,
                (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    if (S_ISREG(st.st_mode))
        contents_print(out, parent_fd, name);
    ssize_t bytes = S_ISLNK(st.st_mode) ? readlinkat(parent_fd, name, target, sizeof target) : 0;
    fprintf(out, " %.*s\n", (int)bytes, target);
    if (!S_ISDIR(st.st_mode) || is_target)
        return;
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        fprintf(out, "can't be opened: %s\n", strerror(errno));
    else
        folder_print(out, fd, whole, watched);
}

static void folder_print(FILE *out, int fd, const char *path, const struct watched *watched)
{
    struct dirent **entries;
    char self[64];

    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    int count = scandir(self, &entries, NULL, alphasort);
    ck_assert_int_ge(count, 0);
    for (int i = 0; i < count; i++) {
        if (strcmp(entries[i]->d_name, ".") != 0 && strcmp(entries[i]->d_name, "..") != 0)
            entry_print(out, fd, path, entries[i]->d_name, watched);
        free(entries[i]);
    }
    free(entries);
    close(fd);
}

char *watched_print(const struct watched *watched)
{
    char *text = NULL;
    size_t bytes = 0;
    struct stat st;
    FILE *out = open_memstream(&text, &bytes);
    int fd = open(watched->base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    ck_assert_ptr_nonnull(out);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &st), 0);
    fprintf(out, "%o %ld.%ld\n", st.st_mode, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    folder_print(out, fd, watched->base, watched);
    ck_assert_int_eq(fclose(out), 0);
    return text;
}
