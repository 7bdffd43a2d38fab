/* SPDX-License-Identifier: Apache-2.0 */
/* The two processes behind the card of a leased VM of a network `user`: its gate (gate/gate.h) and
 * passt. Loop thread only; they are started on the thread pool, so that no acquire waits for them.
 *
 * How it works
 *   STARTING -> RUNNING -> WAITING -> STARTING ...   passt ends, and is started again after a pause,
 *                                                    a longer one each time that it ends soon
 *            -> ENDED                                the VM is gone, or the gate is: both are killed,
 *                                                    and all is freed once both have ended
 *   A gate that ends is a fault: nothing is left that holds the VM's frames, so the VM is to end. */
#ifndef VOLT_POOLD_NET_GATE_H
#define VOLT_POOLD_NET_GATE_H

#include <stdint.h>
#include <uv.h>

#include "net/net_publish.h"
#include "net/net_rules.h"
#include "net/net_walls.h"

struct net_gate;

struct net_gate_start {
    const char *vm_id; /* for the log; borrowed while the gate is there */
    uint32_t uid;      /* the VM's, and gid; VM_UIDS_NONE: poold's own */
    struct net_vm vm;
    const struct net_rules *rules; /* copied */
    uint32_t address, gateway;     /* network byte order */
    uint8_t prefix_bits;
    struct net_publish *publish; /* reserved; it is the gate's from now on, until passt has ended */
    int vm_fd;                   /* the VM's stream; taken */
    /* The gate has ended, or can't be started: called once, and net_gate_end is still to be. */
    void (*lost)(void *data, const char *why);
    void (*started)(void *data); /* its fds are others: those of both, or of a new passt */
    void *data;
};

/* What the next poold goes on with, in the order of enum net_gate_fd. */
#define NET_GATE_FDS 6u
enum net_gate_fd {
    NET_GATE_CONTROL,
    NET_GATE_SHARED,
    NET_GATE_PIDFD,
    NET_GATE_TEXT,
    NET_GATE_PASST_PIDFD,
    NET_GATE_PASST_TEXT,
};

/* What an operator sees. */
struct net_gate_state {
    uint32_t restarts; /* of passt */
    const char *error; /* why there is no passt now; NULL: there is, or will be in a moment */
};

/* NULL: out of memory; then what was to be taken is. */
struct net_gate *net_gate_start(struct net_walls *walls, const struct net_gate_start *start);
/* One that the poold before has started; takes fds, of which the first four are there. Without a passt
 * one is started. NULL: out of memory. */
struct net_gate *net_gate_adopt(struct net_walls *walls, const struct net_gate_start *start,
                                int fds[NET_GATE_FDS]);
/* Those that are there, borrowed; -1: none. */
void net_gate_fds(const struct net_gate *gate, int ret_fds[NET_GATE_FDS]);
const struct net_publish *net_gate_published(const struct net_gate *gate);
/* The VM is gone. NULL is fine. */
void net_gate_end(struct net_gate *gate);

void net_gate_drops(const struct net_gate *gate, struct net_drops *ret_drops);
struct net_gate_state net_gate_state(const struct net_gate *gate);

#endif
