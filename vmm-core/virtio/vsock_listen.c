/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the making of the vsock device's CONNECT socket; see vsock_listen.h. */
#include "virtio/vsock_listen.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/util.h"

#define LISTEN_BACKLOG 128

int vsock_listen(int dir_fd, int *ret_listen_fd, struct err *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return err_set_errno(err, errno, "making the vsock CONNECT socket");
    /* A Unix socket can only be named by path, and the working directory is all threads'. */
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" VSOCK_LISTEN_NAME,
             dir_fd);
    /* The mode of the socket is that of the name it gets. */
    if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return err_set_errno(err, errno, "binding '%s' in the vsock directory", VSOCK_LISTEN_NAME);
    if (listen(fd, LISTEN_BACKLOG) < 0)
        return err_set_errno(err, errno, "listening on '%s'", VSOCK_LISTEN_NAME);
    *ret_listen_fd = take_fd(&fd);
    return 0;
}
