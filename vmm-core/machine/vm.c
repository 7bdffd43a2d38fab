/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a machine's making, its device thread's loop and its end; see vm.h. */
#include "machine/vm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#include "base/util.h"
#include "machine/machine_internal.h"

/* Three pages that VT-x needs below 4 GiB for real mode; out of the way of RAM and devices. */
#define TSS_GPA 0xfffbd000ul

struct guest_mem *vm_memory(struct vm *vm)
{
    return &vm->mem;
}

/* ---- Making ---- */

static int set_memslots(struct vm *vm, struct err *err)
{
    for (unsigned i = 0; i < vm->mem.region_count; i++) {
        const struct guest_region *r = &vm->mem.region[i];
        struct kvm_userspace_memory_region slot = {
            .slot = i,
            .guest_phys_addr = r->gpa,
            .memory_size = r->bytes,
            .userspace_addr = (uintptr_t)vm->mem.hva + r->file_offset,
        };
        if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
            return err_set_errno(err, errno, "memslot of %llu bytes at 0x%llx",
                                 (unsigned long long)r->bytes, (unsigned long long)r->gpa);
    }
    return 0;
}

static int create_chips(struct vm *vm, struct err *err)
{
    struct kvm_pit_config pit = { 0 };

    if (ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_GPA) < 0)
        return err_set_errno(err, errno, "KVM_SET_TSS_ADDR");
    if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
        return err_set_errno(err, errno, "KVM_CREATE_IRQCHIP");
    if (vm->has_pit && ioctl(vm->fd, KVM_CREATE_PIT2, &pit) < 0)
        return err_set_errno(err, errno, "KVM_CREATE_PIT2");
    return 0;
}

static int create_vcpu(struct vm *vm, uint32_t index, struct err *err)
{
    struct vcpu *vcpu = &vm->vcpu[index];

    vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, index);
    if (vcpu->fd < 0)
        return err_set_errno(err, errno, "KVM_CREATE_VCPU %u", index);
    void *run = mmap(NULL, vm->kvm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (run == MAP_FAILED)
        return err_set_errno(err, errno, "mapping vCPU %u", index);
    vcpu->run = run;
    return 0;
}

static void end_rung(struct vm_poll *poll, uint32_t events)
{
    (void)poll;
    (void)events; /* vm_loop_run looks at end_reason itself */
}

static int create_loop(struct vm *vm, struct err *err)
{
    vm->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    vm->end_poll = (struct vm_poll){ .ready = end_rung, .fd = eventfd(0, EFD_CLOEXEC) };
    if (vm->epoll_fd < 0 || vm->end_poll.fd < 0)
        return err_set_errno(err, errno, "creating the device thread's poller");
    int rc = vm_poll_add(vm, &vm->end_poll, EPOLLIN);
    return rc < 0 ? err_set_errno(err, -rc, "polling") : 0;
}

static void init_fields(struct vm *vm, const struct kvm_host *kvm, const struct vm_config *config)
{
    memset(vm, 0, sizeof *vm);
    vm->kvm = kvm;
    vm->fd = vm->epoll_fd = vm->end_poll.fd = vm->doorbell.fd = vm->mem.fd = -1;
    vm->vcpu_count = config->vcpu_count;
    vm->has_pit = config->pit;
    vm->doorbell.park_allowed = true;
    vm->created_ns = now_ns();
    pthread_mutex_init(&vm->run_lock, NULL);
    pthread_mutex_init(&vm->halt_lock, NULL);
    pthread_cond_init(&vm->halt_cond, NULL);
    for (uint32_t i = 0; i < VM_VCPUS_MAX; i++)
        vm->vcpu[i] = (struct vcpu){ .vm = vm, .index = i, .fd = -1 };
}

int vm_init(struct vm *vm, const struct kvm_host *kvm, struct guest_mem *mem,
            const struct vm_config *config, struct err *err)
{
    int rc;

    if (config->vcpu_count < 1 || config->vcpu_count > VM_VCPUS_MAX)
        return err_set(err, EINVAL, "%u vCPUs: must be 1 to %u", config->vcpu_count, VM_VCPUS_MAX);
    init_fields(vm, kvm, config);
    rc = create_loop(vm, err);
    if (rc < 0) {
        vm_destroy(vm);
        return rc;
    }
    vm->mem = *mem;
    *mem = (struct guest_mem){ .fd = -1 };
    return 0;
}

int vm_make(struct vm *vm, struct err *err)
{
    int rc;

    vm->fd = ioctl(vm->kvm->fd, KVM_CREATE_VM, 0);
    rc = vm->fd < 0 ? err_set_errno(err, errno, "KVM_CREATE_VM") : 0;
    if (rc == 0)
        rc = set_memslots(vm, err);
    if (rc == 0)
        rc = create_chips(vm, err);
    for (uint32_t i = 0; rc == 0 && i < vm->vcpu_count; i++)
        rc = create_vcpu(vm, i, err);
    return rc;
}

