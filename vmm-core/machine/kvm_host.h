/* SPDX-License-Identifier: Apache-2.0 */
/* /dev/kvm of this host: opened once a process, with what it can do. */
#ifndef VOLT_MACHINE_KVM_HOST_H
#define VOLT_MACHINE_KVM_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "machine/vm_state.h"

struct kvm_host {
    int fd;               /* /dev/kvm, owned */
    size_t run_bytes;     /* of the kvm_run mapping of a vCPU */
    uint32_t xsave_bytes; /* KVM_CAP_XSAVE2, at least 4096 */
    bool software_only;   /* PVM: no VT-x or SVM underneath, see docs/host-kvm.md */
    bool simulated_cpu;   /* KVM runs on QEMU's software CPU (TCG): see vm_state_mend_tr */
    bool sync_regs;       /* KVM_CAP_SYNC_REGS offers the general registers */
    uint32_t msr_count;
    uint32_t msr_index[VM_MSRS_MAX]; /* KVM_GET_MSR_INDEX_LIST; filled by kvm_host_list_msrs */
};

/* Opens /dev/kvm and checks API version and the capabilities that Volt needs. The sentence says
 * what to do when it can't be opened. */
int kvm_host_open(struct kvm_host *kvm, struct err *err);

/* Fills msr_index. Only who saves state needs it. */
int kvm_host_list_msrs(struct kvm_host *kvm, struct err *err);

/* Asks what CPUID the host can give a guest. `ret_cpuid` has room for VM_CPUID_MAX entries. */
int kvm_host_cpuid(const struct kvm_host *kvm, struct kvm_cpuid2 *ret_cpuid, struct err *err);

void kvm_host_close(struct kvm_host *kvm);

#endif
