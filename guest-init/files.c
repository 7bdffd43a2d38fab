/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the operations of volt-files; see files.h. */
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "files_internal.h"
#include "guest_abi.h"

#define COPY_BYTES 65536 /* on the stack: what is static is locked in every VM's memory */
#define REMOVE_FDS 32

/* mkdir -p of what is above `path`. */
static void parents_make(const char *path)
{
    char above[PATH_MAX];
    struct text text;

    text_init(&text, above, sizeof(above));
    text_add(&text, path);
    for (char *at = above + 1; *at; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        (void)mkdir(above, 0755); /* what needs it tells what is wrong */
        *at = '/';
    }
}

static int entry_print(const char *path, struct fail *fail)
{
    int status = files_put_entry(path);

    return status < 0 ? fail_set_errno(fail, -status, "can't look at", path) : 0;
}

static int op_stat(const char *path, const char *unused, struct fail *fail)
{
    (void)unused;
    return entry_print(path, fail);
}

static int no_dots(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* A folder that goes away meanwhile, or that is not ours to read, below the first one has no entries. */
static int list(const char *path, int64_t depth, bool first, struct fail *fail)
{
    struct dirent **entries;
    char inner[PATH_MAX];
    struct stat st;
    int count = scandir(path, &entries, no_dots, alphasort);

    if (count < 0)
        return first ? fail_set_errno(fail, errno, "can't list", path) : 0;
    for (int i = 0; i < count; i++) {
        struct text text;

        text_init(&text, inner, sizeof(inner));
        text_add(&text, path[1] ? path : "");
        text_add(&text, "/");
        text_add(&text, entries[i]->d_name);
        free(entries[i]);
        if (files_put_entry(inner) == -EPIPE)
            _exit(1); /* nobody reads it */
        if (depth > 1 && lstat(inner, &st) == 0 && S_ISDIR(st.st_mode))
            (void)list(inner, depth - 1, false, fail);
    }
    free(entries);
    return 0;
}

static int op_list(const char *path, const char *depth_text, struct fail *fail)
{
    int64_t depth = text_to_number(depth_text, FILES_DEPTH_MAX);

    if (depth < 1)
        return fail_set(fail, EINVAL, "the depth must be from 1 to 64, not", depth_text, NULL);
    return list(path, depth, true, fail);
}

static int op_mkdir(const char *path, const char *unused, struct fail *fail)
{
    (void)unused;
    parents_make(path);
    if (mkdir(path, 0755) < 0)
        return fail_set_errno(fail, errno, "can't make the folder", path);
    return entry_print(path, fail);
}

static int op_move(const char *from, const char *to_text, struct fail *fail)
{
    char to[PATH_MAX];
    struct stat st;

    if (files_absolute(to_text, to) < 0)
        return fail_set(fail, ENAMETOOLONG, "a path is too long", NULL, NULL);
    if (lstat(from, &st) < 0)
        return fail_set_errno(fail, errno, "can't move", from);
    parents_make(to);
    if (rename(from, to) < 0)
        return fail_set_errno(fail, errno, "can't move to", to);
    return entry_print(to, fail);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path) < 0 && errno != ENOENT ? errno : 0;
}

static int op_remove(const char *path, const char *unused, struct fail *fail)
{
    (void)unused;
    int error = nftw(path, remove_one, REMOVE_FDS, FTW_DEPTH | FTW_PHYS);

    if (error < 0)
        error = errno == ENOENT ? 0 : errno;
    return error ? fail_set_errno(fail, error, "can't remove", path) : 0;
}

static int op_read(const char *path, const char *unused, struct fail *fail)
{
    char data[COPY_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    ssize_t count;

    (void)unused;
    if (fd < 0 || fstat(fd, &st) < 0)
        return fail_set_errno(fail, errno, "can't open", path);
    if (!S_ISREG(st.st_mode))
        return fail_set(fail, S_ISDIR(st.st_mode) ? EISDIR : EINVAL,
                        "what is no file can't be read", path, NULL);
    if (entry_print(path, fail) < 0)
        return -fail->code;
    while (sendfile(STDOUT_FILENO, fd, NULL, COPY_BYTES) > 0)
        ; /* its pages, as they are; what can't be sent so, as of /proc, is copied */
    while ((count = read(fd, data, sizeof(data))) > 0)
        if (!files_put(data, (size_t)count))
            return 0;
    return count < 0 ? fail_set_errno(fail, errno, "can't read", path) : 0;
}

static int write_all(int fd, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t count = write(fd, data, bytes);

        if (count < 0 && errno != EINTR)
            return -errno;
        data += count > 0 ? count : 0;
        bytes -= count > 0 ? (size_t)count : 0;
    }
    return 0;
}

static int op_write(const char *path, const char *unused, struct fail *fail)
{
    char data[COPY_BYTES];
    ssize_t count;
    int status = 0;

    (void)unused;
    parents_make(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK, 0644);
    if (fd < 0)
        return fail_set_errno(fail, errno, "can't write", path);
    while (status == 0 && (count = read(STDIN_FILENO, data, sizeof(data))) > 0)
        status = write_all(fd, data, (size_t)count);
    if (close(fd) < 0 && status == 0)
        status = -errno;
    return status < 0 ? fail_set_errno(fail, -status, "can't write", path)
                      : entry_print(path, fail);
}

static int op_watch(const char *path, const char *how, struct fail *fail)
{
    return files_watch(path, !strcmp(how, "recursive"), fail);
}

static const struct operation {
    const char *name;
    int argc; /* with the command's and the operation's name */
    int (*run)(const char *path, const char *more, struct fail *fail);
} operations[] = {
    { "stat", 3, op_stat },     { "list", 4, op_list },   { "mkdir", 3, op_mkdir },
    { "move", 4, op_move },     { "read", 3, op_read },   { "write", 3, op_write },
    { "remove", 3, op_remove }, { "watch", 4, op_watch },
};

static int run(int argc, char **argv, struct fail *fail)
{
    char path[PATH_MAX];

    for (size_t i = 0; argc > 2 && i < ARRAY_LEN(operations); i++) {
        if (strcmp(argv[1], operations[i].name) != 0 || argc != operations[i].argc)
            continue;
        if (!argv[2][0] || files_absolute(argv[2], path) < 0)
            return fail_set(fail, argv[2][0] ? ENAMETOOLONG : EINVAL,
                            "the path is empty or too long", NULL, NULL);
        return operations[i].run(path, argc > 3 ? argv[3] : "", fail);
    }
    return fail_set(fail, EINVAL, "there is no such operation", argc > 1 ? argv[1] : "", NULL);
}

int files_main(int argc, char **argv)
{
    char buffer[400];
    struct text text;
    struct fail fail;

    signal(SIGPIPE, SIG_IGN);
    umask(022);
    if (run(argc, argv, &fail) == 0)
        return 0;
    text_init(&text, buffer, sizeof(buffer));
    text_add_u64(&text, (uint64_t)fail.code);
    text_add(&text, " ");
    text_add(&text, fail.sentence);
    return write(STDERR_FILENO, text.data, text.length) < 0 ? 2 : 1;
}
