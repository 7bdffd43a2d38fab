/* SPDX-License-Identifier: Apache-2.0 */
/* Who runs ahead of all else on a busy host, by real-time scheduling: poold's loop, whose work is
 * short; and behind it a parked VM's vCPU 0, from PARKED until it has answered the wake of a lease,
 * for PROMPT_VM_MS at most. And who lets others go first: VMs that have answered, by long slices. A VM
 * that waits for its wake has slices as everybody, in case it may not be real-time.
 *
 * A VM is ahead only while the loop is: the loop takes that away from it whatever its guest does, and
 * lets go of its own only when no VM has it and may run. If poold dies at that very moment, the kernel
 * ends the VM after a second of CPU time (RLIMIT_RTTIME, which VMs' sandbox sets). All of it is a hint:
 * without CAP_SYS_NICE, or in a v1 control group without real-time bandwidth, nothing happens.
 * Loop thread, with state of its own. */
#ifndef VOLT_POOLD_PROMPT_H
#define VOLT_POOLD_PROMPT_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "base/list.h"

#define PROMPT_VM_MS 2u
/* Two ticks of a kernel at 250 Hz: whoever wakes up is due before a VM that computes. */
#define PROMPT_VM_SLICE_NS 8000000ull

/* Before VMs park; without it only the loop is prompt. */
void prompt_start(uv_loop_t *loop);
/* No VM is prompt any more: the next poold may be one that knows nothing of it. The timer, which does
 * not keep the loop alive, is closed with the loop's other handles. */
void prompt_stop(void);

/* Whether the loop is to be prompt: it runs as soon as a request or an answer is there, instead of at
 * the next tick, milliseconds later. What it starts does not inherit that. Cheap when nothing changes. */
void prompt_want(bool wanted);

/* Not even if it is wanted, until released as often: while pool threads work. libuv's loop spins
 * until the thread that woke it has left uv_async_send (libuv 1.44, uv__async_spin); a loop with
 * real-time scheduling has preempted that very thread, and on the only CPU that is free it would
 * spin until the kernel throttles it, for a second. */
void prompt_hold(void);
void prompt_release(void);

struct prompt_vm {
    struct list node; /* of those that wait for a wake, or have not answered it */
    pid_t pid;        /* its vCPU 0's thread; 0: it is none of them */
    bool is_ahead;    /* by real-time scheduling */
};

void prompt_vm_init(struct prompt_vm *vm);
/* One of an earlier poold's, which may have died between a wake and its answer, runs as everybody. */
void prompt_vm_adopt(struct prompt_vm *vm, int pidfd);
/* From now on the threads that it has let others go first: what wakes up on the host, and VMs that are
 * being made, runs at once instead of at the next tick, while VMs' shares of the CPUs stay as they are
 * (a slice of PROMPT_VM_SLICE_NS, sched_setattr(2)). Of one that parks, vCPU 0's does so only when it
 * has answered. pidfd: its. A few system calls; any thread. */
void prompt_vm_defer(pid_t pid, int pidfd);
/* It waits for a wake, in the control group where it will stay: a v1 group without real-time bandwidth
 * takes no process that is real-time. */
void prompt_vm_park(struct prompt_vm *vm, int pidfd);
/* Before it is woken: its time begins, or if the loop is not prompt, neither is the VM. */
void prompt_vm_wake(struct prompt_vm *vm);
/* It lets others go first: it has answered, or is about to be stopped or killed. Cheap if it does. */
void prompt_vm_end(struct prompt_vm *vm);
/* Its process has ended; its pid may be another's. */
void prompt_vm_forget(struct prompt_vm *vm);

#endif
