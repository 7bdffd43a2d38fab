/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the ACPI tables (ACPI 6.4): RSDP, XSDT, hardware-reduced FADT, MADT, and a DSDT with the
 * serial port, virtio-mmio windows, power button and generation id. All lie one behind the other
 * from BOOT_ACPI_GPA, in memory that the map says is reserved. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "boot/aml.h"
#include "boot/tables.h"

#define ACPI_ALIGN 16u
#define ACPI_VIRTIO_MAX 32u

#define FADT_WBINVD (1u << 0)
#define FADT_SLP_BUTTON (1u << 5) /* no fixed-hardware sleep button */
#define FADT_PWR_BUTTON (1u << 4) /* no fixed-hardware power button */
#define FADT_RESET_REG_SUP (1u << 10)
#define FADT_HW_REDUCED (1u << 20)
#define FADT_BOOT_NO_VGA (1u << 2)
#define FADT_BOOT_NO_RTC (1u << 5)
#define GAS_SYSTEM_IO 1u
#define GAS_BYTE_ACCESS 1u
#define I8042_COMMAND_PORT 0x64u
#define I8042_RESET 0xfeu

#define MADT_LOCAL_APIC 0u
#define MADT_IOAPIC 1u
#define MADT_LOCAL_APIC_NMI 4u
#define MADT_CPU_ENABLED 1u

#define SERIAL_PORT 0x3f8u
#define SERIAL_PORTS 8u
#define SERIAL_GSI 4u

struct acpi_rsdp {
    char signature[8];
    uint8_t checksum; /* of the first 20 bytes */
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt_gpa;
    uint32_t bytes;
    uint64_t xsdt_gpa;
    uint8_t extended_checksum;
    uint8_t reserved[3];
} __attribute__((packed));

struct acpi_header {
    char signature[4];
    uint32_t bytes;
    uint8_t revision;
    uint8_t checksum;
    char oem_id[6];
    char oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
} __attribute__((packed));

struct acpi_address {
    uint8_t space, bit_width, bit_offset, access;
    uint64_t address;
} __attribute__((packed));

struct acpi_fadt {
    struct acpi_header header;
    uint32_t facs_gpa32, dsdt_gpa32;
    uint8_t reserved0, preferred_profile;
    uint8_t legacy_hardware[63]; /* offsets 46 to 108: SCI to CENTURY, unused when HW-reduced */
    uint16_t boot_arch;
    uint8_t reserved1;
    uint32_t flags;
    struct acpi_address reset_register;
    uint8_t reset_value;
    uint16_t arm_boot_arch;
    uint8_t minor_revision;
    uint64_t facs_gpa, dsdt_gpa;
    uint8_t legacy_blocks[96]; /* X_PM1a_EVT_BLK to X_GPE1_BLK, unused */
    struct acpi_address sleep_control, sleep_status;
    char hypervisor_vendor[8];
} __attribute__((packed));

struct acpi_madt {
    struct acpi_header header;
    uint32_t lapic_gpa;
    uint32_t flags;
} __attribute__((packed));

struct acpi_madt_lapic {
    uint8_t type, bytes, processor_uid, apic_id;
    uint32_t flags;
} __attribute__((packed));

struct acpi_madt_ioapic {
    uint8_t type, bytes, id, reserved;
    uint32_t gpa, gsi_base;
} __attribute__((packed));

struct acpi_madt_nmi {
    uint8_t type, bytes, processor_uid;
    uint16_t flags;
    uint8_t lint;
} __attribute__((packed));

_Static_assert(sizeof(struct acpi_rsdp) == 36, "RSDP layout");
_Static_assert(sizeof(struct acpi_header) == 36, "ACPI header layout");
_Static_assert(offsetof(struct acpi_fadt, boot_arch) == 109, "FADT layout");
_Static_assert(offsetof(struct acpi_fadt, flags) == 112, "FADT layout");
_Static_assert(offsetof(struct acpi_fadt, facs_gpa) == 132, "FADT layout");
_Static_assert(offsetof(struct acpi_fadt, sleep_control) == 244, "FADT layout");
_Static_assert(sizeof(struct acpi_fadt) == 276, "FADT layout");
_Static_assert(sizeof(struct acpi_madt) == 44 && sizeof(struct acpi_madt_lapic) == 8 &&
                   sizeof(struct acpi_madt_ioapic) == 12 && sizeof(struct acpi_madt_nmi) == 6,
               "MADT layout");

