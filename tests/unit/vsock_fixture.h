/* SPDX-License-Identifier: Apache-2.0 */
/* A vsock device between a scripted guest and real Unix sockets, for its tests. */
#ifndef VOLT_TESTS_VSOCK_FIXTURE_H
#define VOLT_TESTS_VSOCK_FIXTURE_H

#include "tap_main.h"
#include "virtio/vsock_internal.h"
#include "virtio_driver.h"

#define NUM 32u
#define RX_BYTES 4096u
#define TX_BYTES 65536u
#define GUEST_CREDIT 262144u

struct fixture {
    struct vm *vm;
    struct vsock *vsock;
    struct virtio_driver driver;
    gpa_t rx_gpa[VIRTQ_NUM_MAX]; /* by head */
    gpa_t tx_gpa;
    gpa_t event_gpa;
    char dir[64];
    int dir_fd;
};

/* Gives the device one more rx buffer. */
void post_rx(struct fixture *f);

/* A device in slot 0 that listens in f->dir. */
struct vsock *make_vsock(struct fixture *f);

/* (Re)starts the guest's driver. */
void start_guest(struct fixture *f, unsigned rx_buffers);
void set_up_with(struct fixture *f, unsigned rx_buffers);

/* With 16 rx buffers, or so many. */
void set_up(struct fixture *f);
void tear_down(struct fixture *f);

/* Takes back tx chains that the device is done with. */
void reap_tx(struct fixture *f);

/* Sends a packet whose header may be wrong in any way. */
void guest_send_raw(struct fixture *f, const struct vsock_packet *packet, const void *data,
                    uint32_t bytes);
/* The same from so many pieces of memory, a descriptor each. */
void guest_send_pieces(struct fixture *f, const struct vsock_packet *packet, const void *data,
                       uint32_t bytes, unsigned pieces);
struct vsock_packet packet_of(uint16_t op, uint32_t guest_port, uint32_t host_port);
void guest_send(struct fixture *f, uint16_t op, uint32_t guest_port, uint32_t host_port);
void guest_send_data(struct fixture *f, uint32_t guest_port, uint32_t host_port, const void *data,
                     uint32_t bytes);

/* The next packet from the host; its payload into data if that is not NULL. False: none came. */
bool guest_receive(struct fixture *f, struct vsock_packet *ret_packet, uint8_t *data);

/* The next packet must be of this op; none must come. */
struct vsock_packet expect(struct fixture *f, uint16_t op);
void expect_nothing(struct fixture *f);

/* Connects to the CONNECT socket and sends greeting. */
int host_connect(struct fixture *f, const char *greeting);

/* The client must read exactly this, or end of file. */
void host_expect(struct fixture *f, int fd, const char *text);
void host_expect_eof(struct fixture *f, int fd);

/* A connection from the host to guest port 5000, open. Returns the host port. */
uint32_t open_stream(struct fixture *f, int *ret_fd);
uint64_t connections(struct fixture *f);
uint64_t refused(struct fixture *f);

#endif
