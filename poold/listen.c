/* SPDX-License-Identifier: Apache-2.0 */
/* Owns how the API's socket comes about; see listen.h. */
#include "listen.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/util.h"
#include "service.h"

/* Whether fd is the socket that is at path. */
static bool is_at(int fd, const char *path, struct unix_listener *ret_listener)
{
    struct sockaddr_un address;
    socklen_t bytes = sizeof address;
    struct stat st;

    if (fd < 0 || getsockname(fd, (struct sockaddr *)&address, &bytes) < 0 ||
        strlen(path) >= sizeof address.sun_path || strcmp(address.sun_path, path) != 0 ||
        lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    *ret_listener = (struct unix_listener){ .fd = fd, .device = st.st_dev, .inode = st.st_ino };
    memcpy(ret_listener->path, path, strlen(path) + 1);
    return true;
}

int listen_open(struct unix_listener *ret_listener, const char *path, const char *group,
                int *inherited_fd, struct err *err)
{
    gid_t gid = UNIX_KEEP_GROUP;

    if (service_socket_take(ret_listener))
        return 0;
    if (inherited_fd && is_at(*inherited_fd, path, ret_listener)) {
        take_fd(inherited_fd);
        return 0;
    }
    if (inherited_fd)
        close_fd(inherited_fd); /* nobody listens with it any more */
    if (*group) {
        const struct group *entry = getgrnam(group);

        if (!entry)
            return err_set(err, EINVAL, "--group: there is no group '%s'", group);
        gid = entry->gr_gid;
    }
    return unix_listen(ret_listener, path, LISTEN_MODE, gid, LISTEN_BACKLOG, err);
}