/* The tables under construction: a window of guest memory, filled from its start. */
struct acpi_area {
    uint8_t *base;
    size_t used;
};

/* Opens a table at the next aligned place; table_end fixes its length and checksum. The largest
 * set of tables is far below BOOT_ACPI_BYTES; only the DSDT varies much, and it is bounded. */
static void *table_begin(struct acpi_area *area, const char *signature, uint8_t revision,
                         size_t bytes)
{
    area->used = align_up(area->used, ACPI_ALIGN);
    struct acpi_header *header = (struct acpi_header *)(area->base + area->used);
    *header = (struct acpi_header){ .revision = revision,
                                    .oem_id = { 'V', 'O', 'L', 'T', ' ', ' ' },
                                    .oem_table_id = { 'V', 'O', 'L', 'T', 'V', 'M', ' ', ' ' },
                                    .oem_revision = 1,
                                    .creator_id = { 'V', 'O', 'L', 'T' },
                                    .creator_revision = 1 };
    memcpy(header->signature, signature, sizeof header->signature);
    area->used += bytes;
    return header;
}

static gpa_t table_end(struct acpi_area *area, struct acpi_header *header)
{
    gpa_t offset = (gpa_t)((uint8_t *)header - area->base);

    header->bytes = (uint32_t)(area->used - offset);
    header->checksum = table_checksum(header, header->bytes);
    return BOOT_ACPI_GPA + offset;
}

static void dsdt_serial(struct aml *aml)
{
    size_t device = aml_open(aml, AML_DEVICE, "COM1");

    aml_name_string(aml, "_HID", "PNP0501");
    aml_name_integer(aml, "_UID", 0);
    size_t crs = aml_crs_open(aml);
    aml_crs_io(aml, SERIAL_PORT, SERIAL_PORTS);
    aml_crs_interrupt(aml, SERIAL_GSI);
    aml_crs_close(aml, crs);
    aml_close(aml, device);
}

static void dsdt_virtio(struct aml *aml, const struct boot_virtio_dev *dev, unsigned index)
{
    char name[5];

    snprintf(name, sizeof name, "VR%02u", index % 100);
    size_t device = aml_open(aml, AML_DEVICE, name);
    aml_name_string(aml, "_HID", "LNRO0005");
    aml_name_integer(aml, "_UID", index);
    aml_name_integer(aml, "_CCA", 1);
    size_t crs = aml_crs_open(aml);
    aml_crs_memory32(aml, (uint32_t)dev->gpa, dev->bytes);
    aml_crs_interrupt(aml, dev->gsi);
    aml_crs_close(aml, crs);
    aml_close(aml, device);
}

static void dsdt_power_button(struct aml *aml)
{
    size_t device = aml_open(aml, AML_DEVICE, "PWRB");

    aml_name_string(aml, "_HID", "PNP0C0C");
    aml_name_integer(aml, "_UID", 0);
    aml_close(aml, device);
}

/* Microsoft's "Virtual Machine Generation ID" paper: ADDR gives the address, a notify of 0x80 says
 * that it changed. */
static void dsdt_generation_id(struct aml *aml)
{
    size_t device = aml_open(aml, AML_DEVICE, "VGEN");

    aml_name_string(aml, "_HID", "QEMUVGID"); /* an id that guests already know */
    aml_name_string(aml, "_CID", "VM_Gen_Counter");
    aml_name_string(aml, "_DDN", "VM_Gen_Counter");
    aml_name_package2(aml, "ADDR", BOOT_VMGENID_GPA, 0);
    aml_close(aml, device);
}

