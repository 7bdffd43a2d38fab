/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the MP table (Intel MultiProcessor Specification 1.4, chapter 4), which tells kernels
 * without ACPI their CPUs, the IOAPIC and its interrupts. Linux looks for the floating pointer in
 * the last KiB below 640 KiB, which is where it is put.
 *
 * Every IOAPIC pin is an ISA interrupt of the same number: edge-triggered, active high, and wired
 * as KVM's default routing has it. */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "boot/tables.h"

enum mp_entry_type { MP_PROCESSOR, MP_BUS, MP_IOAPIC, MP_INTERRUPT, MP_LOCAL_INTERRUPT };
enum mp_interrupt_kind { MP_INT = 0, MP_NMI = 1, MP_EXTINT = 3 };

#define MP_CPU_ENABLED 0x1u
#define MP_CPU_BOOT 0x2u
#define MP_APIC_VERSION 0x14u
#define MP_ISA_BUS 0u
#define MP_ALL_LOCAL_APICS 0xffu

struct mp_floating {
    char signature[4];
    uint32_t table_gpa;
    uint8_t paragraphs;
    uint8_t revision;
    uint8_t checksum;
    uint8_t features[5];
} __attribute__((packed));

struct mp_config {
    char signature[4];
    uint16_t bytes;
    uint8_t revision;
    uint8_t checksum;
    char oem[8];
    char product[12];
    uint32_t oem_table_gpa;
    uint16_t oem_table_bytes;
    uint16_t entry_count;
    uint32_t lapic_gpa;
    uint16_t extended_bytes;
    uint8_t extended_checksum;
    uint8_t reserved;
} __attribute__((packed));

struct mp_processor {
    uint8_t type, apic_id, apic_version, flags;
    uint32_t signature, features;
    uint32_t reserved[2];
} __attribute__((packed));

struct mp_bus {
    uint8_t type, id;
    char name[6];
} __attribute__((packed));

struct mp_ioapic {
    uint8_t type, id, version, flags;
    uint32_t gpa;
} __attribute__((packed));

struct mp_interrupt {
    uint8_t type, kind;
    uint16_t flags;
    uint8_t bus, bus_irq, apic_id, pin;
} __attribute__((packed));

_Static_assert(sizeof(struct mp_floating) == 16, "MP table layout");
_Static_assert(sizeof(struct mp_config) == 44, "MP table layout");
_Static_assert(sizeof(struct mp_processor) == 20, "MP table layout");
_Static_assert(sizeof(struct mp_bus) == 8 && sizeof(struct mp_ioapic) == 8 &&
                   sizeof(struct mp_interrupt) == 8,
               "MP table layout");
_Static_assert(sizeof(struct mp_floating) + sizeof(struct mp_config) +
                       BOOT_VCPUS_MAX * sizeof(struct mp_processor) +
                       (4 + BOOT_IOAPIC_PINS) * sizeof(struct mp_interrupt) <=
                   BOOT_MPTABLE_BYTES,
               "the MP table fits with all CPUs");

/* Appends an entry to the table under construction. */
static void add(struct mp_config *config, const void *entry, uint16_t bytes)
{
    memcpy((uint8_t *)config + config->bytes, entry, bytes);
    config->bytes = (uint16_t)(config->bytes + bytes);
    config->entry_count++;
}

static void add_interrupts(struct mp_config *config, uint8_t ioapic_id)
{
    for (uint8_t pin = 0; pin < BOOT_IOAPIC_PINS; pin++) {
        struct mp_interrupt line = { MP_INTERRUPT, MP_INT, 0, MP_ISA_BUS, pin, ioapic_id, pin };

        add(config, &line, sizeof line);
    }
    struct mp_interrupt pic = { MP_LOCAL_INTERRUPT, MP_EXTINT, 0, MP_ISA_BUS, 0, 0, 0 };
    struct mp_interrupt nmi = {
        MP_LOCAL_INTERRUPT, MP_NMI, 0, MP_ISA_BUS, 0, MP_ALL_LOCAL_APICS, 1
    };
    add(config, &pic, sizeof pic);
    add(config, &nmi, sizeof nmi);
}

int mptable_write(struct guest_mem *mem, uint32_t vcpu_count, struct err *err)
{
    struct mp_floating *floating = guest_mem_at(mem, BOOT_MPTABLE_GPA, BOOT_MPTABLE_BYTES);

    if (vcpu_count == 0 || vcpu_count > BOOT_VCPUS_MAX)
        return err_set(err, EINVAL, "%u vCPUs: must be 1 to %u", vcpu_count, BOOT_VCPUS_MAX);
    struct mp_config *config = (struct mp_config *)(floating + 1);
    *config = (struct mp_config){ .signature = { 'P', 'C', 'M', 'P' },
                                  .bytes = sizeof *config,
                                  .revision = 4,
                                  .oem = { 'V', 'O', 'L', 'T', ' ', ' ', ' ', ' ' },
                                  .product = { 'V', 'O', 'L', 'T', ' ', 'V', 'M', ' ', ' ', ' ',
                                               ' ', ' ' },
                                  .lapic_gpa = BOOT_LAPIC_GPA };
    for (uint32_t i = 0; i < vcpu_count; i++) {
        struct mp_processor cpu = { .type = MP_PROCESSOR,
                                    .apic_id = (uint8_t)i,
                                    .apic_version = MP_APIC_VERSION,
                                    .flags = (uint8_t)(MP_CPU_ENABLED | (i ? 0 : MP_CPU_BOOT)),
                                    .signature = 0x600,
                                    .features = 0x201 }; /* FPU, APIC; kernels ask CPUID */
        add(config, &cpu, sizeof cpu);
    }
    uint8_t ioapic_id = (uint8_t)vcpu_count;
    struct mp_bus bus = { MP_BUS, MP_ISA_BUS, { 'I', 'S', 'A', ' ', ' ', ' ' } };
    struct mp_ioapic ioapic = { MP_IOAPIC, ioapic_id, 0x11, 0x1, BOOT_IOAPIC_GPA };
    add(config, &bus, sizeof bus);
    add(config, &ioapic, sizeof ioapic);
    add_interrupts(config, ioapic_id);
    config->checksum = table_checksum(config, config->bytes);

    *floating = (struct mp_floating){ .signature = { '_', 'M', 'P', '_' },
                                      .table_gpa = BOOT_MPTABLE_GPA + sizeof *floating,
                                      .paragraphs = 1,
                                      .revision = 4 };
    floating->checksum = table_checksum(floating, sizeof *floating);
    return 0;
}
