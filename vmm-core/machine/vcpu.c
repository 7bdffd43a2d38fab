/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a vCPU's thread: the KVM_RUN loop, its exits, and vCPU 0's way from shell to running to
 * parked and back.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/util.h"
#include "machine/machine_internal.h"

static void kick_handler(int signal)
{
    (void)signal; /* only there to make KVM_RUN return */
}

void vcpu_signal_setup(void)
{
    struct sigaction action = { .sa_handler = kick_handler };

    sigaction(VCPU_KICK_SIGNAL, &action, NULL);
}

/* Has KVM_RUN return before it enters the guest. Of another vCPU, whose thread sets it too. */
static void exit_at_once(struct vcpu *vcpu, bool on)
{
    __atomic_store_n(&vcpu->run->immediate_exit, on, __ATOMIC_RELAXED);
}

/* ---- Stopping and waking the other vCPUs ---- */

/* Until all others stand in stay_halted, or have left. halt_lock is held. */
static void await_others(struct vm *vm)
{
    while (vm->others_stopped < vm->vcpu_count - 1)
        pthread_cond_wait(&vm->halt_cond, &vm->halt_lock);
}

static void halt_others(struct vm *vm)
{
    if (vm->vcpu_count == 1)
        return;
    pthread_mutex_lock(&vm->halt_lock);
    atomic_store(&vm->halt_others, true);
    for (uint32_t i = 1; i < vm->vcpu_count; i++) {
        exit_at_once(&vm->vcpu[i], true);
        pthread_kill(vm->vcpu[i].thread, VCPU_KICK_SIGNAL);
    }
    await_others(vm);
    pthread_mutex_unlock(&vm->halt_lock);
}

static void let_others_run(struct vm *vm)
{
    if (vm->vcpu_count == 1)
        return;
    pthread_mutex_lock(&vm->halt_lock);
    atomic_store(&vm->halt_others, false);
    pthread_cond_broadcast(&vm->halt_cond);
    pthread_mutex_unlock(&vm->halt_lock);
}

/* Of a vCPU other than 0, settled. */
static void stay_halted(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;

    pthread_mutex_lock(&vm->halt_lock);
    vm->others_stopped++;
    pthread_cond_broadcast(&vm->halt_cond);
    while (atomic_load(&vm->halt_others))
        pthread_cond_wait(&vm->halt_cond, &vm->halt_lock);
    vm->others_stopped--;
    exit_at_once(vcpu, false);
    pthread_mutex_unlock(&vm->halt_lock);
}

/* A vCPU other than 0 runs no more: nobody waits for it. */
static void leave(struct vm *vm)
{
    pthread_mutex_lock(&vm->halt_lock);
    vm->others_stopped++;
    pthread_cond_broadcast(&vm->halt_cond);
    pthread_mutex_unlock(&vm->halt_lock);
}

/* ---- Exits ---- */

/* What the loop does after an exit. */
enum exit_action { EXIT_RUN_ON, EXIT_PARK, EXIT_STAY, EXIT_LEAVE };

static enum exit_action exit_pio(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    bool is_write = run->io.direction == KVM_EXIT_IO_OUT;

    for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
        if (vectors_claims(vcpu, run->io.port)) {
            vectors_access(vcpu, run->io.port, data, run->io.size, is_write);
            continue;
        }
        if (!doorbell_claims(run->io.port)) {
            bus_access(vcpu->vm, BUS_PIO, run->io.port, data, run->io.size, is_write);
            continue;
        }
        switch (doorbell_access(vcpu, run->io.port, data, run->io.size, is_write)) {
        case DOORBELL_CONTINUE:
            break;
        case DOORBELL_PARK:
            return EXIT_PARK;
        case DOORBELL_STAY:
            return EXIT_STAY;
        case DOORBELL_ENDED:
            return EXIT_LEAVE;
        }
    }
    if (!doorbell_stay_held(vcpu->vm))
        return EXIT_LEAVE;
    if (vcpu->hold_interrupts && doorbell_may_release(vcpu->vm)) {
        if (!vcpu_interrupts_release(vcpu))
            return EXIT_LEAVE;
        let_others_run(vcpu->vm);
        guest_mem_read_ahead(&vcpu->vm->mem);
    }
    return EXIT_RUN_ON;
}

