/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the looking up of users in an image's files. Input: the user's name up to a newline, then
 * etc/passwd, and behind a line "--" etc/group. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "user.h"

static char base[64];

static void clean_up(void)
{
    char command[96];

    snprintf(command, sizeof command, "rm -rf %s", base);
    if (chdir("/") < 0 || system(command) != 0)
        abort();
}

static void file_write(const char *path, const void *data, size_t bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes)
        abort();
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const uint8_t *newline = memchr(data, '\n', bytes),
                  *rest = newline ? newline + 1 : data + bytes;
    size_t left = (size_t)(data + bytes - rest);
    const uint8_t *split = memmem(rest, left, "\n--\n", 4);
    size_t first = split ? (size_t)(split - rest) : left;
    char name[128];
    struct user user;
    struct fail fail = { 0 };

    if (!base[0]) {
        snprintf(base, sizeof base, "%s/volt-fuzz-XXXXXX",
                 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
        if (!mkdtemp(base) || chdir(base) < 0 || mkdir("etc", 0700) < 0)
            abort();
        atexit(clean_up);
    }
    snprintf(name, sizeof name, "%.*s", (int)(newline ? newline - data : (ssize_t)bytes), data);
    file_write("etc/passwd", rest, first);
    file_write("etc/group", split ? split + 4 : rest, split ? left - first - 4 : left);
    if (user_find(name, &user, &fail) < 0) {
        if (fail.sentence[0] == '\0')
            abort();
        return 0;
    }
    if (user.group_count > USER_GROUPS_MAX || strlen(user.home) >= USER_HOME_BYTES ||
        user.uid == UINT32_MAX || user.gid == UINT32_MAX)
        abort();
    return 0;
}
