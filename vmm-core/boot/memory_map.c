/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the memory map that e820 and PVH tell. From the function's area to 1 MiB everything is
 * one reserved range: area, mailbox, generation id, MP table, the old video and BIOS area with the ACPI
 * tables. There is RAM behind it all, so host code can write there. */
#include "boot/tables.h"

unsigned memory_map_build(const struct guest_mem *mem, struct memory_range ret_map[MEMORY_MAP_MAX])
{
    unsigned count = 0;

    ret_map[count++] = (struct memory_range){ 0, BOOT_LOW_RESERVED_GPA, E820_TYPE_RAM };
    ret_map[count++] =
        (struct memory_range){ BOOT_LOW_RESERVED_GPA, BOOT_HIGH_GPA - BOOT_LOW_RESERVED_GPA,
                               E820_TYPE_RESERVED };
    ret_map[count++] =
        (struct memory_range){ BOOT_HIGH_GPA, mem->region[0].bytes - BOOT_HIGH_GPA, E820_TYPE_RAM };
    if (mem->region_count > 1)
        ret_map[count++] =
            (struct memory_range){ mem->region[1].gpa, mem->region[1].bytes, E820_TYPE_RAM };
    return count;
}
