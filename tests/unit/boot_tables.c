/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the tables that a guest finds - memory map, MP table, ACPI, page tables, PVH's start info -
 * are whole and right. Method: boot_load with a small kernel, then read guest memory back as a
 * kernel would, from the signatures on. */
#include <linux/kvm.h>

#include "boot_test.h"

static struct guest_mem mem;
static struct test_elf elf;
static int kernel_fd;

static void set_up(void)
{
    test_memory(&mem, MIB(64));
    test_elf_init(&elf);
    kernel_fd = test_file(&elf, sizeof elf);
}

static void tear_down(void)
{
    close_fd(&kernel_fd);
    guest_mem_fini(&mem);
}

static void load(const struct boot_config *config, struct boot_entry *ret_entry)
{
    struct err err;

    ck_assert_msg(boot_load(&mem, config, ret_entry, &err) == 0, "%s", err.msg);
}

static uint8_t sum(const void *bytes, size_t count)
{
    const uint8_t *at = bytes;
    uint8_t total = 0;

    while (count--)
        total = (uint8_t)(total + *at++);
    return total;
}

static uint32_t read32(gpa_t gpa)
{
    uint32_t value = 0;

    ck_assert(guest_mem_read(&mem, gpa, &value, sizeof value));
    return value;
}

static uint64_t read64(gpa_t gpa)
{
    return read32(gpa) | (uint64_t)read32(gpa + 4) << 32;
}

START_TEST(memory_map_keeps_what_the_guest_must_not_use)
{
    struct boot_config config = test_config(kernel_fd);
    struct boot_entry entry;
    const struct boot_params *params;
    uint64_t end = 0;

    load(&config, &entry);
    params = guest_mem_at(&mem, BOOT_PARAMS_GPA, sizeof *params);
    ck_assert_uint_eq(params->e820_entries, 3);
    for (unsigned i = 0; i < params->e820_entries; i++) {
        struct boot_e820_entry e = params->e820_table[i];

        ck_assert_uint_eq(e.addr, end);
        end = e.addr + e.size;
        ck_assert_uint_eq(e.type == 1, e.addr != FUNCTION_AREA_GPA);
    }
    ck_assert_uint_eq(params->e820_table[1].addr, FUNCTION_AREA_GPA);
    ck_assert_uint_eq(params->e820_table[1].size, 0x100000 - FUNCTION_AREA_GPA);
    ck_assert_uint_eq(end, MIB(64));
}
END_TEST

START_TEST(memory_above_the_gap_is_told)
{
    struct boot_config config = test_config(kernel_fd);
    struct boot_entry entry;
    const struct boot_params *params;

    guest_mem_fini(&mem);
    test_memory(&mem, GIB(5));
    load(&config, &entry);
    params = guest_mem_at(&mem, BOOT_PARAMS_GPA, sizeof *params);
    ck_assert_uint_eq(params->e820_entries, 4);
    ck_assert_uint_eq(params->e820_table[2].addr + params->e820_table[2].size, GUEST_MMIO_GAP_GPA);
    ck_assert_uint_eq(params->e820_table[3].addr, GUEST_HIGH_RAM_GPA);
    ck_assert_uint_eq(params->e820_table[3].size, GIB(5) - GUEST_MMIO_GAP_GPA);
}
END_TEST

/* Bytes of an MP table entry by its type. */
static const uint8_t mp_entry_bytes[] = { 20, 8, 8, 8, 8 };

START_TEST(mp_table_is_whole)
{
    static const uint32_t counts[] = { 1, 2, 8, BOOT_VCPUS_MAX };
    unsigned seen[5] = { 0 };
    struct boot_config config = test_config(kernel_fd);
    struct boot_entry entry;

    config.vcpu_count = counts[_i];
    load(&config, &entry);
    const uint8_t *floating = guest_mem_at(&mem, 0x9fc00, 0x400);
    ck_assert_mem_eq(floating, "_MP_", 4);
    ck_assert_uint_eq(sum(floating, 16), 0);
    gpa_t table_gpa = read32(0x9fc04);
    uint16_t bytes = (uint16_t)read32(table_gpa + 4);
    const uint8_t *table = guest_mem_at(&mem, table_gpa, bytes);
    ck_assert_mem_eq(table, "PCMP", 4);
    ck_assert_uint_le(table_gpa + bytes, 0xa0000);
    ck_assert_uint_eq(sum(table, bytes), 0);
    size_t at = 44;
    for (unsigned i = 0; i < (read32(table_gpa + 34) & 0xffff); i++) {
        ck_assert_uint_lt(table[at], ARRAY_LEN(mp_entry_bytes));
        if (table[at] == 0) {
            ck_assert_uint_eq(table[at + 1], seen[0]); /* APIC ids count up from 0 */
            ck_assert_uint_eq(table[at + 3], seen[0] == 0 ? 3 : 1);
        } else if (table[at] == 3) {
            ck_assert_uint_eq(table[at + 5], seen[3]); /* ISA interrupt n is pin n */
            ck_assert_uint_eq(table[at + 7], seen[3]);
        }
        seen[table[at]]++;
        at += mp_entry_bytes[table[at]];
    }
    ck_assert_uint_eq(at, bytes);
    ck_assert_uint_eq(seen[0], counts[_i]);
    ck_assert_uint_eq(seen[1], 1);
    ck_assert_uint_eq(seen[2], 1);
    ck_assert_uint_eq(seen[3], BOOT_IOAPIC_PINS);
    ck_assert_uint_eq(seen[4], 2);
}
END_TEST

