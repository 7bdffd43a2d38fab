/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the vsock device share: packets, connections, the device's struct. Everything
 * here runs under vsock.dev.lock; connections and polls are touched on the device thread alone.
 *
 * A connection's life
 *
 *   GREETING     accepted from the CONNECT socket, its line is not complete (vsock_host.c)
 *   CONNECTING   known by its ports; REQUEST sent, or about to be, to the guest
 *   OPEN         both sides have agreed; data flows both ways (vsock_conn.c)
 *   DRAINING     the guest is done with it: its ports are free again, what it sent before is still
 *                being written to the host's client
 *
 *   GREETING -> CONNECTING   vsock_conn_request, at the end of the line
 *   CONNECTING -> OPEN       vsock_conn_response, at the guest's RESPONSE
 *   (none) -> OPEN           vsock_host_dial, at the guest's REQUEST
 *   OPEN -> DRAINING         vsock_conn_drain, at the guest's RST or full SHUTDOWN
 *   any -> freed             vsock_conn_free
 */
#ifndef VOLT_VIRTIO_VSOCK_INTERNAL_H
#define VOLT_VIRTIO_VSOCK_INTERNAL_H

#include <assert.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "virtio/virtio_mmio.h"
#include "virtio/vsock.h"

/* ---- Packets: virtio 1.2 section 5.10.6. ---- */

struct vsock_packet {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port;
    uint32_t bytes; /* of payload */
    uint16_t type;
    uint16_t op;
    uint32_t flags;
    uint32_t buf_alloc;
    uint32_t fwd_cnt;
} __attribute__((packed));

static_assert(sizeof(struct vsock_packet) == 44, "vsock header layout");

#define VSOCK_TYPE_STREAM 1u

enum vsock_op {
    VSOCK_OP_REQUEST = 1,
    VSOCK_OP_RESPONSE = 2,
    VSOCK_OP_RST = 3,
    VSOCK_OP_SHUTDOWN = 4,
    VSOCK_OP_RW = 5,
    VSOCK_OP_CREDIT_UPDATE = 6,
    VSOCK_OP_CREDIT_REQUEST = 7,
};

#define VSOCK_SHUTDOWN_RECEIVE 1u /* the sender of the packet will not receive any more */
#define VSOCK_SHUTDOWN_SEND 2u
#define VSOCK_SHUTDOWN_BOTH 3u

enum vsock_queue { VSOCK_QUEUE_RX, VSOCK_QUEUE_TX, VSOCK_QUEUE_EVENT, VSOCK_QUEUE_COUNT };

/* ---- Connections. ---- */

/* What a guest may have under way to a client that does not read: a large buffer for the first few
 * connections, a small one for the rest, 24 MiB in all at the worst. */
#define VSOCK_BUFFER_BYTES 262144u
#define VSOCK_BUFFER_BYTES_SMALL 16384u
#define VSOCK_LARGE_BUFFERS 32u

/* Linux fills its receive queue when it boots, with buffers of 4 KiB, or 32 KiB with the project's
 * patch: 256 of them take an emulated guest kernel 0.2 s. 64 hold what a connection may have on the
 * way. */
#define VSOCK_QUEUE_NUM_MAX 64u
#define VSOCK_BUCKETS 256u
#define VSOCK_GREETING_BYTES 24u /* "CONNECT 4294967295\n" and to spare */
#define VSOCK_RST_MAX 256u

enum vsock_conn_state { VSOCK_GREETING, VSOCK_CONNECTING, VSOCK_OPEN, VSOCK_DRAINING };

struct vsock_conn {
    struct vsock *vsock;
    TAILQ_ENTRY(vsock_conn) all;
    TAILQ_ENTRY(vsock_conn) wait;
    SLIST_ENTRY(vsock_conn) bucket;
    enum vsock_conn_state state;
    bool waiting; /* for rx buffers, on vsock.waiting */
    uint32_t host_port, guest_port;

    struct vm_poll poll; /* the host's client; fd is owned */
    uint32_t events;     /* being polled for */
    bool polled;
    bool large_buffer;
    bool host_eof;           /* the client sends nothing more */
    bool hung_up;            /* ... and takes nothing any more */
    uint32_t guest_shutdown; /* VSOCK_SHUTDOWN_* that the guest has sent */
    uint32_t ops;            /* 1 << VSOCK_OP_*: control packets to be sent to the guest */

    /* Host to guest: what the guest can take (section 5.10.6.3; counters wrap). */
    uint32_t peer_buf_alloc, peer_fwd_cnt, sent;

    /* Guest to host. */
    uint32_t buf_alloc; /* what we have told the guest it may have under way */
    uint32_t fwd_cnt;   /* bytes passed on to the client */
    uint32_t fwd_told;  /* as of the last packet to the guest */
    uint8_t *buffer;    /* what the client has not taken; NULL while empty */
    uint32_t buffer_room, buffer_at, buffer_bytes;

