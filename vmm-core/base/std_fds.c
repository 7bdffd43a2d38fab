/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the opening of missing standard descriptors; see std_fds.h. */
#include "base/std_fds.h"

#include <fcntl.h>
#include <unistd.h>

void std_fds_ensure(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        /* open gives the lowest number that is free: this one. The mode is the one that is no use
         * for it. */
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return;
    }
}
