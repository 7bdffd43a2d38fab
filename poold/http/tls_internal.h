/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the TLS door share; nobody else includes it. */
#ifndef VOLT_POOLD_TLS_INTERNAL_H
#define VOLT_POOLD_TLS_INTERNAL_H

#include <gnutls/gnutls.h>
#include <stdbool.h>

#include "base/list.h"
#include "http/access.h"
#include "http/tls_door.h"

#define TLS_BLOCK 16384u

struct tls_identity {
    gnutls_certificate_credentials_t credentials;
    uint32_t users; /* connections, and the door while it is its newest */
};

/* A connection on its way to the server. */
struct tls_arrival {
    struct list node;
    int fd;
    struct sockaddr_storage address;
};

struct tls_door {
    struct tls_door_config config;
    uv_async_t arrived; /* in the server's loop */
    uv_thread_t thread;
    bool closed; /* arrived is */

    uv_mutex_t mutex;
    struct list arrivals;      /* under it, as the next three */
    struct tls_identity *next; /* to be the newest; NULL: none */
    bool stop, end;            /* asked for */

    /* The thread's. */
    uv_loop_t loop;
    uv_async_t asked;
    uv_poll_t listen;
    uv_timer_t timer;
    int listener_fd;
    struct access access; /* who has how many connections */
    struct tls_identity *identity;
    gnutls_priority_t priorities;
    struct list connections; /* tls_connection.node */
    bool ending;
    uint64_t end_ns; /* when it ends whatever is open; UINT64_MAX: not yet */
};

enum tls_state { TLS_HANDSHAKE, TLS_OPEN, TLS_CLOSING };

struct tls_connection {
    struct list node;
    struct tls_door *door;
    struct tls_identity *identity;
    struct peer peer;
    struct sockaddr_storage address;
    gnutls_session_t session;
    enum tls_state state;
    uint64_t deadline_ns; /* UINT64_MAX: none */
    int tcp_fd, plain_fd; /* plain_fd: -1 before it is open */
    uv_poll_t tcp, plain;
    unsigned handles; /* open ones */
    bool in_over;     /* the client writes no more */
    bool server_over; /* the server neither, but for what was not read yet */
    bool gone;        /* being closed */
    bool tcp_full;    /* what is to be written waits for the client */
    size_t in_used, in_at, out_used, out_at;
    char in[TLS_BLOCK], out[TLS_BLOCK]; /* from the client; to it */
};

/* tls_connection.c: the thread's. Takes fd. */
void tls_connection_begin(struct tls_door *door, int fd, const struct sockaddr_storage *address,
                          const struct peer *peer);
void tls_connection_end(struct tls_connection *connection);
/* tls_door.c: gives the server its end of a new connection. */
int tls_door_pass(struct tls_door *door, int fd, const struct sockaddr_storage *address);
void tls_identity_leave(struct tls_identity *identity);

#endif
