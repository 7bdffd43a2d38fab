/* SPDX-License-Identifier: Apache-2.0 */
/* Owns reading and writing KVM's state of a stopped machine (vm_state.h).
 *
 * Loading has two parts. vm_state_prepare loads all that does not depend on when the guest goes on;
 * a shell has that behind it before anybody waits. vm_state_load_time loads the rest: TSC and
 * TSC_DEADLINE, the clock, and the local APICs whose timer starts to count by it.
 *
 * Order of loading, each for a reason (KVM API 4.x, and what others found the hard way):
 *   CPUID is set before (it decides which MSRs and XSAVE parts exist); MP_STATE, REGS, SREGS (which
 *   carries APIC_BASE, needed by the LAPIC), XSAVE before XCRS (XCR0 widens what XSAVE may hold,
 * but KVM takes the full area at any time), DEBUGREGS, the MSRs, EVENTS after SREGS, which clears
 *   pending ones; the PICs and the IOAPIC. Then the LAPIC, which drops what the IOAPIC has just sent
 *   (it was there before, and is saved), and before TSC_DEADLINE (which is dropped while the LAPIC
 *   timer is not in that mode); TSC before TSC_DEADLINE (which is relative to it), and before the
 *   LAPICs whose timer counts (KVM reckons by it when that is due); the PIT, and the clock, so that
 *   kvmclock goes on from where it stopped.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <x86intrin.h>

#include "base/util.h"
#include "machine/machine_internal.h"

#define MSR_TSC 0x10u
#define MSR_TSC_DEADLINE 0x6e0u
#define TSC_FAR (1ull << 60) /* in cycles: years */

/* Of the local APIC's page (Intel SDM 3A, 11.5.4). */
#define LAPIC_TIMER 0x320u
#define LAPIC_TIMER_MODE (3u << 17)
#define LAPIC_TIMER_DEADLINE (2u << 17)
#define LAPIC_INITIAL_COUNT 0x380u

/* struct kvm_msrs ends in a flexible array. */
struct msr_batch {
    struct kvm_msrs head;
    struct kvm_msr_entry entry[VM_MSRS_MAX];
};

/* ---- Steps: one ioctl each, one table for each direction ---- */

struct vcpu_step {
    const char *name;
    unsigned long request;
    size_t offset; /* of the argument in struct vcpu_state */
};

#define VCPU_STEP(ioctl, member)                                                                   \
    {                                                                                              \
        .name = #ioctl, .request = ioctl, .offset = offsetof(struct vcpu_state, member)            \
    }

static const struct vcpu_step save_steps[] = {
    VCPU_STEP(KVM_GET_MP_STATE, mp_state),   VCPU_STEP(KVM_GET_REGS, regs),
    VCPU_STEP(KVM_GET_SREGS, sregs),         VCPU_STEP(KVM_GET_XCRS, xcrs),
    VCPU_STEP(KVM_GET_DEBUGREGS, debugregs), VCPU_STEP(KVM_GET_LAPIC, lapic),
};

static const struct vcpu_step prepare_steps[] = {
    VCPU_STEP(KVM_SET_MP_STATE, mp_state), VCPU_STEP(KVM_SET_REGS, regs),
    VCPU_STEP(KVM_SET_SREGS, sregs),       VCPU_STEP(KVM_SET_XSAVE, xsave),
    VCPU_STEP(KVM_SET_XCRS, xcrs),         VCPU_STEP(KVM_SET_DEBUGREGS, debugregs),
};

/* ---- Saving ---- */

/* Reads every listed MSR that answers. KVM stops at the first one that does not: skip it and go on
 * behind it. */
static int save_msrs(int vcpu_fd, const struct kvm_host *kvm, struct vcpu_state *state,
                     struct err *err)
{
    _cleanup_free_ struct msr_batch *batch = calloc(1, sizeof *batch);
    uint32_t at = 0;