static const struct boot_virtio_dev virtio[] = { { 0xd0000000, 4096, 5 }, { 0xd0001000, 4096, 6 } };

static struct boot_config acpi_config(void)
{
    struct boot_config config = test_config(kernel_fd);

    config.acpi = config.serial = true;
    config.virtio = virtio;
    config.virtio_count = ARRAY_LEN(virtio);
    config.vmgenid_gsi = 20;
    config.power_gsi = 21;
    memset(config.vmgenid, 0x6e, sizeof config.vmgenid);
    return config;
}

/* Follows RSDP and XSDT to a table, checking checksums on the way; 0 when there is none. */
static gpa_t find_acpi(const char *signature)
{
    ck_assert_mem_eq(guest_mem_at(&mem, BOOT_ACPI_GPA, 8), "RSD PTR ", 8);
    ck_assert_uint_eq(sum(guest_mem_at(&mem, BOOT_ACPI_GPA, 20), 20), 0);
    ck_assert_uint_eq(sum(guest_mem_at(&mem, BOOT_ACPI_GPA, 36), 36), 0);
    gpa_t xsdt = read64(BOOT_ACPI_GPA + 24);
    uint32_t bytes = read32(xsdt + 4);
    ck_assert_mem_eq(guest_mem_at(&mem, xsdt, 4), "XSDT", 4);
    ck_assert_uint_eq(sum(guest_mem_at(&mem, xsdt, bytes), bytes), 0);
    for (gpa_t at = xsdt + 36; at < xsdt + bytes; at += 8) {
        gpa_t table = read64(at);

        if (memcmp(guest_mem_at(&mem, table, 4), signature, 4) == 0)
            return table;
    }
    return 0;
}

static void expect_table_whole(gpa_t table)
{
    uint32_t bytes = read32(table + 4);

    ck_assert_uint_ge(bytes, 36);
    ck_assert_uint_le(table + bytes, BOOT_ACPI_GPA + BOOT_ACPI_BYTES);
    ck_assert_uint_eq(sum(guest_mem_at(&mem, table, bytes), bytes), 0);
}

START_TEST(acpi_tables_are_whole)
{
    struct boot_config config = acpi_config();
    struct boot_entry entry;
    const struct boot_params *params;

    config.vcpu_count = 8;
    load(&config, &entry);
    params = guest_mem_at(&mem, BOOT_PARAMS_GPA, sizeof *params);
    ck_assert_uint_eq(params->acpi_rsdp_addr, BOOT_ACPI_GPA);
    gpa_t fadt = find_acpi("FACP"), madt = find_acpi("APIC");
    ck_assert_uint_ne(fadt, 0);
    ck_assert_uint_ne(madt, 0);
    expect_table_whole(fadt);
    expect_table_whole(madt);
    ck_assert_uint_eq(read32(fadt + 112) & (1u << 20), 1u << 20); /* HW_REDUCED_ACPI */
    ck_assert_uint_eq(read32(madt + 36), BOOT_LAPIC_GPA);
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t lapic = read32(madt + 44 + 8 * i);

        ck_assert_uint_eq(lapic, 0x0800u | i << 16 | i << 24); /* type 0, 8 bytes, uid, APIC id */
    }
    gpa_t dsdt = read64(fadt + 140);
    ck_assert_uint_eq(read32(fadt + 40), dsdt);
    ck_assert_mem_eq(guest_mem_at(&mem, dsdt, 4), "DSDT", 4);
    expect_table_whole(dsdt);
    ck_assert_mem_eq(guest_mem_at(&mem, BOOT_VMGENID_GPA, 16), config.vmgenid, 16);
}
END_TEST

