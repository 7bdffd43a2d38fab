/* SPDX-License-Identifier: Apache-2.0 */
/* What net_gate.c (the processes) and net_gate_adopt.c (those of an earlier poold) share; nobody else
 * includes it. */
#ifndef VOLT_POOLD_NET_GATE_INTERNAL_H
#define VOLT_POOLD_NET_GATE_INTERNAL_H

#include "host/link.h"
#include "net/net_gate.h"

#define NET_GATE_NOT_STARTED "passt can't be started:"

/* A process of the two. */
struct child {
    struct link link; /* first */
    struct net_gate *gate;
    pid_t pid;   /* 0: it is not running */
    bool linked; /* link is in use */
    char said[LINK_LINE_BYTES];
};

struct net_gate {
    struct net_walls *walls;
    struct child filter, passt; /* volt-gate, passt */
    struct net_gate_start spec;
    struct net_publish publish;
    int control_fd; /* to the gate; -1: it was not started */
    int shared_fd;  /* struct gate_shared; -1 */
    uv_timer_t pause;
    uint64_t started_ns; /* passt */
    uint32_t pause_ms, restarts;
    bool working, ended, lost;
    bool timer_open;
    char error[LINK_LINE_BYTES + 64];
};

extern const struct link_ops net_gate_child_ops;

/* Without processes; what start says is to be taken is. */
void net_gate_init(struct net_gate *gate, struct net_walls *walls,
                   const struct net_gate_start *start);
/* passt has ended, or could not be started: it is, after a pause. */
void net_gate_passt_pause(struct net_gate *gate, const char *what, const char *why);

#endif
