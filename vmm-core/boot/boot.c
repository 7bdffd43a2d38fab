/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the order of a boot: check everything that can be refused without copying, then copy, then
 * write the tables. See boot.h. */
#include "boot/boot.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "boot/kernel_image.h"
#include "boot/tables.h"

#define LOADER_UNDEFINED 0xffu /* boot.rst: type_of_loader of those who have no number */

static int choose_protocol(const struct boot_config *config, const struct kernel_image *image,
                           struct boot_entry *entry, struct err *err)
{
    entry->protocol = config->protocol;
    if (entry->protocol == BOOT_PROTOCOL_AUTO)
        entry->protocol = image->has_linux64 ? BOOT_PROTOCOL_LINUX64 : BOOT_PROTOCOL_PVH;
    if (entry->protocol == BOOT_PROTOCOL_LINUX64 && !image->has_linux64)
        return err_set(err, EINVAL, "the %s kernel has no 64-bit Linux entry", image->format);
    if (entry->protocol == BOOT_PROTOCOL_PVH && !image->has_pvh)
        return err_set(err, EINVAL, "the %s kernel has no PVH entry (CONFIG_PVH)", image->format);
    return 0;
}

static int check_cmdline(const char *cmdline, const struct kernel_image *image, uint64_t *ret_bytes,
                         struct err *err)
{
    uint64_t bytes = strlen(cmdline) + 1;
    uint64_t limit = MIN_OF(image->cmdline_bytes, BOOT_CMDLINE_BYTES_MAX);

    if (bytes > limit)
        return err_set(err, EINVAL,
                       "the kernel command line has %llu bytes; this kernel takes at most %llu",
                       (unsigned long long)(bytes - 1), (unsigned long long)(limit - 1));
    *ret_bytes = bytes;
    return 0;
}

/* Puts the initrd as high as the kernel allows, away from where it unpacks itself. */
static int place_initrd(const struct boot_config *config, const struct guest_mem *mem,
                        const struct kernel_image *image, struct boot_placement *placement,
                        struct err *err)
{
    uint64_t limit = MIN_OF(image->initrd_end_gpa, mem->region[0].bytes);
    uint64_t bytes;

    if (config->initrd_fd < 0)
        return 0;
    int rc = boot_file_bytes(config->initrd_fd, "initrd", &bytes, err);
    if (rc < 0)
        return rc;
    if (bytes > limit || ((limit - bytes) & ~(uint64_t)(HOST_PAGE_BYTES - 1)) < image->end_gpa)
        return err_set(err, ENOMEM,
                       "the initrd of %llu bytes does not fit between the kernel's end at 0x%llx "
                       "and 0x%llx; give the guest more memory",
                       (unsigned long long)bytes, (unsigned long long)image->end_gpa,
                       (unsigned long long)limit);
    placement->initrd_gpa = (limit - bytes) & ~(uint64_t)(HOST_PAGE_BYTES - 1);
    placement->initrd_bytes = bytes;
    return 0;
}

/* 64 random bytes that the kernel credits: its random numbers are ready from the first one on. A
 * kernel without them takes a slow path for each number until it has gathered its own, which on a
 * software-only KVM doubles the time of the boot. The kernel wipes them. */
static void rng_seed_write(struct guest_mem *mem)
{
    const struct setup_data head = { .type = SETUP_RNG_SEED, .len = BOOT_RNG_SEED_BYTES };
    uint8_t seed[BOOT_RNG_SEED_BYTES];

    random_bytes(seed, sizeof seed);
    guest_mem_write(mem, BOOT_RNG_SEED_GPA, &head, sizeof head);
    guest_mem_write(mem, BOOT_RNG_SEED_GPA + sizeof head, seed, sizeof seed);
    explicit_bzero(seed, sizeof seed);
}

static void boot_params_write(struct guest_mem *mem, const struct kernel_image *image,
                              const struct boot_placement *placement)
{
    struct boot_params *params = guest_mem_at(mem, BOOT_PARAMS_GPA, sizeof *params);
    struct memory_range map[MEMORY_MAP_MAX];
    unsigned count = memory_map_build(mem, map);

    params->hdr = image->header;
    params->hdr.type_of_loader = LOADER_UNDEFINED;
    params->hdr.loadflags &= (uint8_t)~CAN_USE_HEAP;
    params->hdr.cmd_line_ptr = BOOT_CMDLINE_GPA;
    params->hdr.ramdisk_image = (uint32_t)placement->initrd_gpa;
    params->hdr.ramdisk_size = (uint32_t)placement->initrd_bytes;
    params->hdr.setup_data = BOOT_RNG_SEED_GPA;
    params->acpi_rsdp_addr = placement->rsdp_gpa;
    for (unsigned i = 0; i < count; i++)
        params->e820_table[i] = (struct boot_e820_entry){ map[i].gpa, map[i].bytes, map[i].type };
    params->e820_entries = (uint8_t)count;
}

static int tables_write(struct guest_mem *mem, const struct boot_config *config,
                        const struct kernel_image *image, struct boot_placement *placement,
                        struct boot_entry *entry, struct err *err)
{
    int rc = mptable_write(mem, config->vcpu_count, err);

    if (rc == 0 && config->acpi) {
        rc = acpi_write(mem, config, err);
        placement->rsdp_gpa = BOOT_ACPI_GPA;
    }
    if (rc < 0)
        return rc;
    guest_mem_write(mem, BOOT_CMDLINE_GPA, config->cmdline, placement->cmdline_bytes);
    cpu_tables_write(mem, entry);
    if (entry->protocol == BOOT_PROTOCOL_LINUX64) {
        rng_seed_write(mem);
        boot_params_write(mem, image, placement);
        entry->rip = image->linux64_entry;
        entry->rsp = BOOT_STACK_GPA;
        entry->rsi = BOOT_PARAMS_GPA;
    } else {
        pvh_info_write(mem, placement);
        entry->rip = image->pvh_entry;
        entry->rbx = BOOT_PVH_INFO_GPA;
    }
    return 0;
}

int boot_load(struct guest_mem *mem, const struct boot_config *config, struct boot_entry *ret_entry,
              struct err *err)
{
    struct kernel_image image;
    struct boot_placement placement = { 0 };
    struct boot_entry entry = { 0 };
    int rc = kernel_image_read(config->kernel_fd, mem, &image, err);

    if (rc == 0)
        rc = choose_protocol(config, &image, &entry, err);
    if (rc == 0)
        rc = check_cmdline(config->cmdline, &image, &placement.cmdline_bytes, err);
    if (rc == 0)
        rc = place_initrd(config, mem, &image, &placement, err);
    if (rc == 0)
        rc = tables_write(mem, config, &image, &placement, &entry, err);
    if (rc == 0)
        rc = kernel_image_load(config->kernel_fd, &image, mem, err);
    if (rc < 0)
        return rc;
    if (placement.initrd_bytes) {
        rc =
            boot_load_file(config->initrd_fd, 0, mem, placement.initrd_gpa, placement.initrd_bytes);
        if (rc < 0)
            return err_set_errno(err, -rc, "reading the initrd's %llu bytes",
                                 (unsigned long long)placement.initrd_bytes);
    }
    entry.kernel_gpa = image.gpa;
    entry.kernel_end_gpa = image.end_gpa;
    entry.initrd_gpa = placement.initrd_gpa;
    entry.initrd_bytes = placement.initrd_bytes;
    *ret_entry = entry;
    return 0;
}
