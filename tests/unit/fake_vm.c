/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the machine without KVM; see fake_vm.h. */
#include "fake_vm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/util.h"

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "fake vm: %s: %s\n", what, strerror(errno));
    abort();
}

struct vm *fake_vm_create(void)
{
    struct vm *vm = calloc(1, sizeof(*vm));
    struct err err = { 0 };

    must(vm != NULL, "memory");
    must(guest_mem_init(&vm->mem, GUEST_RAM_BYTES_MIN, &err) == 0, "guest memory");
    must(guest_mem_map_new(&vm->mem, false, &err) == 0, "mapping guest memory");
    vm->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    must(vm->epoll_fd >= 0, "epoll");
    return vm;
}

void fake_vm_destroy(struct vm *vm)
{
    guest_mem_fini(&vm->mem);
    close_fd(&vm->epoll_fd);
    free(vm);
}

unsigned fake_vm_run(struct vm *vm, unsigned max_turns)
{
    struct epoll_event event;
    unsigned turns = 0;

    while (turns < max_turns && epoll_wait(vm->epoll_fd, &event, 1, 0) == 1) {
        struct vm_poll *poll = event.data.ptr;

        poll->ready(poll, event.events);
        turns++;
    }
    return turns;
}

int fake_vm_move(struct device *from, struct device *to, struct err *err)
{
    const struct state_desc *desc = from->ops->desc;
    _cleanup_free_ void *state = calloc(1, desc->struct_bytes);
    int rc = from->ops->quiesce ? from->ops->quiesce(from, err) : 0;

    must(state != NULL, "memory");
    if (rc == 0) {
        from->ops->save(from, state);
        rc = desc->post_load ? desc->post_load(state, err) : 0;
    }
    return rc == 0 ? to->ops->load(to, state, err) : rc;
}

uint32_t fake_read(struct device *dev, uint64_t offset, uint32_t bytes)
{
    uint64_t value = 0;

    dev->ops->read(dev, offset, &value, bytes);
    return (uint32_t)value;
}

void fake_write(struct device *dev, uint64_t offset, uint32_t value, uint32_t bytes)
{
    uint64_t wide = value;

    dev->ops->write(dev, offset, &wide, bytes);
}

/* ---- What device.h asks of a machine. ---- */

struct guest_mem *vm_memory(struct vm *vm)
{
    return &vm->mem;
}

void vm_irq_pulse(struct vm *vm, uint32_t gsi)
{
    must(gsi < FAKE_VM_GSIS, "GSI out of range");
    atomic_fetch_add(&vm->pulses[gsi], 1);
}

void vm_irq_level(struct vm *vm, uint32_t gsi, bool level)
{
    must(gsi < FAKE_VM_GSIS, "GSI out of range");
    vm->level[gsi] = level;
}

void vm_guest_misbehaved(struct vm *vm, const char *fmt, ...)
{
    (void)fmt;
    vm->misbehaved++;
}

void vm_guest_reset(struct vm *vm)
{
    vm->resets++;
}

int vm_poll_add(struct vm *vm, struct vm_poll *poll, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = poll };

    if (epoll_ctl(vm->epoll_fd, EPOLL_CTL_ADD, poll->fd, &event) < 0)
        return -errno;
    vm->polls++;
    return 0;
}

int vm_poll_mod(struct vm *vm, struct vm_poll *poll, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = poll };

    return epoll_ctl(vm->epoll_fd, EPOLL_CTL_MOD, poll->fd, &event) < 0 ? -errno : 0;
}

void vm_poll_del(struct vm *vm, struct vm_poll *poll)
{
    must(epoll_ctl(vm->epoll_fd, EPOLL_CTL_DEL, poll->fd, NULL) == 0, "deleting a poll");
    vm->polls--;
}