static enum exit_action exit_mmio(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;

    bus_access(vcpu->vm, BUS_MMIO, run->mmio.phys_addr, run->mmio.data,
               MIN_OF(run->mmio.len, (uint32_t)sizeof run->mmio.data), run->mmio.is_write);
    return EXIT_RUN_ON;
}

static enum exit_action exit_run_on(struct vcpu *vcpu)
{
    (void)vcpu;
    return EXIT_RUN_ON;
}

static enum exit_action exit_shutdown(struct vcpu *vcpu)
{
    vm_end(vcpu->vm, EXIT_REASON_TRIPLE_FAULT, "vCPU %u: triple fault", vcpu->index);
    return EXIT_LEAVE;
}

static enum exit_action exit_internal_error(struct vcpu *vcpu)
{
    const struct kvm_run *run = vcpu->run;
    struct kvm_regs regs = { 0 };
    char bytes[3 * 15 + 1] = "";

    ioctl(vcpu->fd, KVM_GET_REGS, &regs);
    if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION &&
        run->emulation_failure.ndata >= 3 &&
        (run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)) {
        uint32_t count = MIN_OF(run->emulation_failure.insn_size, 15u);

        for (uint32_t i = 0; i < count; i++)
            snprintf(bytes + 3 * i, 4, " %02x", run->emulation_failure.insn_bytes[i]);
    }
    vm_end(vcpu->vm, EXIT_REASON_INTERNAL_ERROR,
           "vCPU %u: KVM internal error, suberror %u, at RIP 0x%llx%s%s", vcpu->index,
           run->internal.suberror, (unsigned long long)regs.rip, *bytes ? ", instruction" : "",
           bytes);
    return EXIT_LEAVE;
}

static enum exit_action exit_fail_entry(struct vcpu *vcpu)
{
    vm_end(vcpu->vm, EXIT_REASON_ENTRY_FAILED, "vCPU %u: entry failed, hardware reason 0x%llx",
           vcpu->index, (unsigned long long)vcpu->run->fail_entry.hardware_entry_failure_reason);
    return EXIT_LEAVE;
}

static enum exit_action exit_system_event(struct vcpu *vcpu)
{
    bool crash = vcpu->run->system_event.type == KVM_SYSTEM_EVENT_CRASH;

    vm_end(vcpu->vm, crash ? EXIT_REASON_TRIPLE_FAULT : EXIT_REASON_GUEST_POWEROFF,
           "vCPU %u: system event %u", vcpu->index, vcpu->run->system_event.type);
    return EXIT_LEAVE;
}

static enum exit_action (*const exit_handlers[])(struct vcpu *) = {
    [KVM_EXIT_IO] = exit_pio,
    [KVM_EXIT_MMIO] = exit_mmio,
    [KVM_EXIT_INTR] = exit_run_on,
    [KVM_EXIT_IRQ_WINDOW_OPEN] = exit_run_on,
    [KVM_EXIT_SHUTDOWN] = exit_shutdown,
    [KVM_EXIT_INTERNAL_ERROR] = exit_internal_error,
    [KVM_EXIT_FAIL_ENTRY] = exit_fail_entry,
    [KVM_EXIT_SYSTEM_EVENT] = exit_system_event,
};

static enum exit_action handle_exit(struct vcpu *vcpu)
{
    uint32_t reason = vcpu->run->exit_reason;

    if (reason < ARRAY_LEN(exit_handlers) && exit_handlers[reason])
        return exit_handlers[reason](vcpu);
    vm_end(vcpu->vm, EXIT_REASON_INTERNAL_ERROR, "vCPU %u: unexpected KVM exit %u", vcpu->index,
           reason);
    return EXIT_LEAVE;
}