/* AML is nested packages: in a sound table each block ends within its parent. */
START_TEST(dsdt_names_its_devices)
{
    struct boot_config config = acpi_config();
    struct boot_entry entry;

    load(&config, &entry);
    gpa_t dsdt = read64(find_acpi("FACP") + 140);
    uint32_t bytes = read32(dsdt + 4);
    const uint8_t *aml = guest_mem_at(&mem, dsdt, bytes);
    static const struct {
        const char *bytes;
        size_t count;
        unsigned times;
    } expected[] = {
        { "LNRO0005", 9, 2 },
        { "PNP0501", 8, 1 },
        { "PNP0C0C", 8, 1 },
        { "ACPI0013", 9, 1 },
        { "VM_Gen_Counter", 15, 2 },
        { "ADDR\x12\x8e\x00\x00\x02\x0c\x00\xf0\x09\x00", 14, 1 }, /* Package(2){0x9f000, ...} */
        { "\x86\x09\x00\x01\x00\x10\x00\xd0\x00\x10\x00\x00", 12, 1 }, /* 0xd0001000, 4 KiB */
        { "\x89\x06\x00\x03\x01\x06\x00\x00\x00", 9, 1 },              /* GSI 6 */
    };
    for (size_t e = 0; e < ARRAY_LEN(expected); e++) {
        unsigned times = 0;

        for (uint32_t at = 0; at + expected[e].count <= bytes; at++)
            times += memcmp(aml + at, expected[e].bytes, expected[e].count) == 0;
        ck_assert_msg(times == expected[e].times, "pattern %zu: %u times", e, times);
    }
    /* The scope's length reaches to the table's end exactly. */
    ck_assert_uint_eq(aml[36], 0x10);
    ck_assert_uint_eq(37 + (aml[37] & 0xf) + (aml[38] << 4) + (aml[39] << 12), bytes);
}
END_TEST

START_TEST(acpi_refuses_what_it_cannot_describe)
{
    static const struct boot_virtio_dev bad[] = { { 1ull << 32, 4096, 5 },
                                                  { 0xd0000000, 0, 5 },
                                                  { 0xd0000000, 4096, 24 } };
    struct boot_config config = acpi_config();
    struct boot_entry entry;
    struct err err;

    config.virtio_count = 1;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        config.virtio = &bad[i];
        ck_assert_int_eq(boot_load(&mem, &config, &entry, &err), -EINVAL);
    }
    config = acpi_config();
    config.virtio_count = 33;
    ck_assert_int_eq(boot_load(&mem, &config, &entry, &err), -ENOSPC);
    config = acpi_config();
    config.power_gsi = 24;
    ck_assert_int_eq(boot_load(&mem, &config, &entry, &err), -EINVAL);
    config = acpi_config();
    config.vcpu_count = 0;
    ck_assert_int_eq(boot_load(&mem, &config, &entry, &err), -EINVAL);
    config.vcpu_count = BOOT_VCPUS_MAX + 1;
    ck_assert_int_eq(boot_load(&mem, &config, &entry, &err), -EINVAL);
}
END_TEST

START_TEST(page_tables_map_four_gib)
{
    static const uint64_t probes[] = { 0, 0x1000010, MIB(63), GIB(3) + 5, GIB(4) - 1 };
    struct boot_config config = test_config(kernel_fd);
    struct boot_entry entry;

    load(&config, &entry);
    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        uint64_t va = probes[i];
        uint64_t pml4e = read64(entry.cr3 + 8 * (va >> 39));
        uint64_t pdpte = read64((pml4e & ~0xfffull) + 8 * ((va >> 30) & 511));
        uint64_t pde = read64((pdpte & ~0xfffull) + 8 * ((va >> 21) & 511));

        ck_assert_uint_eq(pml4e & 3, 3);
        ck_assert_uint_eq(pdpte & 3, 3);
        ck_assert_uint_eq(pde & 0x83, 0x83);
        ck_assert_uint_eq((pde & ~0x1fffffull) | (va & 0x1fffff), va);
    }
}
END_TEST

