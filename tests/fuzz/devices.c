/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes every device against arbitrary guest memory: sequences of register accesses, memory
 * writes, turns of the device thread, host-side input, and moves into a fresh device by saved
 * state.
 *
 * Input: operations, each a byte and its operands (see `operate`).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "devices/i8042.h"
#include "devices/uart.h"
#include "fake_vm.h"
#include "fuzz.h"
#include "net_pair.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/rng.h"
#include "virtio/virtio_layout.h"
#include "virtio/vsock.h"

#define OPERATIONS_MAX 400u
#define TURNS_MAX 50u
#define CLIENTS_MAX 8u

#define DISK_BYTES 65536

/* Two groups, which operations name apart: see `operate`. */
enum kind {
    KIND_UART,
    KIND_I8042,
    KIND_RNG,
    KIND_VSOCK,
    KIND_GROUP_END,
    KIND_BLK = KIND_GROUP_END,
    KIND_NET,
    KIND_BALLOON,
    KIND_COUNT
};

struct board {
    struct vm *vm;
    struct device *device[KIND_COUNT];
    struct uart *uart;
    struct vsock *vsock;
    int client[CLIENTS_MAX]; /* our ends of streams given to devices */
    unsigned client_count;
    int base_fd, delta_fd; /* the disk */
    int net_peer;          /* the other end of the network */
};

static void must(int result)
{
    if (result < 0)
        abort();
}

static void net_make(struct board *board)
{
    struct net_config config = { 0 };

    if (board->net_peer >= 0)
        close(board->net_peer);
    config.backend = net_pair_create(&board->net_peer);
    must(config.backend ? 0 : -1);
    must(net_create(board->vm, 3, "net0", &config, &board->device[KIND_NET], NULL));
}

/* The disk and its delta outlive their devices. */
static void blk_make(struct board *board)
{
    const struct blk_config config = {
        .disk = { .base_fd = dup(board->base_fd),
                  .delta_fd = { dup(board->delta_fd) },
                  .delta_count = 1 },
    };

    must(blk_create(board->vm, 2, "blk0", &config, &board->device[KIND_BLK], NULL));
}

static void balloon_make(struct board *board)
{
    struct balloon *balloon;

    must(balloon_create(board->vm, 4, &balloon, NULL));
    board->device[KIND_BALLOON] = balloon_device(balloon);
}

static void device_make(struct board *board, enum kind kind)
{
    const struct vsock_config vsock = { .guest_cid = VSOCK_GUEST_CID_DEFAULT,
                                        .dir_fd = -1,
                                        .listen_fd = -1 };
    struct err err;

    switch (kind) {
    case KIND_UART:
        must(uart_create(board->vm, &board->uart, &err));
        board->device[kind] = uart_device(board->uart);
        break;
    case KIND_I8042:
        must(i8042_create(board->vm, &board->device[kind], &err));
        break;
    case KIND_RNG:
        must(rng_create(board->vm, 1, &board->device[kind], &err));
        break;
    case KIND_BLK:
        blk_make(board);
        break;
    case KIND_NET:
        net_make(board);
        break;
    case KIND_BALLOON:
        balloon_make(board);
        break;
    default:
        must(vsock_create(board->vm, 0, &vsock, &board->vsock, &err));
        board->device[kind] = vsock_device(board->vsock);
        break;
    }
}

/* Moves a device into a fresh one. The state that a device saves must be accepted by its own load:
 * else a guest could make itself unrestorable, which is only its own loss, but is a bug. */
static void device_move(struct board *board, enum kind kind)
{
    struct device *old = board->device[kind];
    struct err err = { 0 };

    device_make(board, kind);
    if (fake_vm_move(old, board->device[kind], &err) < 0) {
        fprintf(stderr, "a device refuses its own state: %s\n", err.msg);
        abort();
    }
    old->ops->destroy(old);
}

