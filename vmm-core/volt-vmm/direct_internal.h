/* SPDX-License-Identifier: Apache-2.0 */
/* One VM without a daemon: what its parts share.
 *
 *   direct.c           the VM's process, its messages, the terminal, the loop
 *   direct_snapshot.c  snapshots, at the first PARK or when asked for
 *   direct_source.c    the snapshot that --restore names
 *   direct_disk.c      the disk that --disk or a snapshot names
 *   direct_api.c       the API socket
 *
 * One thread. Functions return 0 or -errno with a sentence. */
#ifndef VOLT_VMM_DIRECT_INTERNAL_H
#define VOLT_VMM_DIRECT_INTERNAL_H

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

#include "base/unix_listen.h"
#include "control/control.h"
#include "snapshot/memory_mark.h"
#include "snapshot/store.h"
#include "volt-vmm/options.h"
#include "volt-vmm/prompt.h"

#define DIRECT_API_CONNECTIONS 8u
#define DIRECT_API_REQUEST_BYTES 4096u

/* A connection of the API socket: one request, one answer. */
struct direct_call {
    int fd;     /* -1: free */
    bool waits; /* its request is read, its answer is due */
    uint32_t bytes;
    char request[DIRECT_API_REQUEST_BYTES];
};

struct direct_api {
    struct unix_listener listener; /* fd -1: none */
    struct direct_call call[DIRECT_API_CONNECTIONS];
    struct direct_call *metrics, *snapshot; /* that wait for the VM; NULL: none */
    unsigned oldest;                        /* makes room for the next when all are taken */
};

enum direct_park {
    DIRECT_PARK_NONE,
    DIRECT_PARK_GREETING, /* the agent is to take the connection */
    DIRECT_PARK_ASKED,    /* it is to say that it parks */
    DIRECT_PARK_DUE,      /* PARKED follows */
};

struct direct {
    struct options *options;
    pid_t child;                         /* leads a process group of its own */
    int control, bell, console, signals; /* console -1: none */
    struct termios terminal;             /* as it was before */
    bool terminal_raw;
    bool ready;  /* READY: the guest is live */
    bool paused; /* its processes are stopped */
    bool ended;
    int status; /* exit status once ended */
    uint64_t start_ns;
    struct prompt prompt; /* up to the answer of a restored guest */

    char snapshot_to[MANIFEST_PATH_BYTES]; /* of the snapshot that is wanted next; "": none */
    int store_fd;
    struct snapshot_txn txn;
    struct manifest manifest; /* of this machine: what a snapshot of it says */
    struct memory_mark mark;  /* of the snapshot that it is restored from */
    bool has_mark;
    uint64_t opened_ns; /* CLOCK_REALTIME, when the mark was made */
    enum direct_park park;
    int agent_fd; /* while park is GREETING or ASKED */

    struct direct_api api;
};

/* Asks the VM for something. */
int direct_send(int socket_fd, struct control_msg *msg, int fd, const char *doing, struct err *err);
/* op: RESTORE for a new VM, LEASE for one that goes on. */
int direct_wake(struct direct *d, enum doorbell_op op, struct err *err);
/* Stops and continues the VM's processes. */
void direct_pause(struct direct *d, bool pause);
void direct_stop(struct direct *d);

/* ---- direct_source.c ---- */

/* Opens the snapshot to restore for the VM's process: options->snapshot_fd, and options->memory_known
 * if its memory has been compared before. Loads d->manifest. */
int direct_source_open(struct direct *d, struct err *err);
/* The VM runs, so the memory is what it should be: the next one need not compare it. */
void direct_source_worked(struct direct *d);

/* ---- direct_disk.c ---- */

/* Opens the disk for the VM: fds into the options, what a snapshot says of it into the manifest
 * (which, of a restored VM, names it already). */
int direct_disk_open(struct options *options, struct manifest *manifest,
                     const struct snapshot_txn *txn, struct err *err);

/* ---- direct_snapshot.c ---- */

/* Fills d->manifest: of the machine to boot, or what the snapshot to restore says. */
int direct_manifest_fill(struct direct *d, struct err *err);
/* Opens the transaction for a snapshot called `path`. */
int direct_snapshot_begin(struct direct *d, const char *path, struct err *err);
/* Has the live guest park for it. */
int direct_snapshot_park(struct direct *d, struct err *err);
/* agent_fd is readable. A failure ends the transaction, not the VM. */
int direct_snapshot_agent(struct direct *d, struct err *err);
/* The guest is parked: takes it. */
int direct_snapshot_ask(struct direct *d, struct err *err);
/* SNAPSHOT_DONE. A failure is one of the snapshot. */
int direct_snapshot_done(struct direct *d, const struct control_msg *msg, struct err *err);
void direct_snapshot_abort(struct direct *d);

/* ---- direct_api.c ---- */

int direct_api_open(struct direct *d, const char *path, struct err *err);
/* Adds what to poll, at most DIRECT_API_CONNECTIONS + 1. */
unsigned direct_api_poll(const struct direct_api *api, struct pollfd *ret_polled);
/* Serves what is ready of the `count` that direct_api_poll added. */
void direct_api_serve(struct direct *d, const struct pollfd *polled, unsigned count);
/* The VM's answers. err NULL: all is well. */
void direct_api_stats(struct direct *d, const struct control_msg *msg);
void direct_api_snapshot(struct direct *d, const struct control_msg *msg, const struct err *err);
void direct_api_close(struct direct *d);

#endif
