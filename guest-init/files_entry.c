/* SPDX-License-Identifier: Apache-2.0 */
/* Owns how volt-files prints entries, and what it makes of paths; see files_internal.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files_internal.h"

#define NAMES_BYTES                                                                                \
    65536 /* of etc/passwd and etc/group; what is behind has its number for a name */
#define NAME_BYTES 64

/* A table of names, "NAME:x:NUMBER:...", read once. */
struct names {
    const char *path;
    char *data; /* NULL: not read yet */
};

static struct names users = { .path = "/etc/passwd" }, groups = { .path = "/etc/group" };

static void names_read(struct names *names)
{
    int fd = open(names->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    size_t fill = 0;
    ssize_t count;

    names->data = malloc(NAMES_BYTES);
    if (!names->data)
        _exit(2);
    while (fd >= 0 && fill < NAMES_BYTES - 1 &&
           (count = read(fd, names->data + fill, NAMES_BYTES - 1 - fill)) > 0)
        fill += (size_t)count;
    if (fd >= 0)
        close(fd);
    names->data[fill] = '\0';
}

/* The name of a number, or the number. */
static void name_find(struct names *names, uint32_t id, char ret_name[NAME_BYTES])
{
    struct text number, text;
    char digits[16];

    if (!names->data)
        names_read(names);
    text_init(&number, digits, sizeof(digits));
    text_add_u64(&number, id);
    text_init(&text, ret_name, NAME_BYTES);
    for (const char *line = names->data; *line; line += line[strcspn(line, "\n")] == '\n') {
        size_t name = strcspn(line, ":\n");
        const char *password = line[name] == ':' ? line + name + 1 : line + name;
        const char *field = password + strcspn(password, ":\n");

        if (*field == ':' && !strncmp(field + 1, digits, number.length) &&
            strchr(":\n", field[1 + number.length]) && name > 0) {
            text_add_bytes(&text, line, name);
            return;
        }
        line += strcspn(line, "\n");
    }
    text_add(&text, digits);
}

bool files_put(const void *data, size_t bytes)
{
    const char *at = data;

    while (bytes > 0) {
        ssize_t count = write(STDOUT_FILENO, at, bytes);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return false;
        at += count;
        bytes -= (size_t)count;
    }
    return true;
}

bool files_put_text(const char *string)
{
    return files_put(string, strlen(string) + 1);
}

static bool put_number(uint64_t number)
{
    struct text text;
    char digits[24];

    text_init(&text, digits, sizeof(digits));
    text_add_u64(&text, number);
    return files_put_text(digits);
}

static const char *kind_of(mode_t mode)
{
    if (S_ISREG(mode))
        return "f";
    if (S_ISDIR(mode))
        return "d";
    return S_ISLNK(mode) ? "l" : "o";
}

int files_put_entry(const char *path)
{
    char owner[NAME_BYTES], group[NAME_BYTES], target[PATH_MAX] = "";
    struct stat st, led;

    if (lstat(path, &st) < 0)
        return -errno;
    const char *kind = kind_of(st.st_mode);
    if (S_ISLNK(st.st_mode)) {
        ssize_t count = readlink(path, target, sizeof(target) - 1);

        target[count > 0 ? count : 0] = '\0';
        if (stat(path, &led) == 0)
            kind = kind_of(led.st_mode);
    }
    name_find(&users, st.st_uid, owner);
    name_find(&groups, st.st_gid, group);
    bool put = files_put_text(kind) && put_number((uint64_t)st.st_size) &&
               put_number(st.st_mode & 07777) && files_put_text(owner) && files_put_text(group) &&
               put_number(st.st_mtim.tv_sec > 0 ? (uint64_t)st.st_mtim.tv_sec : 0) &&
               put_number((uint64_t)st.st_mtim.tv_nsec) && files_put_text(path) &&
               files_put_text(target);
    return put ? 0 : -EPIPE;
}

/* Adds the parts of `path` to an absolute path without dots. False: it does not fit. */
static bool parts_add(struct text *whole, const char *path)
{
    while (*path) {
        size_t length = strcspn(path, "/");

        if (length == 2 && !memcmp(path, "..", 2)) {
            while (whole->length > 0 && whole->data[whole->length - 1] != '/')
                whole->length--;
            whole->length -= whole->length > 0;
            whole->data[whole->length] = '\0';
        } else if (length > 0 && !(length == 1 && *path == '.')) {
            if (whole->length + length + 2 > whole->room)
                return false;
            text_add(whole, "/");
            text_add_bytes(whole, path, length);
        }
        path += length + (path[length] == '/');
    }
    return true;
}

int files_absolute(const char *path, char ret_path[PATH_MAX])
{
    const char *home = getenv("HOME");
    char from[PATH_MAX];
    struct text whole;
    bool fits = true;

    text_init(&whole, ret_path, PATH_MAX);
    if (*path == '~' && (path[1] == '/' || !path[1])) {
        fits = parts_add(&whole, home ? home : "/");
        path++;
    } else if (*path != '/') {
        fits = getcwd(from, sizeof(from)) && parts_add(&whole, from);
    }
    if (!fits || !parts_add(&whole, path))
        return -ENAMETOOLONG;
    if (!whole.length)
        text_add(&whole, "/");
    return 0;
}
