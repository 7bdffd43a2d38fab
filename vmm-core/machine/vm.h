/* SPDX-License-Identifier: Apache-2.0 */
/* One virtual machine: KVM's objects, guest memory, devices and vCPU threads. Everything hangs off
 * struct vm; nothing is global, so a process could hold several.
 *
 * Theory of operation
 *   Threads. The thread that calls vm_loop_run is the *device thread*: it owns the poller. The
 *   thread that calls vm_run is vCPU 0's: it answers the doorbell and talks on the bell (struct
 *   vm_bell_ops) itself, so that a WAKE crosses no other thread. The other vCPUs get threads.
 *
 *   States of vCPU 0, and who may do what in each (enum vm_phase, vm->phase):
 *     NEW      vm_init done. Owner: the creating thread, and of its devices the one that adds
 *              them. vm_make, vm_add_device.
 *     SHELL    vCPU 0's thread waits on the bell, the others are stopped; of `restore_from`
 *              everything is loaded but what depends on time, which the WAKE loads.
 *     RUNNING  in KVM_RUN or handling an exit. run_lock is held by vCPU 0's thread.
 *     PARKED   stopped at PARK, or at the function's bell, where a CALL is what goes on; port write
 *              complete, all other vCPUs stopped. run_lock is free:
 *              whoever takes it may save state. The next WAKE takes it back.
 *     ENDED    vm_end was called; vCPUs are leaving. Terminal.
 *
 *   Failure. vm_end records the first reason and wakes the device thread, which reports it and
 *   ends the process. vCPU threads never exit the process themselves.
 */
#ifndef VOLT_MACHINE_VM_H
#define VOLT_MACHINE_VM_H

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "control/control.h"
#include "devices/device.h"
#include "machine/kvm_host.h"
#include "machine/vm_state.h"
#include "memory/guest_mem.h"

#define VM_DEVICES_MAX 16u

enum vm_phase { VM_NEW, VM_SHELL, VM_RUNNING, VM_PARKED, VM_ENDED, VM_PHASE_COUNT };

struct vm;

struct vcpu {
    struct vm *vm;
    uint32_t index;
    int fd;              /* owned */
    struct kvm_run *run; /* owned mapping */
    pthread_t thread;
    bool hold_interrupts; /* between WAKE and AWAKE: RFLAGS.IF is kept clear */
    bool saved_if;        /* what RFLAGS.IF was when it was cleared */
    struct {              /* of functions' calls (vcpu_interrupts.c) */
        bool has_timer;
        int timer;         /* the host's, that kicks the thread; ends with the process */
        uint64_t deadline; /* the guest's, as long as it is held back; 0: none is */
        uint64_t began_ns; /* CLOCK_MONOTONIC, of the call that is on; 0: none */
        uint64_t held_ns;  /* in the calls before it */
    } tick;
    uint64_t exits; /* written by its thread only */
};

/* How vCPU 0 learns of a WAKE and tells what happened: over poold's bell socket, or by itself when
 * there is no poold. Called on vCPU 0's thread only. */
struct vm_bell_ops {
    /* Whether wait would return at once. */
    bool (*pending)(struct vm *vm);
    /* Blocks until there is a message of this type, WAKE or GO. 0, or -errno: the VM ends
     * (-ENOTCONN: poold is gone). */
    int (*wait)(struct vm *vm, enum control_type type, struct control_msg *ret_msg);
    /* Reports TROUBLE, BANNER, PARKED, AWAKE or READY. Must not block. */
    void (*report)(struct vm *vm, struct control_msg *msg);
    /* Blocks until there is a CALL, whose payload it puts into room bytes. As wait. */
    int (*wait_call)(struct vm *vm, void *ret_payload, uint32_t room, struct control_msg *ret_msg);
    /* Passes an ANSWER on, with its payload; as report. */
    void (*answer)(struct vm *vm, struct control_msg *msg, const void *payload, uint32_t bytes);
};

/* What the program around a VM does at its stations. Each may be NULL: nothing. */
struct vm_hooks {
    void *context; /* of all of them; borrowed */
    /* On each vCPU's thread before anything of the guest (seccomp). 0, or -errno: the VM ends. */
    int (*thread_enter)(void *context, struct err *err);
    /* On vCPU 0's thread, before the guest's first instruction and before a shell is told of: waits
     * for what others make of the VM meanwhile. vm_end has been called if that failed. */
    void (*meet)(void *context);
    /* On vCPU 0's thread when a shell has nothing to do but wait: time to map memory ahead. */
    void (*shell_idle)(void *context, struct vm *vm);
    /* Once, on vCPU 0's thread, when the VM is what it was made to be: a boot before the guest's
     * first instruction, a shell when it waits for its WAKE, one whose WAKE was there before right
     * after its answer. */
    void (*introduce)(void *context, struct vm *vm);
};

struct vm_doorbell {
    const struct vm_bell_ops *ops;
    int fd;             /* the bell socket, borrowed; -1 none */
    uint32_t op, flags; /* of the WAKE that is being answered */
    uint64_t nonce;
    uint8_t generation_id[16];
    bool park_allowed; /* a PARK is expected: the first, and after PARK_AGAIN or _LATER */
    bool answer_due, ready_due;
    bool banner_told;                      /* of a boot, once */
    bool hold;                             /* wait for CONTROL_GO after the answer */
    uint32_t rest_ms;                      /* of that GO */
    bool function;                         /* the function's bell counts */
    uint32_t call;                         /* that is on; 0: none */
    uint64_t wake_ns, loaded_ns, awake_ns; /* CLOCK_MONOTONIC */
    atomic_uint_fast64_t ignored;          /* malformed accesses */
};