int vm_add_device(struct vm *vm, struct device *dev, struct err *err)
{
    int rc = 0;

    for (uint32_t i = 0; i < vm->device_count; i++) {
        const struct device *other = vm->device[i];

        if (other->bus == dev->bus && dev->base < other->base + other->bytes &&
            other->base < dev->base + dev->bytes)
            rc = err_set(err, EEXIST, "devices %s and %s overlap at 0x%llx", dev->name, other->name,
                         (unsigned long long)dev->base);
    }
    if (vm->device_count == VM_DEVICES_MAX)
        rc = err_set(err, ENOSPC, "more than %u devices", VM_DEVICES_MAX);
    if (rc < 0)
        dev->ops->destroy(dev);
    else
        vm->device[vm->device_count++] = dev;
    return rc;
}

int vm_set_cpuid(struct vm *vm, uint32_t vcpu_index, const struct kvm_cpuid_entry2 *entry,
                 uint32_t entry_count, struct err *err)
{
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entry[VM_CPUID_MAX];
    } cpuid = { .head = { .nent = entry_count } };

    if (entry_count > VM_CPUID_MAX)
        return err_set(err, EINVAL, "%u CPUID entries: at most %u", entry_count, VM_CPUID_MAX);
    memcpy(cpuid.entry, entry, entry_count * sizeof *entry);
    if (ioctl(vm->vcpu[vcpu_index].fd, KVM_SET_CPUID2, &cpuid) < 0)
        return err_set_errno(err, errno, "KVM_SET_CPUID2 of vCPU %u", vcpu_index);
    return 0;
}

void vm_run(struct vm *vm)
{
    vcpu_signal_setup();
    vm->vcpu[0].thread = pthread_self();
    /* Of a restored machine, the others wait for vCPU 0's answer. */
    atomic_store(&vm->halt_others, vm->restore_from != NULL);
    for (uint32_t i = 1; i < vm->vcpu_count; i++) {
        int rc = pthread_create(&vm->vcpu[i].thread, NULL, vcpu_thread_main, &vm->vcpu[i]);

        if (rc != 0) {
            vm_end(vm, EXIT_REASON_HOST_ERROR, "starting the thread of vCPU %u: %s", i,
                   strerror(rc));
            return;
        }
    }
    vcpu_thread_main(&vm->vcpu[0]);
}

void vm_destroy(struct vm *vm)
{
    for (uint32_t i = vm->device_count; i-- > 0;)
        vm->device[i]->ops->destroy(vm->device[i]);
    vm->device_count = 0;
    for (uint32_t i = 0; i < vm->vcpu_count; i++) {
        if (vm->vcpu[i].run)
            munmap(vm->vcpu[i].run, vm->kvm->run_bytes);
        vm->vcpu[i].run = NULL;
        close_fd(&vm->vcpu[i].fd);
    }
    close_fd(&vm->fd);
    close_fd(&vm->end_poll.fd);
    close_fd(&vm->epoll_fd);
    guest_mem_fini(&vm->mem);
    pthread_mutex_destroy(&vm->run_lock);
    pthread_mutex_destroy(&vm->halt_lock);
    pthread_cond_destroy(&vm->halt_cond);
}

/* ---- Interrupts ---- */

void vm_irq_level(struct vm *vm, uint32_t gsi, bool level)
{
    struct kvm_irq_level line = { .irq = gsi, .level = level };

    if (ioctl(vm->fd, KVM_IRQ_LINE, &line) < 0)
        vm_end(vm, EXIT_REASON_HOST_ERROR, "KVM_IRQ_LINE %u: %s", gsi, strerror(errno));
}

static void rest_end(struct vm *vm)
{
    pthread_mutex_lock(&vm->halt_lock);
    atomic_store(&vm->resting, false);
    pthread_cond_broadcast(&vm->halt_cond);
    pthread_mutex_unlock(&vm->halt_lock);
}

static void pulse(struct vm *vm, uint32_t gsi)
{
    vm_irq_level(vm, gsi, true);
    vm_irq_level(vm, gsi, false);
    if (atomic_load(&vm->resting))
        rest_end(vm);
}

void vm_irq_pulse(struct vm *vm, uint32_t gsi)
{
    if (atomic_load(&vm->irqs_held)) {
        atomic_fetch_or(&vm->irqs_due, 1u << gsi);
        /* Released in between, the bit may have come too late to be seen: once more does no harm.
         */
        if (atomic_load(&vm->irqs_held))
            return;
    }
    pulse(vm, gsi);
}

