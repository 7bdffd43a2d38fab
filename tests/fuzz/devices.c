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
#include "virtio/rng.h"
#include "virtio/virtio_layout.h"
#include "virtio/vsock.h"

#define OPERATIONS_MAX 400u
#define TURNS_MAX 50u
#define CLIENTS_MAX 8u

enum kind { KIND_UART, KIND_I8042, KIND_RNG, KIND_VSOCK, KIND_COUNT };

struct board {
    struct vm *vm;
    struct device *device[KIND_COUNT];
    struct uart *uart;
    struct vsock *vsock;
    int client[CLIENTS_MAX]; /* our ends of streams given to devices */
    unsigned client_count;
};

static void must(int result)
{
    if (result < 0)
        abort();
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
    fake_write(dev, 0x020, fuzz_u8(input) & 1 ? 1u << 29 : 0, 4);
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

static void operate(struct board *board, struct fuzz_input *input)
{
    uint8_t op = fuzz_u8(input);
    enum kind kind = (enum kind)(op % KIND_COUNT);

    switch (op / KIND_COUNT % 12) {
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
        queues_start(board, kind == KIND_VSOCK ? KIND_VSOCK : KIND_RNG, input);
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input input = { data, bytes };
    struct board board = { .vm = fake_vm_create() };

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
    fake_vm_destroy(board.vm);
    return 0;
}
