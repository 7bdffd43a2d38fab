/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway for E2B's clients (docs/e2b.md): a process, volt-e2b, that poold starts when it is asked
 * for, starts again when it has ended, and ends with itself. It is a client of poold's socket as any
 * other, of poold's own user. Loop thread only. */
#ifndef VOLT_POOLD_E2B_H
#define VOLT_POOLD_E2B_H

#include <uv.h>

#include "host/link.h"

struct config;

struct e2b {
    const struct config *config;
    struct link link; /* of the process; its fds are -1 without one */
    uv_timer_t again;
    pid_t pid;         /* 0: there is none */
    uint64_t began_ns; /* the last one */
    uint64_t wait_ms;  /* before the next one */
    bool enabled, stopping;
};

/* Asks it whether it can do what the configuration wants. 0 or -errno. Blocks: start-up. */
int e2b_check(const struct config *config, struct err *err);

/* Starts it, if the configuration asks for it. 0 or -errno; it may fail later, which is logged. */
int e2b_start(struct e2b *e2b, uv_loop_t *loop, const struct config *config, struct err *err);
/* Ends it, and with it its sandboxes. */
void e2b_stop(struct e2b *e2b);
/* Waits for its end. Fine after a start that failed, or none. */
void e2b_fini(struct e2b *e2b);

#endif
