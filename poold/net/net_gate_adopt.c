/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what of a gate outlives poold, and gates of an earlier one; see net_gate.h. */
#include <stdlib.h>

#include "base/util.h"
#include "net/net_gate_internal.h"

/* Of a process that this poold did not start: it is not waited for. */
static void child_adopt(struct net_gate *gate, struct child *child, int *pidfd, int *text_fd)
{
    link_init(&child->link, gate->walls->loop, &net_gate_child_ops);
    child->gate = gate;
    child->linked = true;
    link_attach(&child->link, LINK_PIDFD, take_fd(pidfd));
    if (*text_fd >= 0)
        link_attach(&child->link, LINK_TEXT, take_fd(text_fd));
}

struct net_gate *net_gate_adopt(struct net_walls *walls, const struct net_gate_start *start,
                                int fds[NET_GATE_FDS])
{
    struct net_gate *gate = calloc(1, sizeof *gate);

    if (!gate) {
        net_publish_release(start->publish);
        return NULL;
    }
    net_gate_init(gate, walls, start);
    gate->control_fd = take_fd(&fds[NET_GATE_CONTROL]);
    gate->shared_fd = take_fd(&fds[NET_GATE_SHARED]);
    gate->started_ns = now_ns();
    child_adopt(gate, &gate->filter, &fds[NET_GATE_PIDFD], &fds[NET_GATE_TEXT]);
    if (fds[NET_GATE_PASST_PIDFD] >= 0)
        child_adopt(gate, &gate->passt, &fds[NET_GATE_PASST_PIDFD], &fds[NET_GATE_PASST_TEXT]);
    else
        net_gate_passt_pause(gate, NET_GATE_NOT_STARTED, "poold was started again meanwhile");
    return gate;
}

const struct net_publish *net_gate_published(const struct net_gate *gate)
{
    return &gate->publish;
}

void net_gate_fds(const struct net_gate *gate, int ret_fds[NET_GATE_FDS])
{
    ret_fds[NET_GATE_CONTROL] = gate->control_fd;
    ret_fds[NET_GATE_SHARED] = gate->shared_fd;
    ret_fds[NET_GATE_PIDFD] = gate->filter.link.fds[LINK_PIDFD];
    ret_fds[NET_GATE_TEXT] = gate->filter.link.fds[LINK_TEXT];
    ret_fds[NET_GATE_PASST_PIDFD] = gate->passt.link.fds[LINK_PIDFD];
    ret_fds[NET_GATE_PASST_TEXT] = gate->passt.link.fds[LINK_TEXT];
}