struct vm {
    const struct kvm_host *kvm; /* borrowed */
    int fd;                     /* owned */
    struct guest_mem mem;
    uint32_t vcpu_count;
    bool has_pit;
    struct vcpu vcpu[VM_VCPUS_MAX];

    struct device *device[VM_DEVICES_MAX]; /* owned; the order of save and load */
    uint32_t device_count;

    struct vm_doorbell doorbell;
    const struct vm_state *restore_from; /* borrowed; loaded by the first WAKE of a shell */
    uint64_t first_tick_cycles;          /* so long after it no tick comes; 0: as it was saved */
    uint64_t created_ns;                 /* process start, or fork of a clone */
    uint64_t first_run_ns;
    struct vm_hooks hooks;

    pthread_mutex_t run_lock; /* held by vCPU 0's thread while RUNNING */
    _Atomic enum vm_phase phase;
    pthread_mutex_t halt_lock; /* for the four below; never held while the guest runs */
    pthread_cond_t halt_cond;
    atomic_bool halt_others; /* vCPUs 1.. must stop and wait */
    uint32_t others_stopped; /* under halt_lock; those that have left count too */
    atomic_bool resting;     /* vCPU 0 waits until a device wants the guest's attention */

    int epoll_fd;            /* of the device thread */
    struct vm_poll end_poll; /* eventfd that vm_end rings */
    atomic_int end_reason;   /* enum control_exit_reason; the first one stays */
    char end_detail[CONTROL_DETAIL_BYTES];
    atomic_bool end_ready; /* end_detail is whole */

    /* Devices are loaded before KVM's interrupt chips, whose loading would drop what they raise:
     * until vm_irqs_release their pulses gather here, a bit for each GSI. */
    atomic_bool irqs_held;
    atomic_uint irqs_due;

    atomic_uint_fast64_t unknown_pio, unknown_mmio;
};

struct vm_config {
    uint32_t vcpu_count; /* 1 to VM_VCPUS_MAX */
    bool pit;            /* an 8254: costs a kernel thread each, and no modern guest needs it */
};

/* The VM without KVM's part: its fields, the device thread's poller, and `mem` (laid out and
 * mapped; moved into the vm). Devices can be added from here on. On failure mem stays the caller's.
 */
int vm_init(struct vm *vm, const struct kvm_host *kvm, struct guest_mem *mem,
            const struct vm_config *config, struct err *err);

/* KVM's part: the VM over its memory, with memslots *before* the interrupt chips
 * (docs/host-kvm.md says why), and the vCPUs. Touches nothing that devices use before they raise
 * an interrupt, so that another thread can add and load them meanwhile. */
int vm_make(struct vm *vm, struct err *err);

/* Gives dev (transferred, also on failure) its window and place. -ENOSPC; -EEXIST when windows
 * overlap. NEW only. */
int vm_add_device(struct vm *vm, struct device *dev, struct err *err);

/* Sets one CPUID for a vCPU. NEW only, before any other state. */
int vm_set_cpuid(struct vm *vm, uint32_t vcpu_index, const struct kvm_cpuid_entry2 *entry,
                 uint32_t entry_count, struct err *err);

/* Runs vCPU 0 on the calling thread, and the others on threads of their own, until the VM ends: a
 * machine whose registers are set (boot), or, with restore_from set, a shell that waits on the
 * bell. */
void vm_run(struct vm *vm);

/* The device thread's loop: polls until the VM ends; returns the reason. */
enum control_exit_reason vm_loop_run(struct vm *vm);

/* Ends the VM. The first call wins; later ones are dropped. Any thread, returns at once. */
void vm_end(struct vm *vm, enum control_exit_reason reason, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Frees everything of a machine whose threads never started (tests, failures of set-up). A VM that
 * ran ends with its process: closing a KVM VM waits for milliseconds and nothing else needs it. */
void vm_destroy(struct vm *vm);

/* Sums of the counters, for CONTROL_STATS. Any thread. */
void vm_stats(const struct vm *vm, struct control_msg *ret_msg);

/* ---- vm_state.c ---- */

/* Reads all KVM-held state. PARKED (with run_lock held) or NEW. ret_state->vcpu is the caller's to
 * free. */
int vm_state_save(struct vm *vm, struct vm_state *ret_state, struct err *err);

/* Load state into a machine of the same shape whose vCPUs have their CPUID, in two parts: first all
 * that does not depend on when the guest goes on, then the rest, right before it runs (vm_state.c
 * has the order). vCPU 0's thread, or NEW. 0, or -errno and a static step name. */
int vm_state_prepare(struct vm *vm, const struct vm_state *state, const char **ret_step);
int vm_state_load_time(struct vm *vm, const struct vm_state *state, const char **ret_step);

/* Removes from state the MSRs that a new vCPU of this machine has anyway, so that clones load
 * fewer. The machine is NEW. */
int vm_state_prune_msrs(struct vm *vm, struct vm_state *state, struct err *err);

/* QEMU's software SVM looks up I/O permissions only in a TSS marked available, while KVM saves it
 * marked busy, as the architecture has it, and volt-init's port write would fault: there, marks it
 * so. Elsewhere nothing changes. */
void vm_state_mend_tr(const struct kvm_host *kvm, struct vm_state *state);

/* From now on pulses wait for KVM's state to be loaded, by the first WAKE. Before vm_run. */
void vm_irqs_hold(struct vm *vm);

#endif