static enum exit_action run_once(struct vcpu *vcpu)
{
    if (ioctl(vcpu->fd, KVM_RUN, 0) < 0) {
        if (errno == EINTR || errno == EAGAIN)
            return vcpu_tick_late(vcpu) ? EXIT_RUN_ON : EXIT_LEAVE;
        vm_end(vcpu->vm, EXIT_REASON_HOST_ERROR, "vCPU %u: KVM_RUN: %s", vcpu->index,
               strerror(errno));
        return EXIT_LEAVE;
    }
    vcpu->exits++;
    return handle_exit(vcpu);
}

/* Finishes the instruction of the last exit of a vCPU other than 0, so that what is saved is a
 * clean boundary. An access that KVM splits comes in several exits; they are bounded, as no further
 * instruction is run. */
static bool settle(struct vcpu *vcpu)
{
    enum exit_action action = EXIT_RUN_ON;
    int rc;

    do {
        exit_at_once(vcpu, true);
        rc = ioctl(vcpu->fd, KVM_RUN, 0);
        if (rc == 0)
            action = handle_exit(vcpu);
    } while (rc == 0 && action == EXIT_RUN_ON);
    if (rc < 0 && errno != EINTR && errno != EAGAIN) {
        vm_end(vcpu->vm, EXIT_REASON_HOST_ERROR, "vCPU %u: completing an exit: %s", vcpu->index,
               strerror(errno));
        return false;
    }
    return action == EXIT_RUN_ON;
}

/* ---- vCPU 0: shell, running, parked ---- */

/* Enters KVM_RUN without entering the guest. Finishes the instruction of the last exit, so that
 * what is saved is a clean boundary; on a machine that has not run it takes what the first run
 * costs anyway (KVM starts a worker thread for each VM there). */
static bool complete_exit(struct vcpu *vcpu)
{
    int rc;

    vcpu->run->kvm_valid_regs = vcpu->vm->kvm->sync_regs ? KVM_SYNC_X86_REGS : 0;
    exit_at_once(vcpu, true);
    rc = ioctl(vcpu->fd, KVM_RUN, 0);
    exit_at_once(vcpu, false);
    if (rc == 0 || errno != EINTR) {
        vm_end(vcpu->vm, EXIT_REASON_HOST_ERROR, "vCPU %u: completing an exit: %s", vcpu->index,
               rc == 0 ? "it ran on" : strerror(errno));
        return false;
    }
    return true;
}

/* Waits on the bell, run_lock given up by the caller, and takes it back with a WAKE in hand. */
static bool wait_for_wake(struct vm *vm, struct control_msg *ret_wake)
{
    bool woken = doorbell_wait(vm, ret_wake);

    pthread_mutex_lock(&vm->run_lock);
    doorbell_woken(vm);
    return woken;
}

static bool wake(struct vcpu *vcpu, const struct control_msg *msg)
{
    struct vm *vm = vcpu->vm;

    doorbell_wake(vm, msg, vm->restore_from != NULL);
    atomic_store(&vm->phase, VM_RUNNING);
    return vcpu_interrupts_hold(vcpu);
}

/* Parks vCPU 0: completes the port write, stops the others, waits for the next WAKE. False when the
 * VM ended meanwhile. */
static bool park(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    struct control_msg msg;

    if (!complete_exit(vcpu))
        return false;
    halt_others(vm);
    uint64_t now = now_ns();
    atomic_store(&vm->phase, VM_PARKED);
    /* Given up before it is told: who hears PARKED may ask for a snapshot at once. */
    pthread_mutex_unlock(&vm->run_lock);
    doorbell_report_parked(vm, now);
    return wait_for_wake(vm, &msg) && wake(vcpu, &msg);
}

