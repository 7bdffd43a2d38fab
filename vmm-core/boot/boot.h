/* SPDX-License-Identifier: Apache-2.0 */
/* Boot: puts a kernel and what it expects to find into fresh guest memory, and says in which state
 * the first vCPU starts. Nothing here touches KVM; everything runs once, on the main thread,
 * before the vCPUs exist.
 *
 * Kernels: ELF vmlinux (64-bit entry with boot_params, or PVH by its Xen note) and bzImage (64-bit
 * entry). Sources: Linux Documentation/arch/x86/boot.rst (boot protocol 2.15) and zero-page.rst,
 * Xen public/arch-x86/hvm/start_info.h, Intel MultiProcessor Specification 1.4, ACPI 6.4.
 */
#ifndef VOLT_BOOT_BOOT_H
#define VOLT_BOOT_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "boot/layout.h"
#include "memory/guest_mem.h"

struct kvm_regs;
struct kvm_sregs;

#define BOOT_VCPUS_MAX 32u

/* GSIs of ACPI's events, behind those of devices. Edge-triggered; KVM drops them while the guest
 * has no use for them (masked pin). Part of every snapshot's contract. */
#define BOOT_VMGENID_GSI 20u
#define BOOT_POWER_GSI 21u

/* One virtio-mmio window; gsi is an IOAPIC pin, 5 to 23 (edge-triggered in the MP table, as ISA
 * interrupts are; what ACPI says is the same). */
struct boot_virtio_dev {
    gpa_t gpa;
    uint32_t bytes;
    uint32_t gsi;
};

enum boot_protocol {
    BOOT_PROTOCOL_AUTO = 0, /* Linux 64-bit where the image has that entry, else PVH */
    BOOT_PROTOCOL_LINUX64,  /* long mode, boot_params in RSI */
    BOOT_PROTOCOL_PVH,      /* 32-bit protected mode without paging, hvm_start_info in EBX */
};

struct boot_config {
    int kernel_fd;       /* borrowed; read with pread only */
    int initrd_fd;       /* borrowed; -1: none */
    const char *cmdline; /* NUL-terminated, complete; refused if longer than the kernel takes */
    uint32_t vcpu_count; /* 1 to BOOT_VCPUS_MAX */
    enum boot_protocol protocol;
    bool acpi;                            /* ACPI tables too; an MP table there is always */
    const struct boot_virtio_dev *virtio; /* for ACPI; without it see boot_cmdline_add_virtio */
    unsigned virtio_count;
    bool serial;          /* for ACPI: an 8250 at 0x3f8, GSI 4 */
    uint32_t vmgenid_gsi; /* for ACPI: GSI that says that the generation id changed; 0: no device */
    uint32_t power_gsi;   /* for ACPI: GSI of the power button; 0: none */
    uint8_t vmgenid[16];  /* the first generation id, written to BOOT_VMGENID_GPA */
};

/* How the boot vCPU starts; also what was put where. */
struct boot_entry {
    enum boot_protocol protocol; /* LINUX64 or PVH */
    uint64_t rip;
    uint64_t rsp;
    uint64_t rsi; /* LINUX64: gpa of boot_params */
    uint64_t rbx; /* PVH: gpa of hvm_start_info */
    uint64_t cr3; /* LINUX64 */
    gpa_t gdt_gpa;
    uint16_t gdt_bytes;
    gpa_t kernel_gpa; /* first and one past the last byte the kernel needs to itself at entry */
    gpa_t kernel_end_gpa;
    gpa_t initrd_gpa; /* 0: none */
    uint64_t initrd_bytes;
};

/* Loads everything config names into mem, which must be mapped, zeroed and not yet run. Fails with
 * -EINVAL for a file that is not what it should be or a command line that is too long, -ENOMEM when
 * guest memory is too small for it, -ENODATA for a file cut short, or the -errno of a read; always
 * with a sentence. *ret_entry is untouched on failure; guest memory may be partly written. */
int boot_load(struct guest_mem *mem, const struct boot_config *config, struct boot_entry *ret_entry,
              struct err *err);

/* Turns what KVM_GET_SREGS and KVM_GET_REGS of the boot vCPU gave into its state at entry. The
 * other vCPUs stay as KVM made them: waiting for INIT and SIPI. */
void boot_vcpu_regs(const struct boot_entry *entry, struct kvm_sregs *sregs, struct kvm_regs *regs);

/* ---- Command line. ---- */

/* Appends " virtio_mmio.device=<size>@<gpa>:<gsi>" for each device to the string in cmdline, an
 * array of `capacity` bytes: for kernels without ACPI (CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES). Must
 * come before a "--". -E2BIG, with cmdline as it was, when there is no room. */
int boot_cmdline_add_virtio(char *cmdline, size_t capacity, const struct boot_virtio_dev *dev,
                            unsigned count, struct err *err);

#endif
