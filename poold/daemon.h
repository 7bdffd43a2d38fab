/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon: everything of one poold hangs off struct daemon, which puts the rooms together: what
 * one of them needs from those above it, it is given here as a callback. Included by the files beside
 * it alone. Loop thread only. */
#ifndef VOLT_POOLD_DAEMON_H
#define VOLT_POOLD_DAEMON_H

#include <uv.h>

#include "api/api.h"
#include "base/turn.h"
#include "config.h"
#include "declare.h"
#include "e2b.h"
#include "host/fd_budget.h"
#include "http/access.h"
#include "service.h"
#include "vms/vms.h"

struct http;

struct daemon {
    struct config config;
    int argc; /* what the configuration was read with, and is again */
    char *const *argv;
    struct declarations declared;
    struct list reload_wishes;
    struct reload *reload;         /* waits for limit_changes; NULL: none does */
    uint32_t limit_changes;        /* of declared pools, on their way to disk */
    bool reloading, reload_failed; /* one is under way; the last one was refused */
    struct service service;
    struct access access;
    uv_loop_t loop;
    struct turn turn;
    uv_signal_t signals[4];
    struct fd_budget fds;
    struct vms vms;
    struct functions functions;
    struct http *http;
    struct http *remote;   /* for callers by TCP (remote.h); NULL: nobody asked for it */
    struct access callers; /* its */
    struct e2b e2b;
    struct tls_door *tls; /* in front of it; NULL: it listens itself */
    struct api api;
    int lock_fd, run_lock_fd;
    bool listener_kept;      /* by the keeper */
    bool leaving;            /* VMs are the next poold's; all there is to do is to leave, */
    uint64_t leave_ns;       /* by then */
    uint64_t drain_until_ns; /* vms.env.draining: at the latest; UINT64_MAX: no limit */
    bool signalled; /* a signal asked for the end, which has begun when vms.env.stopping is set */
};

/* Starts everything. Takes the declarations; argv lives as long as the daemon. On failure
 * daemon_fini cleans up. */
int daemon_init(struct daemon *daemon, const struct config *config,
                struct declarations *declarations, int argc, char *const *argv, struct err *err);
/* Runs until the shutdown is complete. */
void daemon_run(struct daemon *daemon);
void daemon_fini(struct daemon *daemon);

/* Has leases and pools tell what becomes of them (news.c): as soon as run_dir is poold's; and the end
 * of it. */
int daemon_news_init(struct daemon *daemon, struct err *err);
void daemon_news_stopped(struct daemon *daemon);

/* No new leases, all VMs stopped, then the loop ends. */
void daemon_shutdown(struct daemon *daemon);
/* The same, once the last lease is over, at the latest after grace_ms (0: whenever that is). Until then
 * no new ones are given (drain.c). */
void daemon_drain(struct daemon *daemon, uint64_t grace_ms);
/* Begins the end if it is time; returns when it is, at the latest; UINT64_MAX for nobody knows. */
uint64_t daemon_drain_pump(struct daemon *daemon);
/* The loop ends, VMs and leases go on: they are the next poold's. */
void daemon_hand_over(struct daemon *daemon);

#endif
