/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a VM's life from the made machine to the last message; the same for boot VMs and clones. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"
#include "volt-vmm/program.h"
#include "volt-vmm/server.h"

/* Borrowed by vCPU threads, which get no argument of their own in vm.thread_enter. */
static const struct sandbox_config *thread_sandbox;

static int enter_vcpu_thread(struct err *err)
{
    return sandbox_install_filter(thread_sandbox, SANDBOX_THREAD_VCPU, NULL, err);
}

static bool ended_well(enum control_exit_reason reason)
{
    return reason == EXIT_REASON_STOPPED || reason == EXIT_REASON_GUEST_POWEROFF ||
           reason == EXIT_REASON_POOLD_GONE;
}

/* What the device thread needs; the process has one VM. */
struct device_thread {
    struct server server;
    const struct options *options;
    struct sandbox_status *status;
    vm_furnish furnish;
    void *context;
    pthread_t thread;
    pthread_barrier_t met; /* both threads have done their parts of the making */
};

static struct device_thread device;

/* The device thread's stack: in place of one mapped for every clone. Its lowest page is the guard.
 */
#define DEVICE_STACK_BYTES (256u << 10)
static _Alignas(HOST_PAGE_BYTES) uint8_t device_stack[DEVICE_STACK_BYTES];

int vm_serve_prepare(struct err *err)
{
    if (mprotect(device_stack, HOST_PAGE_BYTES, PROT_NONE) < 0)
        return err_set_errno(err, errno, "guarding the device thread's stack");
    return 0;
}

/* HELLO, from vCPU 0's thread: only that knows when a shell is one. */
static void say_hello(struct vm *vm)
{
    (void)vm;
    server_hello(&device.server, device.status->layers, device.status->landlock_abi);
}

/* Ends the process: vCPU threads may be inside KVM_RUN and are not waited for. */
static void *device_thread_main(void *arg)
{
    struct device_thread *self = arg;
    struct vm *vm = &self->server.machine->vm;
    struct err err = { 0 };

    int rc = self->furnish ? self->furnish(self->server.machine, self->context, &err) : 0;
    if (rc == 0)
        rc = sandbox_install_filter(&self->options->sandbox, SANDBOX_THREAD_DEVICE, self->status,
                                    &err);
    if (rc < 0)
        vm_end(vm, EXIT_REASON_HOST_ERROR, "%s", err.msg);
    pthread_barrier_wait(&self->met);
    /* The guest runs by now, and waits where it gets ahead of this. */
    if (vm->mem.fill && atomic_load(&vm->end_reason) == EXIT_REASON_NONE &&
        guest_fill_run(vm->mem.fill, &err) < 0)
        vm_end(vm, EXIT_REASON_HOST_ERROR, "%s", err.msg);
    enum control_exit_reason reason = vm_loop_run(vm);
    server_exited(&self->server, reason);
    _exit(ended_well(reason) ? 0 : EXIT_VM_FAILED);
}

static int start_device_thread(struct device_thread *self, struct err *err)
{
    pthread_attr_t attr;

    pthread_barrier_init(&self->met, NULL, 2);
    pthread_attr_init(&attr);
    pthread_attr_setstack(&attr, device_stack + HOST_PAGE_BYTES,
                          DEVICE_STACK_BYTES - HOST_PAGE_BYTES);
    int rc = pthread_create(&self->thread, &attr, device_thread_main, self);
    pthread_attr_destroy(&attr);
    return rc ? err_set_errno(err, rc, "starting the device thread") : 0;
}

int vm_serve_start(struct machine *machine, int control_fd, int bell_fd,
                   const struct options *options, struct sandbox_status *status, vm_furnish furnish,
                   void *context, struct err *err)
{
    thread_sandbox = &options->sandbox;
    machine->vm.thread_enter = enter_vcpu_thread;
    machine->vm.doorbell.ops = &server_bell_ops;
    machine->vm.doorbell.fd = bell_fd;
    machine->vm.introduce = say_hello;
    device.options = options;
    device.status = status;
    device.furnish = furnish;
    device.context = context;
    int rc = server_init(&device.server, machine, control_fd, err);
    return rc == 0 ? start_device_thread(&device, err) : rc;
}

void vm_serve_run(struct machine *machine, int rc, const struct err *err)
{
    if (rc < 0)
        vm_end(&machine->vm, EXIT_REASON_HOST_ERROR, "%s", err->msg);
    /* From here on both threads are confined: the guest's first instruction comes later. */
    pthread_barrier_wait(&device.met);
    if (atomic_load(&machine->vm.end_reason) == EXIT_REASON_NONE)
        vm_run(&machine->vm);
    pthread_join(device.thread, NULL);
    _exit(EXIT_SOFTWARE); /* not reached: that thread ends the process */
}