/* Loads arbitrary state, as a forged snapshot has it; a refusal leaves a device to throw away. */
static void device_load_forged(struct board *board, enum kind kind, struct fuzz_input *input)
{
    const struct state_desc *desc = board->device[kind]->ops->desc;
    void *state = calloc(1, desc->struct_bytes);
    struct device *old = board->device[kind];
    struct err err = { 0 };
    int r;

    if (!state)
        abort();
    old->ops->save(old, state); /* so that a few changed bytes get far */
    for (unsigned i = fuzz_u8(input) % 16; i > 0; i--) {
        uint32_t at = fuzz_u16(input) % desc->struct_bytes;

        ((uint8_t *)state)[at] = fuzz_u8(input);
    }
    r = desc->post_load ? desc->post_load(state, &err) : 0;
    if (r == 0) {
        device_make(board, kind);
        r = board->device[kind]->ops->load(board->device[kind], state, &err);
        old->ops->destroy(old);
        if (r < 0) { /* a half-loaded device is destroyed, never used */
            board->device[kind]->ops->destroy(board->device[kind]);
            device_make(board, kind);
        }
    }
    free(state);
}

static void access_make(struct board *board, enum kind kind, struct fuzz_input *input, bool write)
{
    struct device *dev = board->device[kind];
    uint32_t bytes = 1u << (fuzz_u8(input) % 4);
    uint64_t offset = fuzz_u16(input) % dev->bytes, value = 0;

    if (offset + bytes > dev->bytes)
        offset = dev->bytes - bytes;
    if (write) {
        value = fuzz_u32(input);
        dev->ops->write(dev, offset, &value, bytes);
    } else {
        dev->ops->read(dev, offset, &value, bytes);
    }
}

/* A driver would do this in forty accesses: queues at 64 KiB times their number. */
static void queues_start(struct board *board, enum kind kind, struct fuzz_input *input)
{
    struct device *dev = board->device[kind];
    uint32_t num = 1u << (fuzz_u8(input) % 9);

    fake_write(dev, 0x070, 0, 4);
    fake_write(dev, 0x070, 3, 4);
    fake_write(dev, 0x024, 1, 4);
    fake_write(dev, 0x020, 1, 4);
    fake_write(dev, 0x024, 0, 4);
    uint8_t choice = fuzz_u8(input);
    uint32_t features = choice & 1 ? 1u << 29 : 0;
    if (kind == KIND_NET && (choice & 2))
        features |= 1u << 15 | 1u << 7 | 1u << 1; /* mergeable buffers, large frames */
    fake_write(dev, 0x020, features, 4);
    fake_write(dev, 0x070, 11, 4);
    for (uint32_t queue = 0; queue < 3; queue++) {
        uint32_t base = 0x10000 * (queue + 1);

        fake_write(dev, 0x030, queue, 4);
        fake_write(dev, 0x038, num, 4);
        fake_write(dev, 0x080, base, 4);
        fake_write(dev, 0x090, base + 0x2000, 4);
        fake_write(dev, 0x0a0, base + 0x4000, 4);
        fake_write(dev, 0x044, 1, 4);
    }
    fake_write(dev, 0x070, 15, 4);
}

/* One descriptor with its available-ring entry; memory behind it comes from memory_write. */
static void chain_offer(struct board *board, struct fuzz_input *input)
{
    uint32_t base = 0x10000 * (1u + fuzz_u8(input) % 3);
    uint16_t index = fuzz_u8(input), head = fuzz_u8(input), avail;
    struct {
        uint64_t gpa;
        uint32_t bytes;
        uint16_t flags, next;
    } desc = { .gpa = 0x50000 + fuzz_u16(input),
               .bytes = fuzz_u16(input),
               .flags = fuzz_u8(input),
               .next = fuzz_u8(input) };
    struct guest_mem *mem = &board->vm->mem;

    if (desc.flags & 0x80) { /* far away */
        desc.gpa = fuzz_u64(input);
        desc.bytes = fuzz_u32(input);
    }
    guest_mem_write(mem, base + 16u * index, &desc, sizeof(desc));
    guest_mem_read(mem, base + 0x2002, &avail, sizeof(avail));
    guest_mem_write(mem, base + 0x2004 + 2u * (avail % 256), &head, sizeof(head));
    avail++;
    guest_mem_write(mem, base + 0x2002, &avail, sizeof(avail));
}

