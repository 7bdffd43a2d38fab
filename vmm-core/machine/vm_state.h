/* SPDX-License-Identifier: Apache-2.0 */
/* The KVM-held state of a stopped machine, as plain data: what a snapshot keeps beside memory and
 * device state. Filled by vm_state_save, put back by vm_state_prepare and vm_state_load_time (vm.h);
 * the snapshot library turns it into sections and back. KVM API 4.x structures are kept as the
 * kernel's UAPI defines them for x86-64: fixed layout, little-endian.
 */
#ifndef VOLT_MACHINE_VM_STATE_H
#define VOLT_MACHINE_VM_STATE_H

#include <linux/kvm.h>
#include <stdint.h>
#include <stdlib.h>

#define VM_VCPUS_MAX 8u
#define VM_MSRS_MAX 512u
#define VM_CPUID_MAX 128u
#define VM_XSAVE_BYTES_MAX 16384u /* KVM_CAP_XSAVE2; AMX state needs about 11 KiB */

struct vcpu_state {
    struct kvm_mp_state mp_state;
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_xcrs xcrs;
    struct kvm_debugregs debugregs;
    struct kvm_lapic_state lapic;
    struct kvm_vcpu_events events;
    uint32_t tsc_khz;
    uint32_t xsave_bytes; /* used of xsave: 4096 or what KVM_CAP_XSAVE2 said */
    uint32_t msr_count;
    uint32_t cpuid_count;
    struct kvm_msr_entry msr[VM_MSRS_MAX]; /* in the order in which they are put back */
    struct kvm_cpuid_entry2 cpuid[VM_CPUID_MAX];
    uint8_t xsave[VM_XSAVE_BYTES_MAX];
};

struct vm_state {
    uint32_t vcpu_count; /* 1 to VM_VCPUS_MAX */
    uint32_t has_pit;    /* 0: the machine was made without one, pit is all zero */
    struct kvm_clock_data clock;
    struct kvm_irqchip pic_master, pic_slave, ioapic;
    struct kvm_pit_state2 pit;
    struct vcpu_state *vcpu; /* vcpu_count of them, owned */
};

/* Frees what it owns. Fine on a zeroed one, and twice. */
static inline void vm_state_fini(struct vm_state *state)
{
    free(state->vcpu);
    state->vcpu = NULL;
}

#endif