    if (!batch)
        return err_set_errno(err, ENOMEM, "reading MSRs");
    state->msr_count = 0;
    while (at < kvm->msr_count) {
        uint32_t asked = kvm->msr_count - at;

        batch->head.nmsrs = asked;
        for (uint32_t i = 0; i < asked; i++)
            batch->entry[i] = (struct kvm_msr_entry){ .index = kvm->msr_index[at + i] };
        int got = ioctl(vcpu_fd, KVM_GET_MSRS, batch);
        if (got < 0)
            return err_set_errno(err, errno, "KVM_GET_MSRS from 0x%x", kvm->msr_index[at]);
        memcpy(&state->msr[state->msr_count], batch->entry, (size_t)got * sizeof *batch->entry);
        state->msr_count += (uint32_t)got;
        at += (uint32_t)got + 1;
    }
    return 0;
}

/* Drops the MSRs that can be read but not written back (KVM refuses what the CPU itself reports),
 * by trying: the machine is stopped and gets the values that it has. The TSC would jump back, so
 * it is not tried. */
static void drop_unwritable_msrs(int vcpu_fd, struct vcpu_state *state)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } one = { .head = { .nmsrs = 1 } };
    uint32_t kept = 0;

    for (uint32_t i = 0; i < state->msr_count; i++) {
        one.entry = state->msr[i];
        if (one.entry.index == MSR_TSC || ioctl(vcpu_fd, KVM_SET_MSRS, &one) == 1)
            state->msr[kept++] = state->msr[i];
    }
    state->msr_count = kept;
}

static void move_deadline_last(struct vcpu_state *state)
{
    for (uint32_t i = 0; i + 1 < state->msr_count; i++) {
        if (state->msr[i].index != MSR_TSC_DEADLINE)
            continue;
        struct kvm_msr_entry deadline = state->msr[i];
        memmove(&state->msr[i], &state->msr[i + 1],
                (state->msr_count - i - 1) * sizeof state->msr[0]);
        state->msr[state->msr_count - 1] = deadline;
        return;
    }
}

int vm_state_xsave_get(int vcpu_fd, const struct kvm_host *kvm, void *ret_area)
{
    bool large = kvm->xsave_bytes > sizeof(struct kvm_xsave);

    return ioctl(vcpu_fd, large ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, ret_area) < 0 ? -errno : 0;
}

static int save_xsave(int vcpu_fd, const struct kvm_host *kvm, struct vcpu_state *state,
                      struct err *err)
{
    int rc = vm_state_xsave_get(vcpu_fd, kvm, state->xsave);

    state->xsave_bytes = kvm->xsave_bytes;
    return rc < 0 ? err_set_errno(err, -rc, "KVM_GET_XSAVE of %u bytes", kvm->xsave_bytes) : 0;
}

static int save_cpuid(int vcpu_fd, struct vcpu_state *state, struct err *err)
{
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entry[VM_CPUID_MAX];
    } cpuid = { .head = { .nent = VM_CPUID_MAX } };

    if (ioctl(vcpu_fd, KVM_GET_CPUID2, &cpuid) < 0)
        return err_set_errno(err, errno, "KVM_GET_CPUID2");
    state->cpuid_count = cpuid.head.nent;
    memcpy(state->cpuid, cpuid.entry, cpuid.head.nent * sizeof cpuid.entry[0]);
    return 0;
}

static int save_vcpu(const struct vcpu *vcpu, const struct kvm_host *kvm, struct vcpu_state *state,
                     struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(save_steps); i++) {
        if (ioctl(vcpu->fd, save_steps[i].request, (char *)state + save_steps[i].offset) < 0)
            return err_set_errno(err, errno, "%s", save_steps[i].name);
    }
    int khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);
    state->tsc_khz = khz > 0 ? (uint32_t)khz : 0;
    int rc = save_xsave(vcpu->fd, kvm, state, err);
    if (rc == 0)
        rc = save_cpuid(vcpu->fd, state, err);
    if (rc == 0)
        rc = save_msrs(vcpu->fd, kvm, state, err);
    if (rc < 0)
        return rc;
    drop_unwritable_msrs(vcpu->fd, state);
    move_deadline_last(state);
    if (ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &state->events) < 0)
        return err_set_errno(err, errno, "KVM_GET_VCPU_EVENTS");
    return 0;
}

