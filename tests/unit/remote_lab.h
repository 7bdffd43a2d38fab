/* SPDX-License-Identifier: Apache-2.0 */
/* A poold that is called by TCP, with the callers `ci` (a token), `one` (a token for another function) and
 * `sdk` (a key), and a function `f` of fake_function.c's; and clients. On poold_daemon.h. */
#ifndef VOLT_TESTS_REMOTE_LAB_H
#define VOLT_TESTS_REMOTE_LAB_H

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

#include "poold_client.h"
#include "poold_daemon.h"

#define TOKEN "a-token-of-ci-that-is-long-enough"
#define LIMITED "another-token-for-one-function-only"
#define KEY "VOLTTESTKEY0000000001"
#define SECRET "a/secret+that=is_long_enough_for_it"

#define INVOKE "/v1/functions/f/invoke?path=/"
#define EVENTS "/2015-03-31/functions/f/invocations"
#define BEARER(token) "Authorization: Bearer " token "\r\n"

extern const char remote_callers[]; /* a good file of them */
extern unsigned remote_port;        /* where poold listens */
extern char remote_answer[1 << 16]; /* the last one, whole */

/* Writes the file of callers. */
void callers_write(const char *text, mode_t mode);
/* A poold that listens, with more options, and `f`. */
void listen_with(const char *more);
/* How many calls of f have come to anything. */
json_int_t calls(void);

/* A connection from an address of the loopback's. */
int tcp_connect_from(const char *address);
/* Awaits the end of what comes back, and closes. The answer's status; 0: there is none. */
unsigned finish(int fd);
/* A request of one connection: its answer's status. */
unsigned ask_from(const char *address, const char *method, const char *path, const char *headers,
                  const char *body);
unsigned ask(const char *method, const char *path, const char *headers, const char *body);
/* Awaits the end of all these connections, and closes them; the second of each `every` drips a byte at
 * each look. */
void await_ends(int *fds, unsigned count, unsigned every);

/* What --check-config says first of these options, and its exit status; no token is in it. */
void check_says(const char *options, int status, const char *says);

#endif
