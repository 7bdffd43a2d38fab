/* SPDX-License-Identifier: Apache-2.0 */
/* poold's side of a service manager (sd_notify(3), sd_listen_fds(3)): sockets that it brings, what
 * it is told, the watchdog. Without one, nothing here does anything. Loop thread only.
 *
 * How it works
 *   READY=1 is sent once every declared pool is ready or has failed, so that what is ordered after
 *   poold.service finds VMs; until then STATUS= says how far they are, and the start's time limit is
 *   extended, as a cold boot takes as long as it takes. WATCHDOG=1 is sent by a timer of the loop,
 *   twice in the time that the manager allows: a loop that does not turn is a poold that hangs. */
#ifndef VOLT_POOLD_SERVICE_H
#define VOLT_POOLD_SERVICE_H

#include <stdbool.h>
#include <uv.h>

#include "base/unix_listen.h"

struct daemon;

struct service {
    struct daemon *daemon;
    uv_timer_t watchdog, starting;
    bool ready;
};

/* The listening stream socket that the manager brought (its name is "api", or it is the only one).
 * True: *ret_listener has it, with no path, as it is not ours to remove. False: there is none. The
 * first call alone looks; other fds of the manager are closed. */
bool service_socket_take(struct unix_listener *ret_listener);

/* Starts the timers. */
void service_init(struct service *service, struct daemon *daemon);

/* poold's state has changed: tells the manager, if that is news to it. */
void service_update(struct service *service);

void service_reloading(void);
/* error: a sentence, or NULL. */
void service_reloaded(const char *error);
void service_stopping(void);
/* Whether a SIGTERM that has come is the first half of a restart, by the manager's job for this unit.
 * Asks it over the bus that it has for root; false wherever there is none. Blocks for 2 s at most. */
bool service_restarts(void);

#endif