static int save_chips(struct vm *vm, struct vm_state *state, struct err *err)
{
    state->pic_master.chip_id = KVM_IRQCHIP_PIC_MASTER;
    state->pic_slave.chip_id = KVM_IRQCHIP_PIC_SLAVE;
    state->ioapic.chip_id = KVM_IRQCHIP_IOAPIC;
    if (vm->has_pit && ioctl(vm->fd, KVM_GET_PIT2, &state->pit) < 0)
        return err_set_errno(err, errno, "KVM_GET_PIT2");
    if (ioctl(vm->fd, KVM_GET_CLOCK, &state->clock) < 0)
        return err_set_errno(err, errno, "KVM_GET_CLOCK");
    if (ioctl(vm->fd, KVM_GET_IRQCHIP, &state->pic_master) < 0 ||
        ioctl(vm->fd, KVM_GET_IRQCHIP, &state->pic_slave) < 0 ||
        ioctl(vm->fd, KVM_GET_IRQCHIP, &state->ioapic) < 0)
        return err_set_errno(err, errno, "KVM_GET_IRQCHIP");
    return 0;
}

/* The place of an MSR in vcpu->msr; msr_count when it is not there. */
static uint32_t find_msr(const struct vcpu_state *vcpu, uint32_t index)
{
    uint32_t at = 0;

    while (at < vcpu->msr_count && vcpu->msr[at].index != index)
        at++;
    return at;
}

/* Gives all vCPUs the TSC of the first. They were stopped before any was read, so it turns none
 * back; and what lies between two readings would come out as a TSC out of step: KVM keeps those in
 * step that are loaded with the same time, give or take a second. */
static void align_tsc(struct vm_state *state)
{
    uint32_t first = find_msr(&state->vcpu[0], MSR_TSC);

    for (uint32_t i = 1; i < state->vcpu_count && first < state->vcpu[0].msr_count; i++) {
        uint32_t tsc = find_msr(&state->vcpu[i], MSR_TSC);
        if (tsc < state->vcpu[i].msr_count)
            state->vcpu[i].msr[tsc].data = state->vcpu[0].msr[first].data;
    }
}

int vm_state_save(struct vm *vm, struct vm_state *ret_state, struct err *err)
{
    struct vm_state state = { .vcpu_count = vm->vcpu_count, .has_pit = vm->has_pit };
    int rc = 0;

    state.vcpu = calloc(vm->vcpu_count, sizeof *state.vcpu);
    if (!state.vcpu)
        return err_set_errno(err, ENOMEM, "saving vCPU state");
    for (uint32_t i = 0; rc == 0 && i < vm->vcpu_count; i++) {
        rc = save_vcpu(&vm->vcpu[i], vm->kvm, &state.vcpu[i], err);
        if (rc < 0)
            rc = err_wrap(err, "saving vCPU %u", i);
    }
    if (rc == 0)
        align_tsc(&state);
    if (rc == 0)
        rc = save_chips(vm, &state, err);
    if (rc < 0) {
        vm_state_fini(&state);
        return rc;
    }
    *ret_state = state;
    return 0;
}

/* ---- Loading ---- */

/* A guest's kernel has its work up to READY done by then: a tick in the middle would be 3,000
 * emulated instructions more. No longer than such a kernel's own tick, so that none is lost. */
#define FIRST_TICK_MS 40u

static bool depends_on_time(uint32_t msr_index)
{
    return msr_index == MSR_TSC || msr_index == MSR_TSC_DEADLINE;
}

/* A software-only KVM gives guests the host's TSC as it is, whatever is written: a saved deadline
 * is then of the host's past, or, after the host was started anew, of its far future. It is moved
 * to as long from now as it was from the snapshot, but past READY. (The guest's clock there is
 * kvmclock.) */
