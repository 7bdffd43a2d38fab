/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a machine (vm.h) tell each other, and nobody else:
 *
 *   vm.c        making, interrupts, the device thread's loop, the end
 *   vcpu.c      vCPU threads: KVM_RUN and its exits, from shell to running to parked and back
 *   vcpu_interrupts.c  RFLAGS.IF of a vCPU: holds a tick back
 *   doorbell.c  the bell, the mailbox, the guest's answer; all of struct vm_doorbell
 *   function_bell.c  the function's bell: calls and their answers
 *   vectors.c   vector registers, for a guest's kernel without XSAVE
 *   bus.c       which device an access is for
 */
#ifndef VOLT_MACHINE_INTERNAL_H
#define VOLT_MACHINE_INTERNAL_H

#include "machine/vm.h"

/* ---- vm.c ---- */

/* Calls vm->hooks.introduce, the first time. */
void vm_introduce(struct vm *vm);

/* KVM's state is loaded: raises what has gathered since vm_irqs_hold. vCPU 0's thread. */
void vm_irqs_release(struct vm *vm);

/* vCPU 0's thread stays out of the guest until a device raises an interrupt, at most ms: for a guest
 * that has nothing to do that anybody waits for. vm_rest_begin comes before; interrupts from there
 * on count. Those that KVM raises itself (timers, irqfds) do not. vCPU 0's thread. */
void vm_rest_begin(struct vm *vm);
void vm_rest(struct vm *vm, unsigned ms);

/* ---- vcpu.c ---- */

#define VCPU_KICK_SIGNAL SIGUSR1 /* has KVM_RUN return; its handler does nothing */

void *vcpu_thread_main(void *vcpu);
void vcpu_signal_setup(void);

/* ---- vcpu_interrupts.c. On the vCPU's thread; false: the VM is ended. ---- */

/* Clears IF until it is released. With sync_regs, run->s.regs must hold the registers now: from the
 * last exit, or just loaded. */
bool vcpu_interrupts_hold(struct vcpu *vcpu);
bool vcpu_interrupts_release(struct vcpu *vcpu);

/* It was held between its answer and READY: if a tick is due, it comes after READY. */
bool vcpu_tick_put_off(struct vcpu *vcpu);
/* The vCPU has stopped at the function's bell: takes its timer's deadline away. */
bool vcpu_tick_hold(struct vcpu *vcpu);
/* A call begins. */
bool vcpu_tick_call(struct vcpu *vcpu);
/* It was kicked: in a call, it has its tick now. */
bool vcpu_tick_late(struct vcpu *vcpu);

/* ---- bus.c ---- */

/* An access of a guest, to the device whose window it is in: reads of none are all ones. */
void bus_access(struct vm *vm, enum bus_kind bus, uint64_t address, void *value, uint32_t bytes,
                bool is_write);

/* ---- vm_state.c ---- */

/* KVM's XSAVE area of a vCPU: kvm->xsave_bytes of it. 0 or -errno. Its thread, or stopped. */
int vm_state_xsave_get(int vcpu_fd, const struct kvm_host *kvm, void *ret_area);

/* ---- vectors.c ---- */

/* Whether this vCPU's guest has that port (guest_abi.h): on a software-only KVM alone. */
bool vectors_claims(const struct vcpu *vcpu, uint16_t port);
/* An access to it, on the vCPU's thread. Ends the VM where the guest names no memory. */
void vectors_access(struct vcpu *vcpu, uint16_t port, void *value, uint32_t bytes, bool is_write);

/* ---- doorbell.c. vCPU 0's thread, where nothing else is said. ---- */

enum doorbell_result {
    DOORBELL_CONTINUE, /* run on */
    DOORBELL_PARK,     /* stop here, until a WAKE */
    DOORBELL_STAY,     /* stop here, until a CALL */
    DOORBELL_ENDED,    /* vm_end was called */
};
bool doorbell_claims(uint16_t port);
/* Of any vCPU, on its thread. */
enum doorbell_result doorbell_access(struct vcpu *vcpu, uint16_t port, void *value, uint32_t bytes,
                                     bool is_write);

/* Tells of PARKED. */
void doorbell_report_parked(struct vm *vm, uint64_t at_ns);

/* Waits on the bell for a WAKE. False when the VM ended meanwhile, or is ended for it. */
bool doorbell_wait(struct vm *vm, struct control_msg *ret_wake);

/* What a wait on the bell came to: ends the VM if that failed, with -errno. Whether it goes on. */
bool doorbell_waited(struct vm *vm, int rc);

/* A WAKE has come: the clock of its figures starts. */
void doorbell_woken(struct vm *vm);

/* Takes it: fills the mailbox and notes what answer is due. loaded: state was loaded for it. */
void doorbell_wake(struct vm *vm, const struct control_msg *wake, bool loaded);

/* After the answer, if poold wants it so (DOORBELL_FLAG_HOLD): waits for its GO. Many guests that
 * answer at once would else compete with their kernels' work for the time that the rest needs for
 * their answers. False when the VM ended meanwhile. */
bool doorbell_stay_held(struct vm *vm);

/* Whether the guest may have interrupts again, held since its WAKE: at the answer; but who asks
 * nothing of the guest's kernel gets no tick either before READY, nor before the VM has parked again
 * and is woken for good. */
bool doorbell_may_release(const struct vm *vm);

/* ---- function_bell.c. vCPU 0's thread. ---- */

/* The bell is rung where it counts: passes on the answer to the call that is on. */
enum doorbell_result function_bell_ring(struct vm *vm, uint32_t value);

/* The vCPU has stopped there: tells of PARKED if that is what it was to come to. */
void function_bell_stopped(struct vm *vm);

/* Waits for a CALL, whose request is in the guest's memory then. False when the VM ended meanwhile,
 * or is ended for it. */
bool function_bell_wait(struct vm *vm, struct control_msg *ret_call);

/* Takes it: the guest's head says that there is one. */
void function_bell_called(struct vm *vm, const struct control_msg *call);

#endif
