/* SPDX-License-Identifier: Apache-2.0 */
/* volt-e2b: a gateway by which programs made for E2B's sandboxes use Volt's VMs (docs/e2b.md).
 *
 * How it works
 *   It is a process of its own beside poold, and a client of poold's socket as any other: what reads
 *   HTTP of whoever can reach a TCP port has neither poold's memory nor its descriptors. poold starts
 *   it (--e2b) and ends it; by hand it does the same.
 *
 *   A sandbox is a lease, bound to a connection of the gateway to poold, with E2B's timeout as its TTL:
 *   when the gateway ends, however it ends, its sandboxes do. libmicrohttpd gives each connection of a
 *   client a thread, in which a call is answered with plain blocking code; backpressure is that who
 *   waits does not read. What a call may hold is bounded (server.h), and so are its times.
 *
 *   e2b.h            settings
 *   server.c         HTTP: connections, bodies, replies; who may call
 *   strangers.c      connections that have proved nothing yet
 *   routes.c         the table of calls
 *   sandbox.c        sandboxes and their leases
 *   sandbox_calls.c  the API of sandboxes: create, list, connect, kill, timeout
 *   rpc.c            Connect's protocol: envelopes, errors; stream.c: replies that go on
 *   process.c        processes: sessions with the guest's agent; process_output.c: what they write
 *   process_calls.c  process.Process/...
 *   guest_command.c  commands in a guest, and volt-files; guest_entry.c: what that prints
 *   files_calls.c    filesystem.Filesystem/...; watch_calls.c: watching
 *   transfer_calls.c /files
 *   confine.c        what is left to it of the host
 *
 * Threads: any, but where a header says otherwise. Locks, in this order: struct sandboxes, struct
 * sandbox, struct process. No lock is held while poold or a guest is waited for, but a sandbox's own
 * `poold_lock`, by those who ask poold about it, and a process' `send_lock`. */
#ifndef VOLT_CLI_E2B_H
#define VOLT_CLI_E2B_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define E2B_KEYS_MAX 256
#define E2B_KEY_BYTES 128
#define E2B_TEMPLATES_MAX 64
#define E2B_NAME_BYTES 64

struct e2b_template {
    char name[E2B_NAME_BYTES], pool[E2B_NAME_BYTES];
};

struct e2b_settings {
    char address[64]; /* to listen at: numeric, or localhost */
    uint16_t port;    /* 0: any that is free */
    const char *pool; /* of the template "base", and of one that is not named */
    struct e2b_template templates[E2B_TEMPLATES_MAX];
    unsigned template_count;
    unsigned key_count; /* 0: whoever can connect may call */
    char keys[E2B_KEYS_MAX][E2B_KEY_BYTES];
    int listen_fd;                   /* server_start takes it */
    char *tls_certificate, *tls_key; /* PEM; NULL: no TLS */
};

/* "HOST:PORT", "[::1]:PORT" or "PORT" (of 127.0.0.1). 0 or -EINVAL. */
int e2b_address_parse(struct e2b_settings *settings, const char *text, struct err *err);
/* "NAME=POOL,NAME=POOL...". */
int e2b_template_parse(struct e2b_settings *settings, const char *text, struct err *err);
/* Reads keys, one a line; empty lines and those that begin with '#' do not count. The file must be
 * its user's or root's, and nobody else may read or write it. 0 or -errno. */
int e2b_keys_read(struct e2b_settings *settings, const char *path, struct err *err);
/* Opens listen_fd, and sets port to where. 0 or -errno. */
int e2b_listen(struct e2b_settings *settings, struct err *err);

/* Before there are threads: from now on it opens no file, starts no program and has no privilege; what
 * it has left is to connect to poold. 0 or -errno. */
int e2b_confine(struct err *err);

/* Whether only programs of this host can connect. */
bool e2b_is_local(const struct e2b_settings *settings);
/* Whether a pool can have that name, which goes into paths and JSON for poold. */
bool e2b_pool_is_good(const char *name);
/* Sets `pool`. 0 or -EINVAL. */
int e2b_pool_parse(struct e2b_settings *settings, const char *text, struct err *err);
/* The pool of a template's ID. */
const char *e2b_pool_of(const struct e2b_settings *settings, const char *template_id);

#endif