/* The generic event device (5.6.9): turns GSIs into notifies. */
static void dsdt_events(struct aml *aml, const struct boot_config *config)
{
    size_t device = aml_open(aml, AML_DEVICE, "GED_");

    aml_name_string(aml, "_HID", "ACPI0013");
    aml_name_integer(aml, "_UID", 0);
    size_t crs = aml_crs_open(aml);
    if (config->vmgenid_gsi)
        aml_crs_interrupt(aml, config->vmgenid_gsi);
    if (config->power_gsi)
        aml_crs_interrupt(aml, config->power_gsi);
    aml_crs_close(aml, crs);
    size_t method = aml_open(aml, AML_METHOD1, "_EVT");
    if (config->vmgenid_gsi)
        aml_notify_if_arg0(aml, config->vmgenid_gsi, "VGEN");
    if (config->power_gsi)
        aml_notify_if_arg0(aml, config->power_gsi, "PWRB");
    aml_close(aml, method);
    aml_close(aml, device);
}

static gpa_t dsdt_write(struct acpi_area *area, const struct boot_config *config, struct err *err)
{
    struct acpi_header *header = table_begin(area, "DSDT", 2, sizeof *header);
    struct aml aml = { .buffer = area->base + area->used,
                       .capacity = BOOT_ACPI_BYTES / 2 - area->used };
    size_t scope = aml_open(&aml, AML_SCOPE, "\\_SB_");

    if (config->serial)
        dsdt_serial(&aml);
    for (unsigned i = 0; i < config->virtio_count; i++)
        dsdt_virtio(&aml, &config->virtio[i], i);
    if (config->power_gsi)
        dsdt_power_button(&aml);
    if (config->vmgenid_gsi)
        dsdt_generation_id(&aml);
    if (config->power_gsi || config->vmgenid_gsi)
        dsdt_events(&aml, config);
    aml_close(&aml, scope);
    if (aml.overflow) {
        err_set(err, ENOSPC, "the ACPI DSDT does not fit into %zu bytes", aml.capacity);
        return 0;
    }
    area->used += aml.used;
    return table_end(area, header);
}

static gpa_t fadt_write(struct acpi_area *area, gpa_t dsdt_gpa)
{
    struct acpi_fadt *fadt = table_begin(area, "FACP", 6, sizeof *fadt);

    fadt->dsdt_gpa32 = (uint32_t)dsdt_gpa;
    fadt->dsdt_gpa = dsdt_gpa;
    fadt->boot_arch = FADT_BOOT_NO_VGA | FADT_BOOT_NO_RTC;
    fadt->flags =
        FADT_WBINVD | FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_RESET_REG_SUP | FADT_HW_REDUCED;
    fadt->reset_register = (struct acpi_address){ .space = GAS_SYSTEM_IO,
                                                  .bit_width = 8,
                                                  .access = GAS_BYTE_ACCESS,
                                                  .address = I8042_COMMAND_PORT };
    fadt->reset_value = I8042_RESET;
    fadt->minor_revision = 4;
    memcpy(fadt->hypervisor_vendor, "VOLT    ", sizeof fadt->hypervisor_vendor);
    return table_end(area, &fadt->header);
}

static void madt_add(struct acpi_area *area, const void *entry, size_t bytes)
{
    memcpy(area->base + area->used, entry, bytes);
    area->used += bytes;
}

static gpa_t madt_write(struct acpi_area *area, uint32_t vcpu_count)
{
    struct acpi_madt *madt = table_begin(area, "APIC", 5, sizeof *madt);

    madt->lapic_gpa = BOOT_LAPIC_GPA;
    for (uint32_t i = 0; i < vcpu_count; i++) {
        struct acpi_madt_lapic lapic = { .type = MADT_LOCAL_APIC,
                                         .bytes = sizeof lapic,
                                         .processor_uid = (uint8_t)i,
                                         .apic_id = (uint8_t)i,
                                         .flags = MADT_CPU_ENABLED };
        madt_add(area, &lapic, sizeof lapic);
    }
    struct acpi_madt_ioapic ioapic = { .type = MADT_IOAPIC,
                                       .bytes = sizeof ioapic,
                                       .gpa = BOOT_IOAPIC_GPA };
    struct acpi_madt_nmi nmi = {
        .type = MADT_LOCAL_APIC_NMI, .bytes = sizeof nmi, .processor_uid = 0xff, .lint = 1
    };
    madt_add(area, &ioapic, sizeof ioapic);
    madt_add(area, &nmi, sizeof nmi);
    return table_end(area, &madt->header);
}

