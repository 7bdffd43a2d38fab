/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the list of busybox's applets; see applets.h. */
#include "applets.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define LIST_BYTES_MAX 8192

static char list[LIST_BYTES_MAX]; /* "\nname\nname\n", NUL-terminated */

void applets_load(void)
{
    int fd = open(APPLETS_LIST, O_RDONLY | O_CLOEXEC);
    ssize_t count = fd < 0 ? 0 : read(fd, list + 1, sizeof(list) - 2);

    if (fd >= 0)
        close(fd);
    list[0] = '\n';
    list[count > 0 ? count + 1 : 1] = '\0';
}

bool applets_known(const char *name)
{
    size_t length = strlen(name);

    for (const char *at = list; length && (at = strstr(at, name)) != NULL; at += length)
        if (at > list && at[-1] == '\n' && at[length] == '\n')
            return true;
    return false;
}
