/* SPDX-License-Identifier: Apache-2.0 */
/* The tables that boot leaves in guest memory for the kernel to find. Internal to boot. Each writer
 * fills its place in layout.h; none reads anything back from the guest. */
#ifndef VOLT_BOOT_TABLES_H
#define VOLT_BOOT_TABLES_H

#include <stdint.h>

#include "base/err.h"
#include "boot/boot.h"

#define E820_TYPE_RAM 1u
#define E820_TYPE_RESERVED 2u

struct memory_range {
    gpa_t gpa;
    uint64_t bytes;
    uint32_t type; /* E820_TYPE_* */
};

#define MEMORY_MAP_MAX 4u

/* Fills ret_map in ascending order, without overlaps; returns the number of ranges. */
unsigned memory_map_build(const struct guest_mem *mem, struct memory_range ret_map[MEMORY_MAP_MAX]);

/* MP floating pointer and configuration table at BOOT_MPTABLE_GPA. -EINVAL for a vcpu_count that is
 * out of range. */
int mptable_write(struct guest_mem *mem, uint32_t vcpu_count, struct err *err);

/* ACPI tables from BOOT_ACPI_GPA on, the RSDP first. -EINVAL for a device that can't be described,
 * -ENOSPC for too many. */
int acpi_write(struct guest_mem *mem, const struct boot_config *config, struct err *err);

/* What a kernel is told about what lies where; filled by boot_load. */
struct boot_placement {
    uint64_t cmdline_bytes; /* with the NUL, at BOOT_CMDLINE_GPA */
    gpa_t initrd_gpa;
    uint64_t initrd_bytes;
    gpa_t rsdp_gpa; /* 0: no ACPI */
};

/* hvm_start_info with its module list and memory map at BOOT_PVH_INFO_GPA. */
void pvh_info_write(struct guest_mem *mem, const struct boot_placement *placement);

/* GDT and, for LINUX64, page tables that map the first 4 GiB one to one. */
void cpu_tables_write(struct guest_mem *mem, struct boot_entry *entry);

/* The byte that makes `bytes` bytes add up to zero, given their sum with it as zero. */
static inline uint8_t table_checksum(const void *table, size_t bytes)
{
    const uint8_t *at = table;
    uint8_t sum = 0;

    for (size_t i = 0; i < bytes; i++)
        sum = (uint8_t)(sum + at[i]);
    return (uint8_t)-sum;
}

#endif