static uint64_t deadline_from_now(const struct vm *vm, const struct vcpu_state *state,
                                  uint64_t saved_deadline)
{
    uint32_t tsc = find_msr(state, MSR_TSC);

    if (saved_deadline == 0 || tsc == state->msr_count)
        return saved_deadline;
    uint64_t saved_tsc = state->msr[tsc].data;
    uint64_t left = saved_deadline > saved_tsc ? saved_deadline - saved_tsc : 0;

    return __rdtsc() + MAX_OF(left, vm->first_tick_cycles);
}

/* Sets the MSRs that do, or do not, depend on time, in their saved order. */
static int load_msrs(const struct vcpu *vcpu, const struct vcpu_state *state, bool of_time)
{
    struct msr_batch batch;

    batch.head = (struct kvm_msrs){ .nmsrs = 0 };
    for (uint32_t i = 0; i < state->msr_count; i++) {
        struct kvm_msr_entry *entry = &batch.entry[batch.head.nmsrs];

        if (depends_on_time(state->msr[i].index) != of_time)
            continue;
        *entry = state->msr[i];
        if (entry->index == MSR_TSC_DEADLINE && vcpu->vm->kvm->software_only)
            entry->data = deadline_from_now(vcpu->vm, state, entry->data);
        batch.head.nmsrs++;
    }
    int set = ioctl(vcpu->fd, KVM_SET_MSRS, &batch);
    if (set < 0)
        return -errno;
    return (uint32_t)set == batch.head.nmsrs ? 0 : -EINVAL;
}

static int run_steps(int vcpu_fd, const struct vcpu_step *step, size_t step_count,
                     const struct vcpu_state *state, const char **ret_step)
{
    for (size_t i = 0; i < step_count; i++) {
        *ret_step = step[i].name;
        if (ioctl(vcpu_fd, step[i].request, (const char *)state + step[i].offset) < 0)
            return -errno;
    }
    return 0;
}

static int prepare_vcpu(const struct vcpu *vcpu, const struct vcpu_state *state,
                        const char **ret_step)
{
    int rc = run_steps(vcpu->fd, prepare_steps, ARRAY_LEN(prepare_steps), state, ret_step);

    if (rc < 0)
        return rc;
    *ret_step = "KVM_SET_MSRS";
    rc = load_msrs(vcpu, state, false);
    if (rc < 0)
        return rc;
    *ret_step = "KVM_SET_VCPU_EVENTS";
    return ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &state->events) < 0 ? -errno : 0;
}

/* Whether loading it starts a timer that counts down from then on: one with a TSC deadline waits for
 * that MSR. */
static bool lapic_counts(const struct kvm_lapic_state *lapic)
{
    uint32_t timer, count;

    memcpy(&timer, lapic->regs + LAPIC_TIMER, sizeof timer);
    memcpy(&count, lapic->regs + LAPIC_INITIAL_COUNT, sizeof count);
    return count != 0 && (timer & LAPIC_TIMER_MODE) != LAPIC_TIMER_DEADLINE;
}

/* Those of all vCPUs whose timers count, or of all others. */
static int load_lapics(const struct vm *vm, const struct vm_state *state, bool counting,
                       const char **ret_step)
{
    *ret_step = "KVM_SET_LAPIC";
    for (uint32_t i = 0; i < state->vcpu_count; i++) {
        const struct kvm_lapic_state *lapic = &state->vcpu[i].lapic;

        if (lapic_counts(lapic) == counting && ioctl(vm->vcpu[i].fd, KVM_SET_LAPIC, lapic) < 0)
            return -errno;
    }
    return 0;
}

int vm_state_prepare(struct vm *vm, const struct vm_state *state, const char **ret_step)
{
    for (uint32_t i = 0; i < state->vcpu_count; i++) {
        int rc = prepare_vcpu(&vm->vcpu[i], &state->vcpu[i], ret_step);
        if (rc < 0)
            return rc;
    }
    *ret_step = "KVM_SET_IRQCHIP";
    if (ioctl(vm->fd, KVM_SET_IRQCHIP, &state->pic_master) < 0 ||
        ioctl(vm->fd, KVM_SET_IRQCHIP, &state->pic_slave) < 0 ||
        ioctl(vm->fd, KVM_SET_IRQCHIP, &state->ioapic) < 0)
        return -errno;
    return load_lapics(vm, state, false, ret_step);
}

