/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what makes a file one to be believed; see trusted_file.h. */
#include "base/trusted_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"

static int check(int fd, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_set_errno(err, errno, "can't look at it");
    if (S_ISCHR(st.st_mode))
        return 0;
    if (!S_ISREG(st.st_mode))
        return err_set(err, EINVAL, "it is not a regular file");
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return err_set(err, EPERM, "it belongs to another user (%u)", (unsigned)st.st_uid);
    if (st.st_mode & S_IWOTH)
        return err_set(err, EPERM, "everybody can write it; chmod o-w it");
    return 0;
}

int trusted_file_open(const char *path, struct err *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd < 0)
        return err_set(err, errno, "%s", strerror(errno));
    int rc = check(fd, err);
    return rc < 0 ? rc : take_fd(&fd);
}
