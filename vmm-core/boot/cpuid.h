/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID filter: from what KVM supports to what a guest sees. The policy is the table in cpuid.c;
 * the same table is used at boot and to check a snapshot's CPUID at restore, so the guest sees one
 * CPU all its life. Source: Intel SDM vol. 2A CPUID, AMD APM vol. 3 appendix E, Linux
 * Documentation/virt/kvm/x86/cpuid.rst.
 */
#ifndef VOLT_BOOT_CPUID_H
#define VOLT_BOOT_CPUID_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum cpuid_reg { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX, CPUID_REG_COUNT };

/* A CPU template: for each register it names, exactly the bits the guest sees. It lets a snapshot
 * move between hosts of unlike features. */
#define CPUID_TEMPLATE_ENTRIES_MAX 64u

struct cpuid_template {
    char name[64];
    unsigned count;
    struct {
        uint32_t leaf;
        uint32_t subleaf;
        enum cpuid_reg reg;
        uint32_t keep;
    } entry[CPUID_TEMPLATE_ENTRIES_MAX];
};

struct cpuid_request {
    uint32_t vcpu_index; /* also its APIC id */
    uint32_t vcpu_count;
    bool software_only;                    /* mask what a software-only KVM can't emulate */
    bool pmu;                              /* show the performance counters */
    const struct cpuid_template *template; /* borrowed; NULL: none */
};

/* Turns what KVM_GET_SUPPORTED_CPUID gave (kvm_host_cpuid) into the guest's CPUID for one vCPU, in
 * place, ready for KVM_SET_CPUID2. `capacity` is the number of entries that fit; up to
 * CPUID_FILTER_ADDS may be added. -EINVAL when the template names bits that are not there to be
 * shown, -ENOSPC when the table is full; then the content is unspecified. Any thread. */
#define CPUID_FILTER_ADDS 4u
int cpuid_filter(struct kvm_cpuid2 *cpuid, uint32_t capacity, const struct cpuid_request *request,
                 struct err *err);

/* XCR0 for a vCPU that boots with this (filtered) CPUID: x87, SSE and AVX as far as they are there;
 * 0 without XSAVE. Linux sets the same. Not every KVM hears of it: a KVM on QEMU's software SVM
 * does not see the guest's XSETBV, would go on telling XSAVE sizes for a reset XCR0, and Linux
 * gives AVX up over that. Set by KVM_SET_XCRS before the vCPU runs. */
uint64_t cpuid_boot_xcr0(const struct kvm_cpuid2 *cpuid);

/* Whether a guest that has seen `saved` can go on under `supported` (unfiltered, of this host):
 * every feature bit of the named registers that the guest was shown must be there, and the vendor
 * the same. -EINVAL with a sentence that names the leaf and the bits missing. */
int cpuid_check_restorable(const struct kvm_cpuid2 *saved, const struct kvm_cpuid2 *supported,
                           struct err *err);

/* Whether cpuid_filter could have made `saved`: a state file may say what it likes, and KVM takes
 * nearly all of it. Bits that only a software-only KVM's guests lack, and those that KVM keeps itself,
 * may be there; with pmu, the performance counters. -EINVAL with a sentence that names leaf and bits. */
int cpuid_check_filtered(const struct kvm_cpuid2 *saved, bool pmu, struct err *err);

/* ---- JSON templates (cpuid_template.c, its own library: it needs jansson). ----
 *
 *   {"name": "no-avx512",
 *    "registers": [{"leaf": "0x7", "subleaf": "0x0", "register": "ebx", "keep": "0x219c01a9"}]}
 *
 * Parses text of `bytes` bytes. -EINVAL with a sentence that names the key. */
int cpuid_template_parse(const char *text, size_t bytes, struct cpuid_template *ret_template,
                         struct err *err);

#endif
