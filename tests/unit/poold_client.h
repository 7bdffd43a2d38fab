/* SPDX-License-Identifier: Apache-2.0 */
/* A small HTTP client for the API tests. Everything that does not work fails the test. */
#ifndef VOLT_TESTS_POOLD_CLIENT_H
#define VOLT_TESTS_POOLD_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/util.h"

struct client_reply {
    unsigned status;
    char body[65536]; /* NUL-terminated */
};

/* What comes sooner or later is waited for so long, on a machine that is busy, too: so many looks,
 * so far apart. */
#define CLIENT_LOOKS 6000u
#define CLIENT_LOOK_US 10000u
#define CLIENT_WAIT_MS 60000

extern char client_socket[256];

void client_wait_for_socket(void);

/* Until nobody listens: a killed poold's keeper may have its socket a moment longer. */
void client_wait_for_silence(void);

/* A connection, and text that is sent on it; as much as the other end takes. */
int client_connect(void);
void client_write(int fd, const char *text);
/* The same connection, but made by a process of that uid and gid, in no other group, or (0: none) in
 * one: needs root. */
int client_connect_as(uid_t uid, gid_t gid);
int client_connect_in(uid_t uid, gid_t gid, gid_t group);
/* Waits until the other end has closed it; what comes before that goes to ret_text (NULL: nowhere),
 * NUL-terminated. */
void client_await_end(int fd, char *ret_text, size_t bytes);

/* One request on a connection that is there. */
void client_send_on(int fd, const char *method, const char *path, const char *body);
/* One request on a connection of its own, which is returned open after the request is sent. */
int client_send(const char *method, const char *path, const char *body);
void client_receive(int fd, struct client_reply *ret_reply);
bool client_readable(int fd);

void client_call(const char *method, const char *path, const char *body,
                 struct client_reply *ret_reply);
void client_expect(unsigned status, const char *method, const char *path, const char *body);
/* The body of a reply with a status below 300. The caller's. */
json_t *client_json(const char *method, const char *path, const char *body);
/* Polls until the string `key` of the object is `value`. */
void client_await(const char *path, const char *key, const char *value);
/* An upgraded connection: everything up to the end of the 101's head has been read. */
int client_upgrade(const char *path, const char *protocol);

#endif
