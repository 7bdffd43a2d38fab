/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a vCPU's RFLAGS.IF and its timer's deadline where the VMM changes them: to hold a tick back.
 *
 * How a wake goes
 *   A timer tick that fell due while the VM was stopped would run before the guest's next user
 *   instruction: milliseconds of guest kernel code in front of the answer. So RFLAGS.IF is cleared
 *   when the vCPU is woken at the doorbell and set again at its answer; the tick comes then.
 *
 * How a function's call goes
 *   The guest may be long in it, make system calls and have page faults, which a kernel takes ill with
 *   IF clear. So IF stays as it is, and it is the timer that is held back: when the VM stops at the
 *   function's bell, its TSC deadline is taken away. It is given back FUNCTION_TICK_MS into a call, or
 *   into several, by a timer of the host that kicks the vCPU; unless the guest has set another one
 *   meanwhile, at which it will find that the first is over. To the guest, an interrupt was late.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "base/util.h"
#include "machine/machine_internal.h"

#define RFLAGS_IF 0x200ull
#define MSR_TSC_DEADLINE 0x6e0u

/* ---- RFLAGS.IF while an answer is due ---- */

/* Sets or clears it. With sync_regs, run->s.regs must hold the registers now: from the last exit, or
 * just loaded. 0 and what it was, or -errno. */
static int set_if(struct vcpu *vcpu, bool on, bool *ret_was_on)
{
    struct kvm_regs regs;
    bool sync = vcpu->vm->kvm->sync_regs;
    struct kvm_regs *at = sync ? &vcpu->run->s.regs.regs : &regs;

    if (!sync && ioctl(vcpu->fd, KVM_GET_REGS, at) < 0)
        return -errno;
    *ret_was_on = (at->rflags & RFLAGS_IF) != 0;
    at->rflags = on ? at->rflags | RFLAGS_IF : at->rflags & ~RFLAGS_IF;
    if (sync)
        vcpu->run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
    else if (ioctl(vcpu->fd, KVM_SET_REGS, at) < 0)
        return -errno;
    return 0;
}

static bool if_was_set(struct vcpu *vcpu, int rc)
{
    if (rc < 0)
        vm_end(vcpu->vm, EXIT_REASON_HOST_ERROR, "setting RFLAGS: %s", strerror(-rc));
    return rc == 0;
}

bool vcpu_interrupts_hold(struct vcpu *vcpu)
{
    bool was_on;
    int rc = set_if(vcpu, false, &was_on);

    if (!vcpu->hold_interrupts)
        vcpu->saved_if = was_on;
    vcpu->hold_interrupts = true;
    return if_was_set(vcpu, rc);
}

bool vcpu_interrupts_release(struct vcpu *vcpu)
{
    bool was_on;
    int rc = vcpu->saved_if ? set_if(vcpu, true, &was_on) : 0;

    vcpu->hold_interrupts = false;
    vcpu->run->kvm_valid_regs = 0;
    return if_was_set(vcpu, rc);
}

/* ---- The timer's deadline ---- */

static int deadline_access(struct vcpu *vcpu, unsigned long request, uint64_t *deadline)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } msrs = { .head.nmsrs = 1, .entry = { .index = MSR_TSC_DEADLINE, .data = *deadline } };

    if (ioctl(vcpu->fd, request, &msrs) < 0)
        return -errno;
    *deadline = msrs.entry.data;
    return 0;
}

static bool deadline_was(struct vcpu *vcpu, int rc)
{
    if (rc < 0)
        vm_end(vcpu->vm, EXIT_REASON_HOST_ERROR, "the guest's timer: %s", strerror(-rc));
    return rc == 0;
}

bool vcpu_tick_put_off(struct vcpu *vcpu)
{
    uint64_t deadline = 0, least = __rdtsc() + vcpu->vm->first_tick_cycles;
    int rc = vcpu->vm->first_tick_cycles ? deadline_access(vcpu, KVM_GET_MSRS, &deadline) : 0;

    if (rc == 0 && deadline && deadline < least)
        rc = deadline_access(vcpu, KVM_SET_MSRS, &least);
    return deadline_was(vcpu, rc);
}

/* ---- The tick around a function's calls ---- */

/* The time that the guest has is not lost: a deadline that is over is due at once. */
static int tick_give_back(struct vcpu *vcpu)
{
    uint64_t now = 0, none = 0;
    int rc = vcpu->tick.deadline ? deadline_access(vcpu, KVM_GET_MSRS, &now) : 0;

    if (rc == 0 && vcpu->tick.deadline && now == none)
        rc = deadline_access(vcpu, KVM_SET_MSRS, &vcpu->tick.deadline);
    vcpu->tick.deadline = 0;
    vcpu->tick.held_ns = 0;
    return rc;
}

static int timer_set(struct vcpu *vcpu, uint64_t after_ns)
{
    struct itimerspec time = { .it_value.tv_nsec = (long)after_ns };

    if (after_ns)
        time.it_interval.tv_nsec =
            FUNCTION_TICK_MS * (long)NS_PER_MS; /* for a kick that is missed */
    return syscall(SYS_timer_settime, vcpu->tick.timer, 0, &time, NULL) < 0 ? -errno : 0;
}

static int timer_make(struct vcpu *vcpu)
{
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = VCPU_KICK_SIGNAL };

    event._sigev_un._tid = gettid();
    if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &vcpu->tick.timer) < 0)
        return -errno;
    vcpu->tick.has_timer = true;
    return 0;
}

bool vcpu_tick_hold(struct vcpu *vcpu)
{
    uint64_t deadline = 0, none = 0;
    int rc = vcpu->tick.has_timer ? 0 : timer_make(vcpu);

    if (rc == 0 && vcpu->tick.began_ns) {
        vcpu->tick.held_ns += now_ns() - vcpu->tick.began_ns;
        vcpu->tick.began_ns = 0;
        rc = timer_set(vcpu, 0);
    }
    if (rc == 0)
        rc = deadline_access(vcpu, KVM_GET_MSRS, &deadline);
    if (rc == 0 && deadline) {
        vcpu->tick.deadline = deadline;
        rc = deadline_access(vcpu, KVM_SET_MSRS, &none);
    }
    return deadline_was(vcpu, rc);
}

bool vcpu_tick_call(struct vcpu *vcpu)
{
    const uint64_t most = FUNCTION_TICK_MS * NS_PER_MS;
    int rc = vcpu->tick.held_ns < most ? 0 : tick_give_back(vcpu);

    vcpu->tick.began_ns = now_ns();
    if (rc == 0)
        rc = timer_set(vcpu, most - vcpu->tick.held_ns);
    return deadline_was(vcpu, rc);
}

bool vcpu_tick_late(struct vcpu *vcpu)
{
    return !vcpu->tick.began_ns || deadline_was(vcpu, tick_give_back(vcpu));
}