void vm_irqs_hold(struct vm *vm)
{
    atomic_store(&vm->irqs_held, true);
}

void vm_irqs_release(struct vm *vm)
{
    atomic_store(&vm->irqs_held, false);
    for (unsigned due = atomic_exchange(&vm->irqs_due, 0); due; due &= due - 1)
        pulse(vm, (uint32_t)__builtin_ctz(due));
}

void vm_rest_begin(struct vm *vm)
{
    atomic_store(&vm->resting, true);
}

void vm_rest(struct vm *vm, unsigned ms)
{
    uint64_t end_ns = now_ns() + ms * NS_PER_MS;
    const struct timespec end = { (time_t)(end_ns / NS_PER_S), (long)(end_ns % NS_PER_S) };
    int rc = 0;

    pthread_mutex_lock(&vm->halt_lock);
    while (rc == 0 && atomic_load(&vm->resting))
        rc = pthread_cond_clockwait(&vm->halt_cond, &vm->halt_lock, CLOCK_MONOTONIC, &end);
    atomic_store(&vm->resting, false);
    pthread_mutex_unlock(&vm->halt_lock);
}

/* ---- The device thread ---- */

int vm_poll_add(struct vm *vm, struct vm_poll *poll, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = poll };

    return epoll_ctl(vm->epoll_fd, EPOLL_CTL_ADD, poll->fd, &event) < 0 ? -errno : 0;
}

int vm_poll_mod(struct vm *vm, struct vm_poll *poll, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = poll };

    return epoll_ctl(vm->epoll_fd, EPOLL_CTL_MOD, poll->fd, &event) < 0 ? -errno : 0;
}

void vm_poll_del(struct vm *vm, struct vm_poll *poll)
{
    epoll_ctl(vm->epoll_fd, EPOLL_CTL_DEL, poll->fd, NULL);
}

enum control_exit_reason vm_loop_run(struct vm *vm)
{
    struct epoll_event event;

    /* One event a turn: a callback may free another poller's owner, whose event would be stale. */
    while (atomic_load(&vm->end_reason) == EXIT_REASON_NONE) {
        int n = epoll_wait(vm->epoll_fd, &event, 1, -1);

        if (n < 0 && errno != EINTR)
            vm_end(vm, EXIT_REASON_HOST_ERROR, "epoll_wait: %s", strerror(errno));
        if (n == 1) {
            struct vm_poll *poll = event.data.ptr;
            poll->ready(poll, event.events);
        }
    }
    while (!atomic_load(&vm->end_ready))
        __builtin_ia32_pause(); /* the ending thread is between two stores */
    return (enum control_exit_reason)atomic_load(&vm->end_reason);
}

void vm_introduce(struct vm *vm)
{
    if (vm->hooks.introduce)
        vm->hooks.introduce(vm->hooks.context, vm);
    vm->hooks.introduce = NULL;
}

/* ---- The end ---- */

static void end_with(struct vm *vm, enum control_exit_reason reason, const char *fmt, va_list args)
{
    int none = EXIT_REASON_NONE;
    uint64_t one = 1;

    if (!atomic_compare_exchange_strong(&vm->end_reason, &none, (int)reason))
        return;
    vsnprintf(vm->end_detail, sizeof vm->end_detail, fmt, args);
    atomic_store(&vm->phase, VM_ENDED);
    atomic_store(&vm->end_ready, true);
    if (write(vm->end_poll.fd, &one, sizeof one) < 0) {
        /* An eventfd that can't take one more is rung already. */
    }
}

void vm_end(struct vm *vm, enum control_exit_reason reason, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    end_with(vm, reason, fmt, args);
    va_end(args);
}

void vm_guest_misbehaved(struct vm *vm, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    end_with(vm, EXIT_REASON_GUEST_MISBEHAVED, fmt, args);
    va_end(args);
}

void vm_guest_reset(struct vm *vm)
{
    vm_end(vm, EXIT_REASON_GUEST_POWEROFF, "the guest powered off or reset");
}

void vm_stats(const struct vm *vm, struct control_msg *ret_msg)
{
    memset(&ret_msg->u.stats, 0, sizeof ret_msg->u.stats);
    for (uint32_t i = 0; i < vm->vcpu_count; i++)
        ret_msg->u.stats.exits += vm->vcpu[i].exits;
    ret_msg->u.stats.unknown_pio = atomic_load(&vm->unknown_pio);
    ret_msg->u.stats.unknown_mmio = atomic_load(&vm->unknown_mmio);
    ret_msg->u.stats.doorbell_ignored = atomic_load(&vm->doorbell.ignored);
}
