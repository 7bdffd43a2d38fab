/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the detection of the host's CPU and kind of KVM; see host.h. */
#include "snapshot/host.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

/* Intel SDM volume 2, CPUID; AMD APM volume 3, Fn0000_0001 and Fn8000_0001. */

static void detect_vendor(struct manifest_cpu *cpu)
{
    uint32_t max, reg[3];

    __cpuid(0, max, reg[0], reg[1], reg[2]);
    memcpy(cpu->vendor, &reg[0], 4);
    memcpy(cpu->vendor + 4, &reg[2], 4);
    memcpy(cpu->vendor + 8, &reg[1], 4);
}

static uint32_t max_extended_leaf(void)
{
    uint32_t max, ebx, ecx, edx;

    __cpuid(0x80000000u, max, ebx, ecx, edx);
    return max;
}

static bool has_vmx_or_svm(void)
{
    uint32_t eax, ebx, ecx, edx;

    __cpuid(1, eax, ebx, ecx, edx);
    if (ecx >> 5 & 1)
        return true;
    if (max_extended_leaf() < 0x80000001u)
        return false;
    __cpuid(0x80000001u, eax, ebx, ecx, edx);
    return ecx >> 2 & 1;
}

void host_cpu_detect_kind(struct manifest_cpu *ret_cpu)
{
    bool pvm_alone = access("/sys/module/kvm_pvm", F_OK) == 0 &&
                     access("/sys/module/kvm_intel", F_OK) != 0 &&
                     access("/sys/module/kvm_amd", F_OK) != 0;

    *ret_cpu = (struct manifest_cpu){ .software_only_kvm = pvm_alone || !has_vmx_or_svm() };
    detect_vendor(ret_cpu);
}

static void detect_name(struct manifest_cpu *cpu)
{
    uint32_t text[12] = { 0 };
    size_t from = 0;

    if (max_extended_leaf() < 0x80000004u)
        return;
    for (uint32_t leaf = 0; leaf < 3; leaf++)
        __cpuid(0x80000002u + leaf, text[4 * leaf], text[4 * leaf + 1], text[4 * leaf + 2],
                text[4 * leaf + 3]);
    const char *name = (const char *)text;
    while (from < sizeof text && name[from] == ' ')
        from++;
    memcpy(cpu->model_name, name + from, sizeof text - from);
}

void host_cpu_detect(struct manifest_cpu *ret_cpu)
{
    uint32_t eax, ebx, ecx, edx;

    host_cpu_detect_kind(ret_cpu);
    detect_name(ret_cpu);
    __cpuid(1, eax, ebx, ecx, edx);
    ret_cpu->stepping = eax & 0xf;
    ret_cpu->model = (eax >> 4 & 0xf) | (eax >> 12 & 0xf0);
    ret_cpu->family = eax >> 8 & 0xf;
    if (ret_cpu->family == 0xf)
        ret_cpu->family += eax >> 20 & 0xff;
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
