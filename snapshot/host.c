/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the detection of the host's CPU and kind of KVM; see host.h. */
#include "snapshot/host.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

static void detect_names(struct manifest_cpu *cpu, uint32_t *ret_max_extended)
{
    uint32_t eax = 0, reg[4], text[12] = { 0 };
    size_t from = 0;

    __cpuid(0, eax, reg[0], reg[1], reg[2]);
    memcpy(cpu->vendor, &reg[0], 4);
    memcpy(cpu->vendor + 4, &reg[2], 4);
    memcpy(cpu->vendor + 8, &reg[1], 4);
    __cpuid(0x80000000u, *ret_max_extended, reg[1], reg[2], reg[3]);
    if (*ret_max_extended < 0x80000004u)
        return;
    for (uint32_t leaf = 0; leaf < 3; leaf++)
        __cpuid(0x80000002u + leaf, text[4 * leaf], text[4 * leaf + 1], text[4 * leaf + 2],
                text[4 * leaf + 3]);
    const char *name = (const char *)text;
    while (from < sizeof text && name[from] == ' ')
        from++;
    memcpy(cpu->model_name, name + from, sizeof text - from);
}

/* Intel SDM volume 2, CPUID leaf 1; AMD APM volume 3, Fn0000_0001 and Fn8000_0001. */
void host_cpu_detect(struct manifest_cpu *ret_cpu)
{
    struct manifest_cpu cpu = { 0 };
    uint32_t eax, ebx, ecx, edx, max_extended;

    detect_names(&cpu, &max_extended);
    __cpuid(1, eax, ebx, ecx, edx);
    cpu.stepping = eax & 0xf;
    cpu.model = (eax >> 4 & 0xf) | (eax >> 12 & 0xf0);
    cpu.family = eax >> 8 & 0xf;
    if (cpu.family == 0xf)
        cpu.family += eax >> 20 & 0xff;
    bool vmx = ecx >> 5 & 1, svm = false;
    if (max_extended >= 0x80000001u) {
        __cpuid(0x80000001u, eax, ebx, ecx, edx);
        svm = ecx >> 2 & 1;
    }
    bool pvm_alone = access("/sys/module/kvm_pvm", F_OK) == 0 &&
                     access("/sys/module/kvm_intel", F_OK) != 0 &&
                     access("/sys/module/kvm_amd", F_OK) != 0;
    cpu.software_only_kvm = pvm_alone || (!vmx && !svm);
    *ret_cpu = cpu;
}

static const char *kvm_kind(const struct manifest_cpu *cpu)
{
    return cpu->software_only_kvm ? "a software-only KVM" : "a hardware KVM";
}

int host_cpu_check(const struct manifest_cpu *taken, const struct manifest_cpu *here,
                   struct err *err)
{
    if (strcmp(taken->vendor, here->vendor) != 0)
        return err_set(err, ENOTSUP,
                       "manifest.json: cpu.vendor: the snapshot was taken on '%s' (%s), this host "
                       "is '%s': make a new one here",
                       taken->vendor, taken->model_name, here->vendor);
    if (taken->software_only_kvm != here->software_only_kvm)
        return err_set(err, ENOTSUP,
                       "manifest.json: cpu.software_only_kvm: the snapshot was taken on %s, this "
                       "host has %s: make a new one here",
                       kvm_kind(taken), kvm_kind(here));
    return 0;
}
