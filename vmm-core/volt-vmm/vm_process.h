/* SPDX-License-Identifier: Apache-2.0 */
/* The process of one VM, from the made machine to the last message; the same for boot VMs and
 * clones.
 *
 * How it works
 *   Two threads make the machine and live as long as it. The *device thread* (vm_process_start)
 *   furnishes it with devices, confines itself, and serves poold. The caller's thread does KVM's
 *   part meanwhile, and becomes vCPU 0's (vm_process_run), which confines itself and loads KVM's
 *   state. Both meet then, before the guest's first instruction; a failure of either is told to
 *   poold, and the process ends.
 */
#ifndef VOLT_VMM_VM_PROCESS_H
#define VOLT_VMM_VM_PROCESS_H

#include <pthread.h>
#include <semaphore.h>

#include "base/util.h"
#include "sandbox/sandbox.h"
#include "volt-vmm/machine.h"
#include "volt-vmm/server.h"

#define VM_PROCESS_STACK_BYTES (256u << 10)

struct vm_process_config {
    int control_fd, bell_fd;       /* control is transferred; bell stays open as long as the VM */
    struct sandbox_config sandbox; /* which filters the threads install */
    /* Adds and loads devices, on the device thread. 0 or -errno. NULL: they are there. */
    int (*furnish)(void *context, struct machine *machine, struct err *err);
    /* What a shell does while nobody waits for it, on vCPU 0's thread. NULL: nothing. */
    void (*idle)(void *context, struct vm *vm);
    void *context;
};

/* Large, and lives as long as the process: static storage. */
struct vm_process {
    struct machine machine;
    struct sandbox_status status; /* what is in force around it; HELLO tells it */
    struct vm_process_config config;
    struct server server;
    pthread_t device_thread;
    pthread_barrier_t met; /* both threads have done their parts of the making */
    bool has_met;          /* vCPU 0's thread's */
    sem_t fills;           /* a guest that boots is about to run: its memory may be filled */
    /* The device thread's, in place of one mapped for every clone. Its lowest page is the guard. */
    _Alignas(HOST_PAGE_BYTES) uint8_t device_stack[VM_PROCESS_STACK_BYTES];
};

/* Once, and before clones are forked that use it. 0 or -errno. */
int vm_process_init(struct vm_process *process, struct err *err);

/* Starts the device thread of process->machine, which vm_init has set up, and whose status is
 * filled in. The caller goes on with KVM's part. -errno only when it could not begin. */
int vm_process_start(struct vm_process *process, const struct vm_process_config *config,
                     struct err *err);

/* The rest of a VM's life; vCPU 0 runs on the calling thread. rc, err: how the caller's part of the
 * making went. Ends the process. */
void vm_process_run(struct vm_process *process, int rc, const struct err *err)
    __attribute__((noreturn));

#endif
