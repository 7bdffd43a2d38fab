/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the vsock tests' guest and host; see vsock_fixture.h. */
#include "vsock_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/util.h"
#include "virtio/vsock_listen.h"

void post_rx(struct fixture *f)
{
    const struct driver_buffer buffer = { driver_alloc(&f->driver, RX_BYTES), RX_BYTES };

    f->rx_gpa[driver_add(&f->driver, VSOCK_QUEUE_RX, &buffer, 0, 1)] = buffer.gpa;
}

struct vsock *make_vsock(struct fixture *f)
{
    struct vsock_config config = { .guest_cid = 3, .dir_fd = dup(f->dir_fd), .listen_fd = -1 };
    struct vsock *vsock = NULL;
    struct err err = { 0 };

    unlinkat(f->dir_fd, VSOCK_LISTEN_NAME, 0); /* of the one before, where there was one */
    ck_assert_msg(vsock_listen(f->dir_fd, &config.listen_fd, &err) == 0, "%s", err.msg);
    ck_assert_msg(vsock_create(f->vm, 0, &config, &vsock, &err) == 0, "%s", err.msg);
    return vsock;
}

void start_guest(struct fixture *f, unsigned rx_buffers)
{
    ck_assert(driver_start(&f->driver, f->vm, vsock_device(f->vsock), VIRTIO_FEATURE_EVENT_IDX,
                           VSOCK_QUEUE_COUNT, NUM));
    f->tx_gpa = driver_alloc(&f->driver, TX_BYTES + sizeof(struct vsock_packet));
    for (unsigned i = 0; i < rx_buffers; i++)
        post_rx(f);
    driver_notify(&f->driver, VSOCK_QUEUE_RX);
    f->event_gpa = driver_alloc(&f->driver, 4);
    const struct driver_buffer event = { f->event_gpa, 4 };
    driver_add(&f->driver, VSOCK_QUEUE_EVENT, &event, 0, 1);
    fake_vm_run(f->vm, 100);
}