static gpa_t xsdt_write(struct acpi_area *area, const gpa_t *table_gpa, size_t count)
{
    struct acpi_header *xsdt =
        table_begin(area, "XSDT", 1, sizeof *xsdt + count * sizeof *table_gpa);

    memcpy(xsdt + 1, table_gpa, count * sizeof *table_gpa);
    return table_end(area, xsdt);
}

static void rsdp_write(struct acpi_area *area, gpa_t xsdt_gpa)
{
    struct acpi_rsdp *rsdp = (struct acpi_rsdp *)area->base;

    *rsdp = (struct acpi_rsdp){ .signature = { 'R', 'S', 'D', ' ', 'P', 'T', 'R', ' ' },
                                .oem_id = { 'V', 'O', 'L', 'T', ' ', ' ' },
                                .revision = 2,
                                .bytes = sizeof *rsdp,
                                .xsdt_gpa = xsdt_gpa };
    rsdp->checksum = table_checksum(rsdp, offsetof(struct acpi_rsdp, bytes));
    rsdp->extended_checksum = table_checksum(rsdp, sizeof *rsdp);
}

static int check_config(const struct boot_config *config, struct err *err)
{
    if (config->vcpu_count == 0 || config->vcpu_count > BOOT_VCPUS_MAX)
        return err_set(err, EINVAL, "%u vCPUs: must be 1 to %u", config->vcpu_count,
                       BOOT_VCPUS_MAX);
    if (config->virtio_count > ACPI_VIRTIO_MAX)
        return err_set(err, ENOSPC, "%u virtio devices: ACPI describes at most %u",
                       config->virtio_count, ACPI_VIRTIO_MAX);
    for (unsigned i = 0; i < config->virtio_count; i++) {
        const struct boot_virtio_dev *dev = &config->virtio[i];

        if (dev->gpa > UINT32_MAX || dev->bytes == 0 || dev->gsi >= BOOT_IOAPIC_PINS)
            return err_set(err, EINVAL,
                           "virtio device %u at 0x%llx (%u bytes, GSI %u) can't be described in "
                           "ACPI: it must be below 4 GiB with a GSI below %u",
                           i, (unsigned long long)dev->gpa, dev->bytes, dev->gsi, BOOT_IOAPIC_PINS);
    }
    if (config->vmgenid_gsi >= BOOT_IOAPIC_PINS || config->power_gsi >= BOOT_IOAPIC_PINS)
        return err_set(err, EINVAL, "event GSIs %u and %u: must be below %u", config->vmgenid_gsi,
                       config->power_gsi, BOOT_IOAPIC_PINS);
    return 0;
}

int acpi_write(struct guest_mem *mem, const struct boot_config *config, struct err *err)
{
    struct acpi_area area = { .base = guest_mem_at(mem, BOOT_ACPI_GPA, BOOT_ACPI_BYTES),
                              .used = sizeof(struct acpi_rsdp) };
    int rc = check_config(config, err);

    if (rc < 0)
        return rc;
    gpa_t dsdt = dsdt_write(&area, config, err);
    if (dsdt == 0)
        return -ENOSPC;
    gpa_t table_gpa[] = { fadt_write(&area, dsdt), madt_write(&area, config->vcpu_count) };
    rsdp_write(&area, xsdt_write(&area, table_gpa, ARRAY_LEN(table_gpa)));
    if (config->vmgenid_gsi)
        guest_mem_write(mem, BOOT_VMGENID_GPA, config->vmgenid, sizeof config->vmgenid);
    return 0;
}