/* Stops vCPU 0 at the function's bell as park does, until there is a call. */
static bool stay(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    struct control_msg call;

    if (!complete_exit(vcpu) || !vcpu_tick_hold(vcpu))
        return false;
    /* Whoever asked nothing of the kernel has it so still. */
    if (vcpu->hold_interrupts && !vcpu_interrupts_release(vcpu))
        return false;
    halt_others(vm);
    atomic_store(&vm->phase, VM_PARKED);
    pthread_mutex_unlock(&vm->run_lock);
    function_bell_stopped(vm);
    bool called = function_bell_wait(vm, &call);
    pthread_mutex_lock(&vm->run_lock);
    if (!called)
        return false;
    function_bell_called(vm, &call);
    atomic_store(&vm->phase, VM_RUNNING);
    let_others_run(vm);
    return vcpu_tick_call(vcpu);
}

static bool load_failed(struct vm *vm, const char *step, int rc)
{
    vm_end(vm, EXIT_REASON_HOST_ERROR, "loading the saved state: %s: %s", step, strerror(-rc));
    return false;
}

/* False when what others make of the VM has failed. */
static bool meet(struct vm *vm)
{
    if (vm->hooks.meet)
        vm->hooks.meet(vm->hooks.context);
    return atomic_load(&vm->end_reason) == EXIT_REASON_NONE;
}

static bool start_from_shell(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    struct control_msg msg;
    const char *step;

    int rc = vm_state_prepare(vm, vm->restore_from, &step);
    if (rc < 0)
        return load_failed(vm, step, rc);
    if (!complete_exit(vcpu) || !meet(vm))
        return false;
    atomic_store(&vm->phase, VM_SHELL);
    if (!vm->doorbell.ops->pending(vm)) {
        if (vm->hooks.shell_idle)
            vm->hooks.shell_idle(vm->hooks.context, vm);
        pthread_mutex_lock(&vm->halt_lock);
        await_others(vm); /* their start would compete with the WAKE that comes of being told */
        pthread_mutex_unlock(&vm->halt_lock);
        vm_introduce(vm);
    }
    pthread_mutex_unlock(&vm->run_lock);
    if (!wait_for_wake(vm, &msg))
        return false;
    rc = vm_state_load_time(vm, vm->restore_from, &step);
    if (rc < 0)
        return load_failed(vm, step, rc);
    vm_irqs_release(vm);
    vcpu->run->s.regs.regs = vm->restore_from->vcpu[0].regs;
    bool ok = wake(vcpu, &msg);
    vm->restore_from = NULL;
    vm->first_run_ns = now_ns();
    return ok;
}

static bool vcpu_start(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    struct err err;

    if (vm->hooks.thread_enter && vm->hooks.thread_enter(vm->hooks.context, &err) < 0) {
        vm_end(vm, EXIT_REASON_HOST_ERROR, "vCPU %u: %s", vcpu->index, err.msg);
        return false;
    }
    if (vcpu->index > 0)
        return true;
    pthread_mutex_lock(&vm->run_lock);
    if (vm->restore_from)
        return start_from_shell(vcpu);
    if (!meet(vm))
        return false;
    vm_introduce(vm);
    vm->first_run_ns = now_ns();
    atomic_store(&vm->phase, VM_RUNNING);
    return true;
}

void *vcpu_thread_main(void *arg)
{
    struct vcpu *vcpu = arg;
    struct vm *vm = vcpu->vm;
    bool go_on = vcpu_start(vcpu);

    while (go_on && atomic_load(&vm->end_reason) == EXIT_REASON_NONE) {
        if (vcpu->index > 0 && atomic_load(&vm->halt_others)) {
            if (!settle(vcpu))
                break;
            stay_halted(vcpu);
        }
        enum exit_action action = run_once(vcpu);
        go_on = action == EXIT_RUN_ON || (action == EXIT_PARK && park(vcpu)) ||
                (action == EXIT_STAY && stay(vcpu));
    }
    if (vcpu->index == 0)
        pthread_mutex_unlock(&vm->run_lock);
    else
        leave(vm);
    return NULL;
}
