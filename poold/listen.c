/* SPDX-License-Identifier: Apache-2.0 */
/* Owns how the API's socket comes about; see listen.h. */
#include "listen.h"

#include <errno.h>
#include <grp.h>

#include "service.h"

int listen_open(struct unix_listener *ret_listener, const char *path, const char *group,
                struct err *err)
{
    gid_t gid = UNIX_KEEP_GROUP;

    if (service_socket_take(ret_listener))
        return 0;
    if (*group) {
        const struct group *entry = getgrnam(group);

        if (!entry)
            return err_set(err, EINVAL, "--group: there is no group '%s'", group);
        gid = entry->gr_gid;
    }
    return unix_listen(ret_listener, path, LISTEN_MODE, gid, LISTEN_BACKLOG, err);
}
