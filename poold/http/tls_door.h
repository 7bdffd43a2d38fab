/* SPDX-License-Identifier: Apache-2.0 */
/* TLS in front of a server of http.h: a thread that accepts, has the handshakes and passes bytes on. So
 * what a handshake costs (a signature of milliseconds) is none of the loop's time, whoever connects.
 *
 * How it works
 *   The thread has a loop of its own. A connection is counted to its address before anything is spent
 *   on it; who is one too many is closed. Once its handshake is done, one end of a pair of sockets is
 *   the server's, as if it had accepted it (tls_door_config.connected, in the server's loop); the
 *   thread passes bytes between the other end and the client, at most TLS_BLOCK each way at a time:
 *   it reads no more before those are on their way, so that who is slow slows down the other.
 *
 *   HANDSHAKE  until it is done, for handshake_ms at most, whatever bytes come
 *   OPEN       as long as both want; how long is the server's to say (http_phase.c)
 *   CLOSING    the server has closed its end: what it wrote goes out, for close_ms at most
 *
 * GnuTLS, TLS 1.2 and 1.3. No renegotiation, no tickets, no early data, no certificates of clients. A
 * connection keeps the certificate that it began with; another one holds for those that come.
 *
 * Threads: all of these are the loop thread's, but for tls_identity_load and _free. The two share what is
 * under `mutex`, and nothing else. */
#ifndef VOLT_POOLD_TLS_DOOR_H
#define VOLT_POOLD_TLS_DOOR_H

#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/err.h"

struct tls_door;
struct tls_identity; /* a certificate and its key */

struct tls_door_config {
    uv_loop_t *loop;      /* the server's */
    int listener_fd;      /* tls_door_create takes it, also when it fails */
    uint32_t connections; /* at a time; one address never has more than are left for others */
    uint64_t handshake_ms, close_ms;
    /* A connection of a client at that address: fd is taken. */
    void (*connected)(void *data, int fd, const struct sockaddr *address);
    void *data;
};

/* Files in PEM: the certificate, with those that it was issued by behind it, and its key, which nobody
 * but its owner and its group may read. Any thread; blocks. 0 or -errno with a sentence. */
int tls_identity_load(struct tls_identity **ret_identity, const char *cert_path,
                      const char *key_path, struct err *err);
/* One that was given to no door. */
void tls_identity_free(struct tls_identity *identity);

/* identity is taken. 0 or -errno. */
int tls_door_create(struct tls_door **ret_door, const struct tls_door_config *config,
                    struct tls_identity *identity, struct err *err);
/* For connections from now on; taken. */
void tls_door_set(struct tls_door *door, struct tls_identity *identity);
/* Accepts no more. */
void tls_door_stop(struct tls_door *door);
/* Waits until what the server has written is on its way, for a second at most. NULL is fine. */
void tls_door_destroy(struct tls_door *door);

#endif
