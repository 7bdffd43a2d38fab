/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's server for callers by TCP (--listen): what of it the configuration says, its start and
 * its end. Loop thread only, but for remote_check. */
#ifndef VOLT_POOLD_REMOTE_H
#define VOLT_POOLD_REMOTE_H

#include "daemon.h"

/* Whether what the configuration says of it fits together; files are looked at later. Any thread.
 * 0 or -EINVAL with a sentence. */
int remote_check(const struct config *config, struct err *err);
/* Reads the files that it names into *ret_callers, NULL if it names none. Any thread; blocks. 0 or
 * -errno. */
int remote_read(const struct config *config, struct access_policy **ret_callers, struct err *err);
/* Listens, if it is asked for. 0 or -errno. */
int remote_start(struct daemon *daemon, struct err *err);
/* What the configuration says now holds; callers is taken. */
void remote_hold(struct daemon *daemon, struct access_policy *callers);
/* Its connections are not among the others': how many of them are its own. */
uint32_t remote_connections(const struct daemon *daemon);

/* The following are fine when there is none. */
void remote_flush(struct daemon *daemon);
void remote_stop(struct daemon *daemon);
unsigned remote_open_requests(const struct daemon *daemon);
void remote_fini(struct daemon *daemon);

#endif