    char greeting[VSOCK_GREETING_BYTES];
    uint32_t greeting_bytes;
};

TAILQ_HEAD(vsock_conn_list, vsock_conn);
SLIST_HEAD(vsock_bucket, vsock_conn);

struct vsock_rst {
    uint32_t host_port, guest_port;
};

struct vsock {
    struct virtio_dev dev; /* first */
    uint32_t guest_cid;
    int dir_fd;
    struct vm_poll listen; /* fd -1: none */
    bool listen_paused;    /* out of fds: until a connection closes */

    struct vsock_conn_list all;
    struct vsock_conn_list waiting; /* for rx buffers, first come first served */
    struct vsock_bucket bucket[VSOCK_BUCKETS];
    uint32_t large_buffers; /* connections that have one */
    uint32_t next_host_port;
    atomic_uint_fast64_t conn_count;
    atomic_uint_fast64_t refused;

    struct vsock_rst rst[VSOCK_RST_MAX]; /* waiting for rx buffers */
    uint32_t rst_count;
    bool event_due; /* TRANSPORT_RESET waits for a buffer */

    /* Of tx chains that are consumed and not yet given back: see vsock_flush. Those that a restored VM
     * begins with count as one descriptor each, and go with the next packet. */
    uint32_t tx_held; /* descriptors */
    uint32_t tx_held_bytes;
    struct virtq_chain chain;
    struct iovec iov[VIRTQ_NUM_MAX]; /* scratch */
};

/* ---- vsock.c: packets and queues. ---- */

/* Takes an rx buffer for a packet with payload (into vsock->chain). 1, 0: none there, the driver
 * will tell; or -EPROTO. */
int vsock_rx_take(struct vsock *vsock);

/* Fills the packet of a taken buffer with header and gives it back. conn's credit goes with it;
 * NULL: no connection, as for RST. */
void vsock_rx_put(struct vsock *vsock, struct vsock_conn *conn, struct vsock_packet *packet);

/* Sends RST for these ports, now or when there is a buffer. */
void vsock_send_rst(struct vsock *vsock, uint32_t host_port, uint32_t guest_port);

/* Publishes what was done to the queues, with one interrupt at most: the end of every callback. */
void vsock_flush(struct vsock *vsock);

/* ---- vsock_conn.c ---- */

/* A new connection with this client (transferred, also on failure); counts it. NULL: at the limit,
 * or out of memory. */
struct vsock_conn *vsock_conn_new(struct vsock *vsock, int fd, enum vsock_conn_state state);
void vsock_conn_free(struct vsock_conn *conn);

/* Frees, after an RST to the guest if it knows the connection. */
void vsock_conn_reset(struct vsock_conn *conn);

struct vsock_conn *vsock_conn_find(struct vsock *vsock, uint32_t host_port, uint32_t guest_port);
void vsock_conn_name(struct vsock_conn *conn, uint32_t host_port, uint32_t guest_port);

/* Makes conn CONNECTING to guest_port, with a host port of its own. */
void vsock_conn_request(struct vsock_conn *conn, uint32_t guest_port);

/* The guest has accepted: the client is told. */
void vsock_conn_response(struct vsock_conn *conn);

/* Frees it once the client has taken what is left for it. */
void vsock_conn_drain(struct vsock_conn *conn);

/* Whether conn waits for an rx buffer. */
void vsock_conn_wait(struct vsock_conn *conn, bool wait);

/* Bytes that the guest takes now. */
uint32_t vsock_conn_credit(const struct vsock_conn *conn);

/* Whether input of the client is of use now. */
bool vsock_conn_wants_input(const struct vsock_conn *conn);

/* Polls the client for exactly what conn can make use of. May free conn. */
void vsock_conn_poll(struct vsock_conn *conn);

/* ---- vsock_flow.c ---- */

/* What the packets of the guest do to a connection. `offset`: of the payload in vsock->chain. */
void vsock_conn_data(struct vsock_conn *conn, uint32_t offset, uint32_t bytes);
void vsock_conn_shutdown(struct vsock_conn *conn, uint32_t flags);

/* Sends the guest whatever is due and possible, and polls for the rest. May free conn. */
void vsock_conn_pump(struct vsock_conn *conn);

/* The same where nothing new can have come from the client. May free conn. */
void vsock_conn_update(struct vsock_conn *conn);

/* The client's socket is ready: a vm_poll. */
void vsock_conn_ready(struct vm_poll *poll, uint32_t events);

/* ---- vsock_host.c ---- */

/* Watches the CONNECT socket. */
int vsock_host_start(struct vsock *vsock, int listen_fd, struct err *err);

/* A connection was closed: fds are to be had again. */
void vsock_host_unpause(struct vsock *vsock);

/* More of the CONNECT line has come. May free conn. */
void vsock_host_greet(struct vsock_conn *conn);

/* Dials "vsock_<port>": a connected fd, or -errno. */
int vsock_host_dial(const struct vsock *vsock, uint32_t port);

#endif
