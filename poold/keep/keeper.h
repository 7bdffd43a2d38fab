/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper: a process that outlives poold and holds a second descriptor of all that would end with
 * it, so that the next poold can take over (`poold keeper`, started by poold).
 *
 * How it works
 *   A VM lives as long as somebody has the other end of its control socket and of its bell. poold has
 *   one descriptor of each, the keeper another, which it never reads from nor writes to. So the end of
 *   poold, however it comes, is no event for a VM: what it says meanwhile waits in its sockets.
 *   The keeper knows nothing of what it holds: an entry is a kind, an index and up to KEEP_ROLES_MAX
 *   descriptors. What they belong to is in the ledger (ledger.h), whose descriptor is one of them.
 *   It serves one connection at a time, to RUN_DIR/keep.sock; whoever is its user may connect, and a
 *   new one is in place of the old one. Without a connection it waits for as long as it was told
 *   (KEEP_GRACE): then it ends, and with it everything that it held.
 *   One that has no room for what it is given (descriptors, memory) hangs up once it has heard all, and
 *   holds the rest: a poold that is there starts another, which it gives everything, and ends this one.
 *   It is a re-executed poold, has no capability, opens nothing and runs nothing. It stays when poold
 *   is upgraded, so its protocol is not to be changed: kinds and roles can be added without it.
 *
 *   poold's side: PUT once a VM's process is known and no acquire waits for others' answers, at the
 *   latest before it is leased; DROP when it is gone. A parked VM was put long before it is acquired. */
#ifndef VOLT_POOLD_KEEPER_H
#define VOLT_POOLD_KEEPER_H

#include <stdint.h>

#define KEEPER_COMMAND "keeper"
#define KEEPER_SOCKET_NAME "keep.sock" /* no longer than the API's: it fits where that does */
#define KEEPER_LISTEN_FD 3
#define KEEP_VERSION 1u
#define KEEP_ROLES_MAX 12u

enum keep_type {
    KEEP_HELLO = 1, /* from the keeper, first: value is KEEP_VERSION */
    KEEP_GRACE,     /* value: how long it waits for another poold, in ms */
    KEEP_PUT, /* fds: those of `roles`, in their order, in place of those that it has of them */
    KEEP_TAKE_BACK, /* closes those of `roles`; of all of them: the entry is gone */
    KEEP_LIST,      /* answered by an ENTRY for each, and LIST_END */
    KEEP_ENTRY,
    KEEP_LIST_END,
    KEEP_STOP, /* ends at once */
};

enum keep_kind {
    KEEP_LEDGER,   /* index 0, role 0 */
    KEEP_VM,       /* index: the ledger's; roles: enum keep_vm_role */
    KEEP_TEMPLATE, /* index: the ledger's; roles: enum keep_template_role */
    KEEP_UIDS,     /* a block's lock; value: its first uid */
    KEEP_LISTENER, /* the API's socket, where poold has made it */
    KEEP_CONNECTION, /* of a client, with a lease that is bound to it: index of its VM; value: which one */
    KEEP_WALLS,  /* what holds all VMs' networks (net_walls.h): roles: its files */
    KEEP_GROUPS, /* cgroup v2: the parent group, which holds none when poold has ended (below) */
    KEEP_KIND_COUNT = 16,
};

enum keep_vm_role {
    KEEP_VM_CONTROL,
    KEEP_VM_BELL,
    KEEP_VM_PIDFD,
    KEEP_VM_NETNS,
    KEEP_VM_PEER, /* of a network `user` whose gate is not there yet */
    KEEP_VM_GATE_CONTROL,
    KEEP_VM_GATE_SHARED,
    KEEP_VM_GATE_PIDFD,
    KEEP_VM_GATE_TEXT,
    KEEP_VM_PASST_PIDFD,
    KEEP_VM_PASST_TEXT,
};

enum keep_template_role { KEEP_TEMPLATE_CONTROL, KEEP_TEMPLATE_PIDFD, KEEP_TEMPLATE_TEXT };

struct keep_msg {
    uint32_t type, kind, index;
    uint32_t roles; /* bits 1 << role */
    uint64_t value;
    uint64_t reserved;
};

#define KEEP_ALL_ROLES ((1u << KEEP_ROLES_MAX) - 1)

/* 0 or -errno; fds are in the order of their roles, and stay the caller's. Never SIGPIPE. flags:
 * MSG_DONTWAIT or 0. */
int keep_send(int socket_fd, const struct keep_msg *msg, const int *fds, int flags);
/* 0 with fds that are the caller's, by their roles, -1: none; -ENOTCONN: the other end is gone;
 * -EPROTO: what came is no message; -EMFILE: this process has no room for its fds; -errno. */
int keep_recv(int socket_fd, struct keep_msg *ret_msg, int ret_fds[KEEP_ROLES_MAX], int flags);

/* The keeper's main, on KEEPER_LISTEN_FD; its exit status. */
int keeper_main(void);

#endif
