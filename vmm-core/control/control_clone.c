/* SPDX-License-Identifier: Apache-2.0 */
/* Owns which fds come with a CLONE, and in what order; see control.h. */
#include <stddef.h>

#include "base/util.h"
#include "control/control.h"

/* Behind control and bell, which are always there; the bit in clone.extra_fds is the row's. */
static const size_t extra_fds[] = {
    offsetof(struct control_clone_fds, vsock_dir), offsetof(struct control_clone_fds, disk),
    offsetof(struct control_clone_fds, tap),       offsetof(struct control_clone_fds, vsock_listen),
    offsetof(struct control_clone_fds, vhost),
};

_Static_assert(2 + ARRAY_LEN(extra_fds) <= CONTROL_FDS_MAX, "they fit into a message");

int control_clone_send(int socket_fd, struct control_msg *msg, const struct control_clone_fds *fds)
{
    int sent[CONTROL_FDS_MAX] = { fds->control, fds->bell };
    unsigned count = 2;

    msg->type = CONTROL_CLONE;
    msg->u.clone.extra_fds = 0;
    for (unsigned i = 0; i < ARRAY_LEN(extra_fds); i++) {
        int fd = *(const int *)((const char *)fds + extra_fds[i]);

        if (fd < 0)
            continue;
        msg->u.clone.extra_fds |= 1u << i;
        sent[count++] = fd;
    }
    return control_send(socket_fd, msg, sent, count);
}

bool control_clone_sort(const struct control_msg *msg, const int *fds, unsigned fd_count,
                        struct control_clone_fds *ret_fds)
{
    struct control_clone_fds named = CONTROL_CLONE_FDS_NONE;
    unsigned at = 2;

    if (fd_count < 2 || msg->u.clone.extra_fds >> ARRAY_LEN(extra_fds))
        return false;
    named.control = fds[0];
    named.bell = fds[1];
    for (unsigned i = 0; i < ARRAY_LEN(extra_fds); i++) {
        if (!(msg->u.clone.extra_fds & 1u << i))
            continue;
        if (at == fd_count)
            return false;
        *(int *)((char *)&named + extra_fds[i]) = fds[at++];
    }
    if (at != fd_count)
        return false;
    *ret_fds = named;
    return true;
}