static void memory_write(struct board *board, struct fuzz_input *input)
{
    uint8_t buffer[64];
    gpa_t gpa = fuzz_u8(input) & 1 ? 0x50000u + fuzz_u16(input) : fuzz_u32(input) % 0x60000;
    size_t bytes = fuzz_u8(input) % sizeof(buffer);

    fuzz_take(input, buffer, bytes);
    guest_mem_write(&board->vm->mem, gpa, buffer, bytes);
}

/* A client of the console or of a vsock port. */
static void client_add(struct board *board, struct fuzz_input *input)
{
    uint8_t what = fuzz_u8(input);
    int pair[2];

    if (board->client_count == CLIENTS_MAX)
        return;
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
    board->client[board->client_count++] = pair[0];
    if (what & 1)
        (void)uart_attach(board->uart, pair[1], what & 2, NULL);
    else
        (void)vsock_connect_fd(board->vsock, fuzz_u8(input), pair[1]);
}

static void client_act(struct board *board, struct fuzz_input *input)
{
    uint8_t buffer[256], what = fuzz_u8(input);
    int fd;

    if (board->client_count == 0)
        return;
    fd = board->client[what % board->client_count];
    if (what & 0x80)
        (void)shutdown(fd, what & 0x40 ? SHUT_WR : SHUT_RDWR);
    else if (what & 0x40)
        (void)!read(fd, buffer, sizeof(buffer));
    else
        (void)!send(fd, buffer, fuzz_take(input, buffer, fuzz_u8(input)), MSG_NOSIGNAL);
}

/* A frame from the network. */
static void frame_send(struct board *board, struct fuzz_input *input)
{
    uint8_t frame[2048] = { 0 };
    size_t bytes = fuzz_u16(input) % sizeof(frame);

    fuzz_take(input, frame, MIN_OF(bytes, 64));
    (void)!send(board->net_peer, frame, bytes, MSG_NOSIGNAL);
}

static void operate_on(struct board *board, enum kind kind, unsigned operation,
                       struct fuzz_input *input)
{
    switch (operation % 12) {
    case 0:
    case 1:
        access_make(board, kind, input, true);
        break;
    case 2:
        access_make(board, kind, input, false);
        break;
    case 3:
        memory_write(board, input);
        break;
    case 4:
    case 5:
        chain_offer(board, input);
        break;
    case 6:
        queues_start(board, kind >= KIND_VSOCK ? kind : KIND_RNG, input);
        break;
    case 7:
        fake_vm_run(board->vm, TURNS_MAX);
        break;
    case 8:
        device_move(board, kind);
        break;
    case 9:
        device_load_forged(board, kind, input);
        break;
    case 10:
        client_add(board, input);
        break;
    default:
        client_act(board, input);
        break;
    }
}

/* Operations from 0xf0 on are of the second group of devices, with a byte more. */
static void operate(struct board *board, struct fuzz_input *input)
{
    uint8_t op = fuzz_u8(input);

    if (op < 0xf0) {
        operate_on(board, (enum kind)(op % KIND_GROUP_END), op / KIND_GROUP_END, input);
        return;
    }
    op = fuzz_u8(input);
    if (op % 4 == 3)
        frame_send(board, input);
    else
        operate_on(board, (enum kind)(KIND_BLK + op % 4), op / 4, input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input input = { data, bytes };
    struct board board = { .vm = fake_vm_create(),
                           .base_fd = memfd_create("base", MFD_CLOEXEC),
                           .delta_fd = memfd_create("delta", MFD_CLOEXEC),
                           .net_peer = -1 };

    must(ftruncate(board.base_fd, DISK_BYTES));

    for (unsigned kind = 0; kind < KIND_COUNT; kind++)
        device_make(&board, (enum kind)kind);
    for (unsigned i = 0; i < OPERATIONS_MAX && input.bytes > 0; i++)
        operate(&board, &input);
    fake_vm_run(board.vm, TURNS_MAX);
    for (unsigned kind = 0; kind < KIND_COUNT; kind++)
        board.device[kind]->ops->destroy(board.device[kind]);
    for (unsigned i = 0; i < board.client_count; i++)
        close(board.client[i]);
    if (board.vm->polls != 0)
        abort(); /* a device left a poll behind */
    close(board.base_fd);
    close(board.delta_fd);
    close(board.net_peer);
    fake_vm_destroy(board.vm);
    return 0;
}