/* Before Linux 6.8 KVM takes a TSC that is written within a second of what the vCPU has by itself for
 * an attempt to get in step with it, and drops it: a clone that is as young as its snapshot was would
 * be thrown back to its own start, and its timers would be late by as much. So the first vCPU's is
 * moved out of the way first. */
static int unsettle_tsc(const struct vm *vm, const struct vm_state *state)
{
    const struct vcpu_state *first = &state->vcpu[0];
    uint32_t tsc = find_msr(first, MSR_TSC);
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } one = { .head = { .nmsrs = 1 } };

    if (tsc == first->msr_count || vm->kvm->software_only)
        return 0;
    one.entry = (struct kvm_msr_entry){ .index = MSR_TSC, .data = first->msr[tsc].data + TSC_FAR };
    return ioctl(vm->vcpu[0].fd, KVM_SET_MSRS, &one) < 0 ? -errno : 0;
}

int vm_state_load_time(struct vm *vm, const struct vm_state *state, const char **ret_step)
{
    /* Only the time: KVM_CLOCK_REALTIME would let it jump ahead by the age of the snapshot. */
    struct kvm_clock_data clock = { .clock = state->clock.clock };
    int rc = unsettle_tsc(vm, state);

    if (vm->kvm->software_only)
        vm->first_tick_cycles = (uint64_t)state->vcpu[0].tsc_khz * FIRST_TICK_MS;
    *ret_step = "KVM_SET_MSRS";
    for (uint32_t i = 0; rc == 0 && i < state->vcpu_count; i++)
        rc = load_msrs(&vm->vcpu[i], &state->vcpu[i], true);
    if (rc == 0)
        rc = load_lapics(vm, state, true, ret_step);
    if (rc < 0)
        return rc;
    *ret_step = "KVM_SET_PIT2";
    if (vm->has_pit && ioctl(vm->fd, KVM_SET_PIT2, &state->pit) < 0)
        return -errno;
    *ret_step = "KVM_SET_CLOCK";
    return ioctl(vm->fd, KVM_SET_CLOCK, &clock) < 0 ? -errno : 0;
}

/* ---- Fewer MSRs to load ---- */

static bool has_value(const struct vcpu_state *fresh, const struct kvm_msr_entry *wanted)
{
    for (uint32_t i = 0; i < fresh->msr_count; i++) {
        if (fresh->msr[i].index == wanted->index)
            return fresh->msr[i].data == wanted->data;
    }
    return false;
}

int vm_state_prune_msrs(struct vm *vm, struct vm_state *state, struct err *err)
{
    _cleanup_free_ struct vcpu_state *fresh = calloc(1, sizeof *fresh);

    if (!fresh)
        return err_set_errno(err, ENOMEM, "reading a new vCPU's MSRs");
    for (uint32_t i = 0; i < state->vcpu_count; i++) {
        struct vcpu_state *vcpu = &state->vcpu[i];
        uint32_t kept = 0;
        int rc = save_msrs(vm->vcpu[i].fd, vm->kvm, fresh, err);
        if (rc < 0)
            return rc;
        for (uint32_t m = 0; m < vcpu->msr_count; m++) {
            if (depends_on_time(vcpu->msr[m].index) || !has_value(fresh, &vcpu->msr[m]))
                vcpu->msr[kept++] = vcpu->msr[m];
        }
        vcpu->msr_count = kept;
    }
    return 0;
}

#define TSS64_AVAILABLE 9

void vm_state_mend_tr(const struct kvm_host *kvm, struct vm_state *state)
{
    for (uint32_t i = 0; kvm->simulated_cpu && i < state->vcpu_count; i++)
        state->vcpu[i].sregs.tr.type = TSS64_AVAILABLE;
}
