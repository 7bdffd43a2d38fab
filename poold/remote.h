/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's server for callers by TCP (--listen): what of it the configuration says, its start and
 * its end. Loop thread only, but for remote_check. */
#ifndef VOLT_POOLD_REMOTE_H
#define VOLT_POOLD_REMOTE_H

#include "daemon.h"
#include "http/tls_door.h"

/* Whether what the configuration says of it fits together; files are looked at later. Any thread.
 * 0 or -EINVAL with a sentence. */
int remote_check(const struct config *config, struct err *err);
/* What the files say that it names; NULL where it names none. */
struct remote_files {
    struct access_policy *callers;
    struct tls_identity *identity;
};
/* Any thread; blocks. 0 or -errno; what has been read then is the caller's, too. */
int remote_read(const struct config *config, struct remote_files *ret_files, struct err *err);
void remote_files_free(struct remote_files *files);
/* Listens, if it is asked for. 0 or -errno. */
int remote_start(struct daemon *daemon, struct err *err);
/* What the configuration says now holds; what files has is taken. */
void remote_hold(struct daemon *daemon, struct remote_files *files);
/* How many connections the others have less. */
uint32_t remote_share(const struct daemon *daemon);

/* The following are fine when there is none. */
void remote_flush(struct daemon *daemon);
void remote_stop(struct daemon *daemon);
unsigned remote_open_requests(const struct daemon *daemon);
void remote_fini(struct daemon *daemon);

#endif
