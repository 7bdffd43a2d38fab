/* SPDX-License-Identifier: Apache-2.0 */
/* Where boot puts things in guest memory: the one list of guest physical addresses below 1 MiB.
 *
 *   0x00000500  GDT                              usable RAM, the kernel drops it early
 *   0x00006000  hvm_start_info, its module list and memory map (PVH only)
 *   0x00007000  boot_params ("zero page")
 *   0x00008ff0  initial stack, growing down
 *   0x00009000  PML4, PDPT, 4 page directories: the first 4 GiB, one to one
 *   0x00020000  command line
 *   0x00030000  setup_data: the seed of the kernel's random numbers
 *   0x0007d000  area of the function's bell      reserved from here to 1 MiB
 *   0x0009e000  doorbell mailbox (guest_abi.h)
 *   0x0009f000  VM generation id
 *   0x0009fc00  MP table, in what a BIOS would use as EBDA
 *   0x000e0000  ACPI tables, the RSDP first
 *   0x00100000  kernels, and the initrd as high as it goes
 */
#ifndef VOLT_BOOT_LAYOUT_H
#define VOLT_BOOT_LAYOUT_H

#include "guest_abi.h"

#define BOOT_GDT_GPA 0x500u
#define BOOT_PVH_INFO_GPA 0x6000u
#define BOOT_PARAMS_GPA 0x7000u
#define BOOT_STACK_GPA 0x8ff0u
#define BOOT_PAGE_TABLES_GPA 0x9000u
#define BOOT_PAGE_TABLES_BYTES 0x6000u
#define BOOT_CMDLINE_GPA 0x20000u
#define BOOT_CMDLINE_BYTES_MAX 0x10000u /* with the NUL; kernels take less, see boot_load */
#define BOOT_RNG_SEED_GPA 0x30000u
#define BOOT_RNG_SEED_BYTES 64u
#define BOOT_LOW_RESERVED_GPA FUNCTION_AREA_GPA
#define BOOT_VMGENID_GPA 0x9f000u /* 16 bytes of generation id at the start of the page */
#define BOOT_MPTABLE_GPA 0x9fc00u
#define BOOT_MPTABLE_BYTES 0x400u
#define BOOT_ACPI_GPA 0xe0000u
#define BOOT_ACPI_BYTES 0x10000u
#define BOOT_HIGH_GPA 0x100000u /* everything a kernel image brings lies at or above this */

/* Fixed by the architecture, and where KVM's irqchip puts them. */
#define BOOT_IOAPIC_GPA 0xfec00000u
#define BOOT_LAPIC_GPA 0xfee00000u
#define BOOT_IOAPIC_PINS 24u

_Static_assert(DOORBELL_MAILBOX_GPA + DOORBELL_MAILBOX_BYTES == BOOT_VMGENID_GPA, "layout");

#endif
