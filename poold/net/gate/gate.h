/* SPDX-License-Identifier: Apache-2.0 */
/* volt-gate: the process between a VM's card and passt, which drops what the pool's policy does not
 * let through (net_judge.h). What poold and it share.
 *
 * How it works
 *   Each leased VM of a network `user` has a gate of its own, with the VM's uid. It owns both
 *   streams of frames (4 bytes of length, big-endian, before each; as passt has them), and nothing
 *   else: no files, no network, eight system calls. poold can take passt away from it and give it
 *   another; whose VM it is never changes. It ends when poold or the VM closes its socket, and with
 *   EX_PROTOCOL when what the VM's process sends are no frames.
 *
 *     volt-gate pass                     the gate itself, with the fds of enum gate_fd
 *     volt-gate run UID PROCS SHARES COMMAND...
 *                                        COMMAND with that uid and gid, in the control group whose
 *                                        cgroup.procs is open as fd PROCS; "-": as it is. SHARES "-":
 *                                        it gets no port that another socket has. It may have
 *                                        GATE_RUN_FDS descriptors. What passt is started by (run.h)
 *   poold gives what is behind the first word by way of a file (base/arguments.h).
 */
#ifndef VOLT_POOLD_GATE_GATE_H
#define VOLT_POOLD_GATE_GATE_H

#include <stdint.h>

#include "net/net_rules.h"

enum gate_fd {
    GATE_FD_CONTROL =
        3,          /* a SEQPACKET socket of poold's: each byte that comes brings an fd, passt's
                            end of a new stream */
    GATE_FD_VM,     /* the VM's end of its stream */
    GATE_FD_SHARED, /* a file with struct gate_shared */
    GATE_FD_HOST,   /* one with struct gate_host, which can't be written to */
    GATE_FD_END,
};

#define GATE_RUN_FDS 8192u

/* For --help and volt-gate(8). */
#define GATE_PASS_SYNTAX "volt-gate pass"
#define GATE_RUN_SYNTAX "volt-gate run UID PROCS_FD SHARES COMMAND [ARGUMENT...]"

#define GATE_SHARED_VERSION 2u
#define GATE_KEEP_UID UINT32_MAX

/* Of those that come to the VM. */
struct gate_datagrams {
    uint32_t gateway;                   /* as which the host's loopback answers */
    uint16_t published[NET_OPENED_MAX]; /* the VM's ports; 0: none */
};

struct gate_shared {
    uint32_t
        version;  /* written by poold before the gate starts, and read once, as is what follows */
    uint32_t uid; /* and gid that it switches to, GATE_KEEP_UID: none */
    struct net_vm vm;
    struct net_rules rules;
    struct gate_datagrams datagrams;
    struct net_drops drops; /* written by the gate */
};

/* The host's own addresses, as ranges in order. `turn` is odd while poold writes. */
#define GATE_HOST_RANGES_MAX 4095u

struct gate_range {
    uint32_t first, last;
};

struct gate_host {
    uint32_t turn;
    uint32_t count;
    struct gate_range range[GATE_HOST_RANGES_MAX];
};

#endif