void set_up_with(struct fixture *f, unsigned rx_buffers)
{
    memset(f, 0, sizeof(*f));
    snprintf(f->dir, sizeof(f->dir), "/tmp/volt-vsock-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(f->dir));
    f->dir_fd = open(f->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(f->dir_fd, 0);
    f->vm = fake_vm_create();
    f->vsock = make_vsock(f);
    start_guest(f, rx_buffers);
}

void set_up(struct fixture *f)
{
    set_up_with(f, 16);
}

void tear_down(struct fixture *f)
{
    struct device *dev = vsock_device(f->vsock);

    dev->ops->destroy(dev);
    ck_assert_uint_eq(f->vm->polls, 0);
    fake_vm_destroy(f->vm);
    unlinkat(f->dir_fd, "vsock", 0);
    unlinkat(f->dir_fd, "vsock_77", 0);
    close(f->dir_fd);
    rmdir(f->dir);
}

/* ---- The guest. ---- */

void reap_tx(struct fixture *f)
{
    uint16_t head;
    uint32_t bytes;

    while (driver_used(&f->driver, VSOCK_QUEUE_TX, &head, &bytes))
        ck_assert_uint_eq(bytes, 0);
}

/* Sends a packet whose header may be wrong in any way. */
void guest_send_pieces(struct fixture *f, const struct vsock_packet *packet, const void *data,
                       uint32_t bytes, unsigned pieces)
{
    struct driver_buffer buffers[NUM];
    const uint32_t whole = (uint32_t)sizeof(*packet) + bytes, piece = whole / pieces;

    memcpy(driver_at(&f->driver, f->tx_gpa), packet, sizeof(*packet));
    if (bytes > 0)
        memcpy(driver_at(&f->driver, f->tx_gpa + sizeof(*packet)), data, bytes);
    for (unsigned i = 0; i < pieces; i++)
        buffers[i] = (struct driver_buffer){ f->tx_gpa + i * piece,
                                             i + 1 < pieces ? piece : whole - i * piece };
    driver_add(&f->driver, VSOCK_QUEUE_TX, buffers, pieces, 0);
    driver_notify(&f->driver, VSOCK_QUEUE_TX);
    fake_vm_run(f->vm, 1000);
    reap_tx(f);
}

void guest_send_raw(struct fixture *f, const struct vsock_packet *packet, const void *data,
                    uint32_t bytes)
{
    guest_send_pieces(f, packet, data, bytes, 1);
}

struct vsock_packet packet_of(uint16_t op, uint32_t guest_port, uint32_t host_port)
{
    return (struct vsock_packet){ .src_cid = 3,
                                  .dst_cid = 2,
                                  .src_port = guest_port,
                                  .dst_port = host_port,
                                  .type = VSOCK_TYPE_STREAM,
                                  .op = op,
                                  .buf_alloc = GUEST_CREDIT };
}

void guest_send(struct fixture *f, uint16_t op, uint32_t guest_port, uint32_t host_port)
{
    struct vsock_packet packet = packet_of(op, guest_port, host_port);

    guest_send_raw(f, &packet, NULL, 0);
}

void guest_send_data(struct fixture *f, uint32_t guest_port, uint32_t host_port, const void *data,
                     uint32_t bytes)
{
    struct vsock_packet packet = packet_of(VSOCK_OP_RW, guest_port, host_port);

    packet.bytes = bytes;
    guest_send_raw(f, &packet, data, bytes);
}

/* The next packet from the host; its payload into data if that is not NULL. False: none came. */
bool guest_receive(struct fixture *f, struct vsock_packet *ret_packet, uint8_t *data)
{
    uint16_t head;
    uint32_t bytes;

    fake_vm_run(f->vm, 1000);
    if (!driver_used(&f->driver, VSOCK_QUEUE_RX, &head, &bytes))
        return false;
    const uint8_t *at = driver_at(&f->driver, f->rx_gpa[head]);
    memcpy(ret_packet, at, sizeof(*ret_packet));
    ck_assert_uint_eq(bytes, sizeof(*ret_packet) + ret_packet->bytes);
    ck_assert_uint_eq(ret_packet->src_cid, 2);
    ck_assert_uint_eq(ret_packet->dst_cid, 3);
    ck_assert_uint_eq(ret_packet->type, VSOCK_TYPE_STREAM);
    if (data)
        memcpy(data, at + sizeof(*ret_packet), ret_packet->bytes);
    post_rx(f);
    driver_notify(&f->driver, VSOCK_QUEUE_RX);
    return true;
}

struct vsock_packet expect(struct fixture *f, uint16_t op)
{
    struct vsock_packet packet = { 0 };

    ck_assert_msg(guest_receive(f, &packet, NULL), "no packet, expected op %u", op);
    ck_assert_uint_eq(packet.op, op);
    return packet;
}

void expect_nothing(struct fixture *f)
{
    struct vsock_packet packet;

    ck_assert_msg(!guest_receive(f, &packet, NULL), "op %u came", packet.op);
}

/* ---- The host. ---- */

int host_connect(struct fixture *f, const char *greeting)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/vsock", f->dir);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(write(fd, greeting, strlen(greeting)), (ssize_t)strlen(greeting));
    fake_vm_run(f->vm, 1000);
    return fd;
}

void host_expect(struct fixture *f, int fd, const char *text)
{
    char buffer[256] = "";

    fake_vm_run(f->vm, 1000);
    ssize_t n = read(fd, buffer, sizeof(buffer) - 1);
    ck_assert_int_eq(n, (ssize_t)strlen(text));
    ck_assert_str_eq(buffer, text);
}

void host_expect_eof(struct fixture *f, int fd)
{
    char byte;

    fake_vm_run(f->vm, 1000);
    ck_assert_int_eq(read(fd, &byte, 1), 0);
}

/* A connection from the host to guest port 5000, open. Returns the host port. */
uint32_t open_stream(struct fixture *f, int *ret_fd)
{
    char ok[32];

    *ret_fd = host_connect(f, "CONNECT 5000\n");
    struct vsock_packet request = expect(f, VSOCK_OP_REQUEST);
    ck_assert_uint_eq(request.dst_port, 5000);
    ck_assert_uint_eq(request.buf_alloc, VSOCK_BUFFER_BYTES);
    guest_send(f, VSOCK_OP_RESPONSE, 5000, request.src_port);
    snprintf(ok, sizeof(ok), "OK %u\n", request.src_port);
    host_expect(f, *ret_fd, ok);
    return request.src_port;
}

uint64_t connections(struct fixture *f)
{
    struct vsock_stats stats;

    vsock_query_stats(f->vsock, &stats);
    return stats.connections;
}

uint64_t refused(struct fixture *f)
{
    struct vsock_stats stats;

    vsock_query_stats(f->vsock, &stats);
    return stats.refused;
}
