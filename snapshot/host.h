/* SPDX-License-Identifier: Apache-2.0 */
/* What kind of host this is, as far as a snapshot cares: CPU model and kind of KVM. */
#ifndef VOLT_SNAPSHOT_HOST_H
#define VOLT_SNAPSHOT_HOST_H

#include "base/err.h"
#include "snapshot/manifest.h"

/* CPUID, and /sys/module/kvm_* where it can be seen: a KVM is software-only when the CPU offers
 * neither VMX nor SVM, or when kvm_pvm is the only back end loaded. Cannot fail. Any thread. */
void host_cpu_detect(struct manifest_cpu *ret_cpu);

/* The same, but only what host_cpu_check compares: where the CPU is a virtual one, each question to
 * it takes microseconds. */
void host_cpu_detect_kind(struct manifest_cpu *ret_cpu);

/* -ENOTSUP with a sentence when a snapshot taken on `taken` can't be restored on `here`: another
 * CPU vendor, or software-only KVM against hardware KVM. Another model of the same vendor passes:
 * KVM itself refuses CPUID bits and MSRs that the host does not have. */
int host_cpu_check(const struct manifest_cpu *taken, const struct manifest_cpu *here,
                   struct err *err);

#endif
