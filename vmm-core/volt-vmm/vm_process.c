/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a VM's life from the made machine to the last message; see vm_process.h. */
#include "volt-vmm/vm_process.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "volt-vmm/program.h"

static bool ended_well(enum control_exit_reason reason)
{
    return reason == EXIT_REASON_STOPPED || reason == EXIT_REASON_GUEST_POWEROFF ||
           reason == EXIT_REASON_POOLD_GONE;
}

int vm_process_init(struct vm_process *process, struct err *err)
{
    if (mprotect(process->device_stack, HOST_PAGE_BYTES, PROT_NONE) < 0)
        return err_set_errno(err, errno, "guarding the device thread's stack");
    return 0;
}

/* ---- The machine's hooks: vCPU threads ---- */

static int enter_vcpu_thread(void *context, struct err *err)
{
    const struct vm_process *process = context;

    return sandbox_install_filter(&process->config.sandbox, SANDBOX_THREAD_VCPU, NULL, err);
}

/* vCPU 0's: once, whatever has failed. From here on both threads are confined, and the machine has
 * its devices. */
static void meet(void *context)
{
    struct vm_process *process = context;

    if (!process->has_met)
        pthread_barrier_wait(&process->met);
    process->has_met = true;
}

static void idle(void *context, struct vm *vm)
{
    struct vm_process *process = context;

    if (process->config.idle)
        process->config.idle(process->config.context, vm);
}

/* HELLO, from vCPU 0's thread: only that knows when a shell is one. */
static void introduce(void *context, struct vm *vm)
{
    struct vm_process *process = context;

    (void)vm;
    server_hello(&process->server, process->status.layers, process->status.landlock_abi);
    sem_post(&process->fills);
}

/* ---- The device thread ---- */

static int enter_device_thread(struct vm_process *self, struct err *err)
{
    return sandbox_install_filter(
        &self->config.sandbox,
        self->status.rooted ? SANDBOX_THREAD_DEVICE : SANDBOX_THREAD_ROOTLESS, &self->status, err);
}

/* The guest waits where it gets ahead of this. Not before vCPU 0's thread is about to run it: that
 * may have been woken to the CPU of this one, and would wait there for a tick of the scheduler. */
static int fill(struct vm_process *self, struct err *err)
{
    struct vm *vm = &self->machine.vm;

    while (sem_wait(&self->fills) < 0)
        ;
    return atomic_load(&vm->end_reason) == EXIT_REASON_NONE ? guest_fill_run(vm->mem.fill, err) : 0;
}

/* Ends the process: vCPU threads may be inside KVM_RUN and are not waited for. */
static void *device_thread_main(void *arg)
{
    struct vm_process *self = arg;
    const struct vm_process_config *config = &self->config;
    struct vm *vm = &self->machine.vm;
    struct err err = { 0 };

    int rc = config->furnish ? config->furnish(config->context, &self->machine, &err) : 0;
    if (rc == 0)
        rc = enter_device_thread(self, &err);
    if (rc < 0)
        vm_end(vm, EXIT_REASON_HOST_ERROR, "%s", err.msg);
    pthread_barrier_wait(&self->met);
    if (vm->mem.fill && fill(self, &err) < 0)
        vm_end(vm, EXIT_REASON_HOST_ERROR, "%s", err.msg);
    enum control_exit_reason reason = vm_loop_run(vm);
    server_exited(&self->server, reason);
    _exit(ended_well(reason) ? 0 : EXIT_VM_FAILED);
}

static int start_device_thread(struct vm_process *self, struct err *err)
{
    pthread_attr_t attr;

    pthread_barrier_init(&self->met, NULL, 2);
    sem_init(&self->fills, 0, 0);
    pthread_attr_init(&attr);
    pthread_attr_setstack(&attr, self->device_stack + HOST_PAGE_BYTES,
                          VM_PROCESS_STACK_BYTES - HOST_PAGE_BYTES);
    int rc = pthread_create(&self->device_thread, &attr, device_thread_main, self);
    pthread_attr_destroy(&attr);
    return rc ? err_set_errno(err, rc, "starting the device thread") : 0;
}

int vm_process_start(struct vm_process *process, const struct vm_process_config *config,
                     struct err *err)
{
    struct vm *vm = &process->machine.vm;

    process->config = *config;
    vm->hooks = (struct vm_hooks){ .context = process,
                                   .thread_enter = enter_vcpu_thread,
                                   .meet = meet,
                                   .shell_idle = idle,
                                   .introduce = introduce };
    vm->doorbell.ops = &server_bell_ops;
    vm->doorbell.fd = config->bell_fd;
    int rc = server_init(&process->server, &process->machine, config->control_fd, err);
    return rc == 0 ? start_device_thread(process, err) : rc;
}

void vm_process_run(struct vm_process *process, int rc, const struct err *err)
{
    struct vm *vm = &process->machine.vm;

    if (rc < 0)
        vm_end(vm, EXIT_REASON_HOST_ERROR, "%s", err->msg);
    else
        vm_run(vm);
    meet(process);
    sem_post(&process->fills); /* if it has not run */
    pthread_join(process->device_thread, NULL);
    _exit(EXIT_SOFTWARE); /* not reached: that thread ends the process */
}
