/* SPDX-License-Identifier: Apache-2.0 */
/* Owns hvm_start_info, which a PVH kernel is handed in EBX (Xen public/arch-x86/hvm/start_info.h,
 * version 1): command line, the initrd as first module, the RSDP and a memory map. */
#include <stddef.h>

#include "boot/tables.h"

#define PVH_MAGIC 0x336ec578u
#define PVH_VERSION 1u

struct pvh_start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules_gpa, cmdline_gpa, rsdp_gpa, memory_map_gpa;
    uint32_t memory_map_count, reserved;
};

struct pvh_module {
    uint64_t gpa, bytes, cmdline_gpa, reserved;
};

struct pvh_memory_range {
    uint64_t gpa, bytes;
    uint32_t type, reserved;
};

struct pvh_block {
    struct pvh_start_info info;
    struct pvh_module initrd;
    struct pvh_memory_range map[MEMORY_MAP_MAX];
};

_Static_assert(sizeof(struct pvh_start_info) == 56, "start_info layout");
_Static_assert(sizeof(struct pvh_module) == 32, "start_info layout");
_Static_assert(sizeof(struct pvh_memory_range) == 24, "start_info layout");

void pvh_info_write(struct guest_mem *mem, const struct boot_placement *placement)
{
    struct pvh_block *block = guest_mem_at(mem, BOOT_PVH_INFO_GPA, sizeof *block);
    struct memory_range map[MEMORY_MAP_MAX];
    unsigned count = memory_map_build(mem, map);

    block->info = (struct pvh_start_info){
        .magic = PVH_MAGIC,
        .version = PVH_VERSION,
        .module_count = placement->initrd_bytes ? 1 : 0,
        .modules_gpa =
            placement->initrd_bytes ? BOOT_PVH_INFO_GPA + offsetof(struct pvh_block, initrd) : 0,
        .cmdline_gpa = BOOT_CMDLINE_GPA,
        .rsdp_gpa = placement->rsdp_gpa,
        .memory_map_gpa = BOOT_PVH_INFO_GPA + offsetof(struct pvh_block, map),
        .memory_map_count = count
    };
    block->initrd =
        (struct pvh_module){ .gpa = placement->initrd_gpa, .bytes = placement->initrd_bytes };
    for (unsigned i = 0; i < count; i++)
        block->map[i] = (struct pvh_memory_range){ map[i].gpa, map[i].bytes, map[i].type, 0 };
}
