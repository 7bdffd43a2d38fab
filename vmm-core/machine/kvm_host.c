/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the opening and questioning of /dev/kvm; see kvm_host.h. */
#include "machine/kvm_host.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/util.h"

#define KVM_PATH "/dev/kvm"
#define KVM_API 12

static const struct {
    int capability;
    const char *name;
} needed[] = {
    { KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
    { KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
    { KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR" },
    { KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
    { KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },
    { KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS" },
    { KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS" },
    { KVM_CAP_XSAVE, "KVM_CAP_XSAVE" },
    { KVM_CAP_XCRS, "KVM_CAP_XCRS" },
    { KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK" },
    { KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
};

static int open_device(struct err *err)
{
    int fd = open(KVM_PATH, O_RDWR | O_CLOEXEC);

    if (fd >= 0)
        return fd;
    switch (errno) {
    case ENOENT:
        return err_set(err, ENOENT,
                       KVM_PATH
                       " does not exist: load the kvm_intel, kvm_amd or kvm_pvm module, or "
                       "turn on virtualisation in the firmware or in the outer VM");
    case EACCES:
    case EPERM:
        return err_set(err, EACCES,
                       KVM_PATH " can't be opened by this user: join its group (kvm on Debian: "
                                "`sudo usermod -aG kvm $USER`, then log in anew)");
    default:
        return err_set_errno(err, errno, "opening " KVM_PATH);
    }
}

/* QEMU's software CPU signs in the leaf where hypervisors do. */
static bool is_simulated_cpu(void)
{
    char signature[13] = "";
    uint32_t max, ebx, ecx, edx;

    __cpuid(0x40000000, max, ebx, ecx, edx);
    memcpy(signature, &ebx, sizeof ebx);
    memcpy(signature + 4, &ecx, sizeof ecx);
    memcpy(signature + 8, &edx, sizeof edx);
    return max >= 0x40000000 && strcmp(signature, "TCGTCGTCGTCG") == 0;
}

int kvm_host_open(struct kvm_host *kvm, struct err *err)
{
    *kvm = (struct kvm_host){ .fd = -1 };
    _cleanup_close_ int fd = open_device(err);
    if (fd < 0)
        return fd;
    int version = ioctl(fd, KVM_GET_API_VERSION, 0);
    if (version != KVM_API)
        return err_set(err, ENOTSUP, KVM_PATH " has API version %d, Volt needs %d", version,
                       KVM_API);
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        if (ioctl(fd, KVM_CHECK_EXTENSION, needed[i].capability) <= 0)
            return err_set(err, ENOTSUP, KVM_PATH " lacks %s", needed[i].name);
    }
    int run_bytes = ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    int xsave_bytes = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
    if (run_bytes < (int)sizeof(struct kvm_run) || xsave_bytes > (int)VM_XSAVE_BYTES_MAX)
        return err_set(err, ENOTSUP, KVM_PATH ": kvm_run of %d bytes, XSAVE state of %d bytes",
                       run_bytes, xsave_bytes);
    kvm->run_bytes = (size_t)run_bytes;
    kvm->xsave_bytes = (uint32_t)MAX_OF(xsave_bytes, 4096);
    kvm->software_only = access("/sys/module/kvm_pvm", F_OK) == 0;
    kvm->simulated_cpu = is_simulated_cpu();
    kvm->sync_regs = (ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS) & KVM_SYNC_X86_REGS) != 0;
    kvm->fd = take_fd(&fd);
    return 0;
}

int kvm_host_list_msrs(struct kvm_host *kvm, struct err *err)
{
    _cleanup_free_ struct kvm_msr_list *list =
        calloc(1, sizeof *list + VM_MSRS_MAX * sizeof(uint32_t));

    if (!list)
        return err_set_errno(err, ENOMEM, "listing MSRs");
    list->nmsrs = VM_MSRS_MAX;
    if (ioctl(kvm->fd, KVM_GET_MSR_INDEX_LIST, list) < 0)
        return err_set_errno(err, errno, "KVM_GET_MSR_INDEX_LIST (%u MSRs)", list->nmsrs);
    kvm->msr_count = list->nmsrs;
    for (uint32_t i = 0; i < list->nmsrs; i++)
        kvm->msr_index[i] = list->indices[i];
    return 0;
}

int kvm_host_cpuid(const struct kvm_host *kvm, struct kvm_cpuid2 *ret_cpuid, struct err *err)
{
    ret_cpuid->nent = VM_CPUID_MAX;
    if (ioctl(kvm->fd, KVM_GET_SUPPORTED_CPUID, ret_cpuid) < 0)
        return err_set_errno(err, errno, "KVM_GET_SUPPORTED_CPUID");
    return 0;
}

void kvm_host_close(struct kvm_host *kvm)
{
    close_fd(&kvm->fd);
}
