/* SPDX-License-Identifier: Apache-2.0 */
/* A poold that is none: a process behind a Unix socket that answers as a test wants it to. */
#ifndef VOLT_TESTS_CLI_FAKE_H
#define VOLT_TESTS_CLI_FAKE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest_abi.h"

struct fake {
    char path[108];
    pid_t pid;
};

/* Serves the n-th connection (from 0). It runs in the fake's process; exit code 0 there is what
 * fake_stop expects, fake_check ends it with another. */
typedef void (*fake_serve)(int fd, unsigned n, const void *context);

/* Starts a process that accepts `connections` connections, one after the other. */
void fake_start(struct fake *fake, fake_serve serve, const void *context, unsigned connections);

/* Waits for its end, fails the test unless all its checks held, and removes the socket. */
void fake_stop(struct fake *fake);

/* Ends the fake with a message if the condition is false. */
#define fake_check(condition) fake_check_at((condition) != 0, #condition, __FILE__, __LINE__)
void fake_check_at(int holds, const char *text, const char *file, int line);

void fake_write(int fd, const void *data, size_t bytes);
void fake_print(int fd, const char *text);

/* Reads one request head (to the empty line) and its body by Content-Length; NUL-terminated. 0 at
 * the end of the connection. */
size_t fake_read_request(int fd, char *request, size_t request_bytes);

/* An answer with this status line and body. */
void fake_answer(int fd, const char *status, const char *body);

/* The agent's side: takes the upgrade, says OK, and reads and writes frames. */
void fake_accept_agent(int fd);
void fake_frame(int fd, unsigned type, const void *payload, size_t bytes);

/* Reads one frame; payload has room for AGENT_PAYLOAD_MAX. Returns its type, 0 at the end. */
unsigned fake_read_frame(int fd, uint8_t *payload, size_t *ret_bytes);

#endif