START_TEST(vcpu_starts_as_its_protocol_says)
{
    struct boot_config config = test_config(kernel_fd);
    struct boot_entry entry;
    struct kvm_sregs sregs = { .apic_base = 0xfee00900 };
    struct kvm_regs regs;

    load(&config, &entry);
    boot_vcpu_regs(&entry, &sregs, &regs);
    ck_assert_uint_eq(sregs.cr0, 0x80000011);
    ck_assert_uint_eq(sregs.efer, 0x500);
    ck_assert_uint_eq(sregs.cr4, 0x20);
    ck_assert_uint_eq(sregs.cs.selector, 0x10);
    ck_assert_uint_eq(sregs.cs.l, 1);
    ck_assert_uint_eq(sregs.cs.db, 0);
    ck_assert_uint_eq(sregs.ss.selector, 0x18);
    ck_assert_uint_eq(sregs.apic_base, 0xfee00900);
    ck_assert_uint_eq(read64(entry.gdt_gpa + 0x10), 0x00af9b000000ffff);
    ck_assert_uint_eq(read64(entry.gdt_gpa + 0x18), 0x00cf93000000ffff);
    ck_assert_uint_eq(regs.rflags, 2);
    ck_assert_uint_eq(regs.rsi, BOOT_PARAMS_GPA);

    config.protocol = BOOT_PROTOCOL_PVH;
    load(&config, &entry);
    boot_vcpu_regs(&entry, &sregs, &regs);
    ck_assert_uint_eq(sregs.cr0, 0x11);
    ck_assert_uint_eq(sregs.efer, 0);
    ck_assert_uint_eq(sregs.cs.db, 1);
    ck_assert_uint_eq(sregs.cs.l, 0);
    ck_assert_uint_eq(regs.rip, TEST_ELF_PVH_ENTRY);
    ck_assert_uint_eq(regs.rbx, BOOT_PVH_INFO_GPA);
}
END_TEST

START_TEST(pvh_start_info_points_at_everything)
{
    uint8_t initrd[100] = { 1 };
    _cleanup_close_ int initrd_fd = test_file(initrd, sizeof initrd);
    struct boot_config config = acpi_config();
    struct boot_entry entry;

    config.protocol = BOOT_PROTOCOL_PVH;
    config.initrd_fd = initrd_fd;
    load(&config, &entry);
    gpa_t info = entry.rbx;
    ck_assert_uint_eq(read32(info), 0x336ec578);
    ck_assert_uint_eq(read32(info + 4), 1);
    ck_assert_uint_eq(read32(info + 12), 1);
    ck_assert_uint_eq(read64(read64(info + 16)), entry.initrd_gpa);
    ck_assert_uint_eq(read64(read64(info + 16) + 8), sizeof initrd);
    ck_assert_str_eq(guest_mem_at(&mem, read64(info + 24), 14), config.cmdline);
    ck_assert_uint_eq(read64(info + 32), BOOT_ACPI_GPA);
    ck_assert_uint_eq(read32(info + 48), 3);
    ck_assert_uint_eq(read64(read64(info + 40) + 24), FUNCTION_AREA_GPA);
}
END_TEST

START_TEST(cmdline_names_virtio_windows)
{
    char cmdline[128] = "quiet";
    char small[40] = "quiet";
    struct err err;

    ck_assert_int_eq(boot_cmdline_add_virtio(cmdline, sizeof cmdline, virtio, 2, &err), 0);
    ck_assert_str_eq(cmdline, "quiet virtio_mmio.device=4096@0xd0000000:5"
                              " virtio_mmio.device=4096@0xd0001000:6");
    ck_assert_int_eq(boot_cmdline_add_virtio(small, sizeof small, virtio, 2, &err), -E2BIG);
    ck_assert_str_eq(small, "quiet");
    memset(small, 'x', sizeof small);
    ck_assert_int_eq(boot_cmdline_add_virtio(small, sizeof small, virtio, 2, &err), -E2BIG);
}
END_TEST

START_TEST(long_cmdline_is_refused)
{
    char cmdline[2049];
    struct boot_config config = test_config(kernel_fd);
    struct boot_entry entry;
    struct err err;

    memset(cmdline, 'x', sizeof cmdline);
    cmdline[2047] = '\0';
    config.cmdline = cmdline;
    load(&config, &entry);
    cmdline[2047] = 'x';
    cmdline[2048] = '\0';
    ck_assert_int_eq(boot_load(&mem, &config, &entry, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "takes at most 2047"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("boot_tables");
    TCase *tests = tap_case(suite, "tables");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, memory_map_keeps_what_the_guest_must_not_use);
    tcase_add_test(tests, memory_above_the_gap_is_told);
    tcase_add_loop_test(tests, mp_table_is_whole, 0, 4);
    tcase_add_test(tests, acpi_tables_are_whole);
    tcase_add_test(tests, dsdt_names_its_devices);
    tcase_add_test(tests, acpi_refuses_what_it_cannot_describe);
    tcase_add_test(tests, page_tables_map_four_gib);
    tcase_add_test(tests, vcpu_starts_as_its_protocol_says);
    tcase_add_test(tests, pvh_start_info_points_at_everything);
    tcase_add_test(tests, cmdline_names_virtio_windows);
    tcase_add_test(tests, long_cmdline_is_refused);
    return tap_main(suite);
}
