/* SPDX-License-Identifier: Apache-2.0 */
/* Owns how messages of the keeper's go over its socket; see keeper.h. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "keep/keeper.h"

union fd_space {
    struct cmsghdr header;
    char space[CMSG_SPACE(KEEP_ROLES_MAX * sizeof(int))];
};

int keep_send(int socket_fd, const struct keep_msg *msg, const int *fds, int flags)
{
    const size_t fd_bytes = (size_t)__builtin_popcount(msg->roles) * sizeof(int);
    union fd_space control = { .header = { .cmsg_level = SOL_SOCKET,
                                           .cmsg_type = SCM_RIGHTS,
                                           .cmsg_len = CMSG_LEN(fd_bytes) } };
    struct iovec iov = { (void *)(uintptr_t)msg, sizeof *msg };
    struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (fds && fd_bytes) {
        memcpy(CMSG_DATA(&control.header), fds, fd_bytes);
        header.msg_control = control.space;
        header.msg_controllen = CMSG_SPACE(fd_bytes);
    }
    ssize_t n;
    do
        n = sendmsg(socket_fd, &header, flags | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* Sorts what came by roles. -EPROTO: it is not what the roles say, -EMFILE: for want of descriptors;
 * all of it is closed. */
static int fds_sort(const struct msghdr *header, uint32_t roles, bool expected,
                    int ret_fds[KEEP_ROLES_MAX])
{
    const struct cmsghdr *cmsg = CMSG_FIRSTHDR(header);
    const bool rights = cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS;
    const unsigned came = rights ? (unsigned)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
    const unsigned wanted = expected ? (unsigned)__builtin_popcount(roles) : 0;
    const bool cut = header->msg_flags & MSG_CTRUNC;
    unsigned at = 0;
    int fds[KEEP_ROLES_MAX];

    for (unsigned i = 0; i < came; i++)
        memcpy(&fds[i], CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
    if (came != wanted || roles & ~KEEP_ALL_ROLES || cut) {
        for (unsigned i = 0; i < came; i++)
            close(fds[i]);
        return cut && came < wanted ? -EMFILE : -EPROTO;
    }
    for (unsigned role = 0; role < KEEP_ROLES_MAX && at < came; role++) {
        if (roles & 1u << role)
            ret_fds[role] = fds[at++];
    }
    return 0;
}

int keep_recv(int socket_fd, struct keep_msg *ret_msg, int ret_fds[KEEP_ROLES_MAX], int flags)
{
    union fd_space control;
    struct iovec iov = { ret_msg, sizeof *ret_msg };
    struct msghdr header = { .msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof control.space };
    ssize_t n;

    for (unsigned i = 0; i < KEEP_ROLES_MAX; i++)
        ret_fds[i] = -1;
    do
        n = recvmsg(socket_fd, &header, flags | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n < 0 && errno != ECONNRESET ? -errno : -ENOTCONN;
    const bool whole = n == (ssize_t)sizeof *ret_msg && !(header.msg_flags & MSG_TRUNC);
    const bool carries = whole && (ret_msg->type == KEEP_PUT || ret_msg->type == KEEP_ENTRY);
    int rc = fds_sort(&header, whole ? ret_msg->roles : 0, carries, ret_fds);
    return rc == 0 && !whole ? -EPROTO : rc;
}
