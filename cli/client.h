/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP/1.1 client: one connection to poold over its Unix socket, kept alive between requests,
 * and the upgrade of a connection to a byte stream into a VM.
 *
 * Everything that comes back is checked and bounded (heads of 64 KiB, bodies of 16 MiB): a peer
 * that is not poold gets a clear error, never a crash. One thread; calls block, up to a timeout.
 */
#ifndef VOLT_CLI_CLIENT_H
#define VOLT_CLI_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CLIENT_BODY_MAX (16u << 20)
#define CLIENT_STREAM_BYTES 65536u
#define CLIENT_INVOCATION_BYTES 40

struct client {
    int fd;              /* -1: not connected */
    bool reused;         /* a request was answered on it before */
    const char *headers; /* more lines, each ended, of its requests' heads; NULL: none. Borrowed */
    char socket_path[108]; /* as in sockaddr_un */
};

struct client_response {
    unsigned status;
    char invocation
        [CLIENT_INVOCATION_BYTES]; /* a function's own answer has its call's id, else "" */
    size_t body_bytes;
    char *body; /* NUL-terminated as well; owned, free with client_response_fini */
};

/* A connection that was upgraded: bytes that came with the response's head, then the socket. */
struct client_stream {
    int fd; /* owned */
    size_t early_bytes;
    uint8_t early[CLIENT_STREAM_BYTES];
};

/* Finds where poold listens (docs/api.md, "Where the socket is"); `option` is --socket or NULL.
 * -ENAMETOOLONG if the path does not fit into a socket address. */
int client_socket_path(const char *option, char ret_path[108], struct err *err);

/* Connects. -ENOENT, -ECONNREFUSED, -EACCES, ... with a sentence that says how to start poold. */
int client_init(struct client *client, const char *socket_path, struct err *err);
/* Once more, where it was before; client->fd is not open. Like client_init. */
int client_connect(struct client *client, struct err *err);
void client_fini(struct client *client);

/* Sends one request (`body`: NUL-terminated JSON or NULL) and reads the whole response, which must
 * have come within timeout_ms. A GET whose connection poold closes without an answer is sent again
 * on a new one, once. Any HTTP status is success here. -ETIMEDOUT, -EPROTO (not HTTP, or too large),
 * -ECONNRESET, ... */
int client_request(struct client *client, const char *method, const char *path, const char *body,
                   uint64_t timeout_ms, struct client_response *ret_response, struct err *err);
void client_response_fini(struct client_response *response);

/* The same for a POST of bytes of that type. */
int client_post(struct client *client, const char *path, const char *type, const void *data,
                size_t bytes, uint64_t timeout_ms, struct client_response *ret_response,
                struct err *err);

/* The same for a POST whose body is the text `before` (NULL: none) and the first body_bytes bytes of
 * the file body_fd (borrowed, read from its start). */
int client_upload(struct client *client, const char *path, const char *before, int body_fd,
                  uint64_t body_bytes, uint64_t timeout_ms, struct client_response *ret_response,
                  struct err *err);

/* Takes some of a body as it comes. 0, or -errno with a sentence: no more of it is wanted. */
typedef int client_take_fn(void *data, const char *bytes, size_t count, struct err *err);

/* A GET whose reply has no end of its own: with status 200, take gets its body, however long it takes.
 * 0 when the body has ended or poold has closed the connection in it; take's -errno; any other status
 * is in the response, as by client_request. */
int client_follow(struct client *client, const char *path, client_take_fn *take, void *data,
                  struct client_response *ret_response, struct err *err);

/* Asks for an upgrade to `protocol` by POST. On 101 the connection moves to *ret_stream and client
 * is left unconnected, ret_response->status is 101. On any other status it is 0 as well, the stream
 * is untouched (fd -1) and the response tells why. */
int client_upgrade(struct client *client, const char *path, const char *protocol,
                   uint64_t timeout_ms, struct client_stream *ret_stream,
                   struct client_response *ret_response, struct err *err);

/* Waits until fd is readable or closed. 0, -ETIMEDOUT or -errno. */
int client_wait_readable(int fd, uint64_t deadline_ns);

/* Sends all of `bytes`, blocking; never SIGPIPE. 0 or -errno. */
int client_send_all(int fd, const void *data, size_t bytes);

#endif
