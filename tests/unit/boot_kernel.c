/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: boot_load puts good kernels where they belong and refuses bad ones with a sentence,
 * whatever their bytes. Method: small images made here, loaded whole, then cut at each byte, and
 * with each field set to hostile values. */
#include "boot_test.h"

static struct guest_mem mem;

static void set_up(void)
{
    test_memory(&mem, MIB(64));
}

static void tear_down(void)
{
    guest_mem_fini(&mem);
}

static int load(const void *bytes, size_t count, struct boot_entry *ret_entry, struct err *err)
{
    _cleanup_close_ int fd = test_file(bytes, count);
    struct boot_config config = test_config(fd);

    return boot_load(&mem, &config, ret_entry, err);
}

/* The load must fail with `code` and a sentence that holds `part`. */
static void refused(const void *bytes, size_t count, int code, const char *part)
{
    struct boot_entry entry = { .rip = 42 };
    struct err err = { 0 };
    int rc = load(bytes, count, &entry, &err);

    ck_assert_msg(rc == -code, "rc %d, expected %d: %s", rc, -code, err.msg);
    ck_assert_msg(strstr(err.msg, part) != NULL, "'%s' lacks '%s'", err.msg, part);
    ck_assert_uint_eq(entry.rip, 42);
}

static void expect_bytes(gpa_t gpa, uint8_t value, size_t count)
{
    const uint8_t *at = guest_mem_at(&mem, gpa, count);

    ck_assert_ptr_nonnull(at);
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(at[i] == value, "0x%llx holds %02x, expected %02x",
                      (unsigned long long)(gpa + i), at[i], value);
}

START_TEST(elf_is_loaded_at_its_physical_addresses)
{
    struct test_elf elf;
    struct boot_entry entry;
    struct err err;

    test_elf_init(&elf);
    ck_assert_msg(load(&elf, sizeof elf, &entry, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(entry.protocol, BOOT_PROTOCOL_LINUX64);
    ck_assert_uint_eq(entry.rip, TEST_ELF_CODE_GPA + 0x10);
    ck_assert_uint_eq(entry.rsi, BOOT_PARAMS_GPA);
    ck_assert_uint_eq(entry.kernel_gpa, TEST_ELF_CODE_GPA);
    ck_assert_uint_eq(entry.kernel_end_gpa, TEST_ELF_DATA_GPA + TEST_ELF_DATA_MEMORY);
    expect_bytes(TEST_ELF_CODE_GPA, 0xc0, sizeof elf.code);
    expect_bytes(TEST_ELF_CODE_GPA + sizeof elf.code, 0, 0x100);
    expect_bytes(TEST_ELF_DATA_GPA, 0xda, sizeof elf.data);
    expect_bytes(TEST_ELF_DATA_GPA + sizeof elf.data, 0, TEST_ELF_DATA_MEMORY - sizeof elf.data);
}
END_TEST

START_TEST(elf_without_a_64_bit_entry_is_entered_by_pvh)
{
    struct test_elf elf;
    struct boot_entry entry;
    struct err err;

    test_elf_init(&elf);
    elf.header.e_entry = 0xffffffff81000000;
    ck_assert_msg(load(&elf, sizeof elf, &entry, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(entry.protocol, BOOT_PROTOCOL_PVH);
    ck_assert_uint_eq(entry.rip, TEST_ELF_PVH_ENTRY);
    ck_assert_uint_eq(entry.rbx, BOOT_PVH_INFO_GPA);
    ck_assert_uint_eq(*(uint32_t *)guest_mem_at(&mem, BOOT_PVH_INFO_GPA, 4), 0x336ec578);
    elf.note.name[0] = 'Y';
    refused(&elf, sizeof elf, EINVAL, "no PVH note");
}
END_TEST

/* Sets one field of the ELF kernel to a hostile value. */
static const struct hostile_elf {
    size_t offset, bytes;
    uint64_t value;
    int code;
    const char *part;
} hostile_elfs[] = {
#define EH(field)                                                                                  \
    offsetof(struct test_elf, header.field), sizeof(((struct test_elf *)0)->header.field)
#define PH(field)                                                                                  \
    offsetof(struct test_elf, segment[1].field), sizeof(((struct test_elf *)0)->segment[1].field)
    { EH(e_ident[EI_CLASS]), ELFCLASS32, EINVAL, "not 64-bit" },
    { EH(e_ident[EI_DATA]), ELFDATA2MSB, EINVAL, "not 64-bit" },
    { EH(e_machine), EM_AARCH64, EINVAL, "machine 183" },
    { EH(e_type), ET_REL, EINVAL, "not an executable" },
    { EH(e_phentsize), 55, EINVAL, "program headers of 55 bytes" },
    { EH(e_phnum), 0, EINVAL, "0 program headers" },
    { EH(e_phnum), 0xffff, EINVAL, "65535 program headers" },
    { EH(e_phoff), UINT64_MAX, EINVAL, "end behind the file's end" },
    { EH(e_phoff), UINT64_MAX - 100, EINVAL, "end behind the file's end" },
    { PH(p_offset), UINT64_MAX, EINVAL, "cut short" },
    { PH(p_offset), sizeof(struct test_elf), EINVAL, "cut short" },
    { PH(p_filesz), UINT64_MAX, EINVAL, "cut short" },
    { PH(p_filesz), TEST_ELF_DATA_MEMORY + 1, EINVAL, "cut short" },
    { PH(p_memsz), 1, EINVAL, "more bytes in the file" },
    { PH(p_memsz), UINT64_MAX, ENOMEM, "does not fit" },
    { PH(p_memsz), MIB(64), ENOMEM, "does not fit" },
    { PH(p_paddr), UINT64_MAX, ENOMEM, "does not fit" },
    { PH(p_paddr), UINT64_MAX - TEST_ELF_DATA_MEMORY + 1, ENOMEM, "does not fit" },
    { PH(p_paddr), MIB(64) - 1, ENOMEM, "does not fit" },
    { PH(p_paddr), 0, EINVAL, "below 0x100000" },
    { PH(p_paddr), BOOT_PAGE_TABLES_GPA, EINVAL, "below 0x100000" },
    { PH(p_paddr), TEST_ELF_CODE_GPA + 0x3ff, EINVAL, "overlaps" },
    { PH(p_paddr), TEST_ELF_CODE_GPA - 0x1000, EINVAL, "overlaps" },
    { offsetof(struct test_elf, note.entry), 4, 0x1000, EINVAL, "in none of its segments" },
    { offsetof(struct test_elf, segment[2].p_offset), 8, UINT64_MAX, EINVAL, "behind its end" },
};

START_TEST(hostile_elf_is_refused)
{
    const struct hostile_elf *h = &hostile_elfs[_i];
    struct test_elf elf;

    test_elf_init(&elf);
    memcpy((uint8_t *)&elf + h->offset, &h->value, h->bytes);
    refused(&elf, sizeof elf, h->code, h->part);
}
END_TEST

START_TEST(malformed_notes_are_skipped)
{
    static const uint32_t sizes[] = { 0xffffffff, 0x7fffffff, 0x1000, 13 };
    struct test_elf elf;
    struct boot_entry entry;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        test_elf_init(&elf);
        elf.note.header.n_namesz = sizes[i];
        ck_assert_msg(load(&elf, sizeof elf, &entry, &err) == 0, "%s", err.msg);
        test_elf_init(&elf);
        elf.note.header.n_descsz = sizes[i];
        ck_assert_msg(load(&elf, sizeof elf, &entry, &err) == 0, "%s", err.msg);
    }
}
END_TEST

START_TEST(elf_cut_anywhere_is_refused)
{
    struct test_elf elf;
    struct boot_entry entry;
    struct err err;

    test_elf_init(&elf);
    for (size_t bytes = 0; bytes < offsetof(struct test_elf, data) + sizeof elf.data; bytes++) {
        ck_assert_msg(load(&elf, bytes, &entry, &err) < 0, "cut to %zu bytes it loads", bytes);
        ck_assert_int_gt((int)strlen(err.msg), 10);
    }
}
END_TEST

START_TEST(bzimage_is_loaded_where_it_prefers)
{
    uint8_t image[TEST_BZIMAGE_BYTES];
    struct boot_entry entry;
    struct err err;
    const struct boot_params *params;

    test_bzimage_init(image);
    ck_assert_msg(load(image, sizeof image, &entry, &err) == 0, "%s", err.msg);
    ck_assert_uint_eq(entry.rip, 0x1000200);
    ck_assert_uint_eq(entry.kernel_gpa, 0x1000000);
    ck_assert_uint_eq(entry.kernel_end_gpa, 0x1800000);
    expect_bytes(0x1000000, 0xbb, TEST_BZIMAGE_KERNEL);
    expect_bytes(0x1000000 + TEST_BZIMAGE_KERNEL, 0, 0x100);
    params = guest_mem_at(&mem, BOOT_PARAMS_GPA, sizeof *params);
    ck_assert_uint_eq(params->hdr.header, 0x53726448);
    ck_assert_uint_eq(params->hdr.type_of_loader, 0xff);
    ck_assert_uint_eq(params->hdr.cmd_line_ptr, BOOT_CMDLINE_GPA);
    ck_assert_uint_eq(params->hdr.init_size, 0x800000);
    ck_assert_str_eq(guest_mem_at(&mem, BOOT_CMDLINE_GPA, 14), "console=ttyS0");
}
END_TEST

START_TEST(bzimage_moves_down_when_it_may)
{
    uint8_t image[TEST_BZIMAGE_BYTES];
    struct setup_header *h = test_bzimage_init(image);
    struct boot_entry entry;
    struct err err;

    h->pref_address = MIB(60);
    ck_assert_msg(load(image, sizeof image, &entry, &err) == 0, "%s", err.msg);
    ck_assert_uint_eq(entry.kernel_gpa, 0x200000);
    h->relocatable_kernel = 0;
    refused(image, sizeof image, ENOMEM, "can't be moved");
}
END_TEST

static const struct hostile_bzimage {
    size_t offset, bytes;
    uint64_t value;
    int code;
    const char *part;
} hostile_bzimages[] = {
#define SH(field)                                                                                  \
    0x1f1 + offsetof(struct setup_header, field), sizeof(((struct setup_header *)0)->field)
    { SH(boot_flag), 0, EINVAL, "boot flag 0x0000" },
    { SH(header), 0, EINVAL, "neither ELF" },
    { SH(version), 0x205, EINVAL, "protocol 2.05" },
    { SH(version), 0x20b, EINVAL, "no 64-bit entry" },
    { SH(xloadflags), 0, EINVAL, "no 64-bit entry" },
    { SH(loadflags), 0, EINVAL, "zImage" },
    { SH(kernel_alignment), 0, EINVAL, "power of two" },
    { SH(kernel_alignment), 0x300000, EINVAL, "power of two" },
    { SH(cmdline_size), 0, EINVAL, "no command line" },
    { SH(cmdline_size), 5, EINVAL, "takes at most 5" },
    { SH(syssize), 0, EINVAL, "too small" },
    { SH(syssize), 0x20, EINVAL, "too small" },
    { SH(syssize), UINT32_MAX, EINVAL, "cut short" },
    { SH(syssize), TEST_BZIMAGE_KERNEL / 16 + 1, EINVAL, "cut short" },
    { SH(setup_sects), 0, EINVAL, "cut short" },
    { SH(setup_sects), 255, EINVAL, "cut short" },
    { SH(init_size), UINT32_MAX, ENOMEM, "give the guest more memory" },
    { SH(init_size), MIB(63), ENOMEM, "give the guest more memory" },
};

START_TEST(hostile_bzimage_is_refused)
{
    const struct hostile_bzimage *h = &hostile_bzimages[_i];
    uint8_t image[TEST_BZIMAGE_BYTES];

    test_bzimage_init(image);
    memcpy(image + h->offset, &h->value, h->bytes);
    refused(image, sizeof image, h->code, h->part);
}
END_TEST

START_TEST(hostile_preferred_address_is_not_used)
{
    static const uint64_t addresses[] = {
        0, 0x7000, 0xff000, 0x100001, UINT64_MAX - 1, 1ull << 63
    };
    uint8_t image[TEST_BZIMAGE_BYTES];
    struct setup_header *h = test_bzimage_init(image);
    struct boot_entry entry;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        h->pref_address = addresses[i];
        ck_assert_msg(load(image, sizeof image, &entry, &err) == 0, "%s", err.msg);
        ck_assert_uint_eq(entry.kernel_gpa, 0x200000);
    }
}
END_TEST

START_TEST(bzimage_cut_anywhere_is_refused)
{
    uint8_t image[TEST_BZIMAGE_BYTES];
    struct boot_entry entry;
    struct err err;

    test_bzimage_init(image);
    for (size_t bytes = 0; bytes < sizeof image; bytes++)
        ck_assert_msg(load(image, bytes, &entry, &err) < 0, "cut to %zu bytes it loads", bytes);
}
END_TEST

START_TEST(initrd_lies_at_the_top)
{
    uint8_t image[TEST_BZIMAGE_BYTES], initrd[5000];
    struct setup_header *h = test_bzimage_init(image);
    struct boot_entry entry;
    struct err err;

    h->initrd_addr_max = MIB(40) - 1;
    memset(initrd, 0x1d, sizeof initrd);
    _cleanup_close_ int kernel_fd = test_file(image, sizeof image);
    _cleanup_close_ int initrd_fd = test_file(initrd, sizeof initrd);
    struct boot_config config = test_config(kernel_fd);
    config.initrd_fd = initrd_fd;
    ck_assert_msg(boot_load(&mem, &config, &entry, &err) == 0, "%s", err.msg);
    ck_assert_uint_eq(entry.initrd_gpa, MIB(40) - 8192);
    ck_assert_uint_eq(entry.initrd_bytes, sizeof initrd);
    expect_bytes(entry.initrd_gpa, 0x1d, sizeof initrd);

    /* Not over the memory that the kernel unpacks itself into, however large it claims to be. */
    ck_assert_int_eq(ftruncate(initrd_fd, (off_t)MIB(17)), 0);
    ck_assert_int_eq(boot_load(&mem, &config, &entry, &err), -ENOMEM);
    ck_assert_ptr_nonnull(strstr(err.msg, "initrd"));
    ck_assert_int_eq(ftruncate(initrd_fd, 1ll << 40), 0);
    ck_assert_int_eq(boot_load(&mem, &config, &entry, &err), -ENOMEM);
    ck_assert_int_eq(ftruncate(initrd_fd, 0), 0);
    ck_assert_int_eq(boot_load(&mem, &config, &entry, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "initrd is empty"));
}
END_TEST

START_TEST(kernel_loads_without_a_memory_file)
{
    struct test_elf elf;
    struct boot_entry entry;
    struct err err;
    int fd = mem.fd;

    test_elf_init(&elf);
    mem.fd = -1; /* then it is read straight into the mapping */
    ck_assert_msg(load(&elf, sizeof elf, &entry, &err) == 0, "%s", err.msg);
    mem.fd = fd;
    expect_bytes(TEST_ELF_DATA_GPA, 0xda, sizeof elf.data);
}
END_TEST

START_TEST(odd_files_are_refused)
{
    int pipe_fds[2];
    struct boot_entry entry;
    struct err err;

    refused("", 0, EINVAL, "empty");
    refused("MZ", 2, EINVAL, "neither ELF");
    ck_assert_int_eq(pipe(pipe_fds), 0);
    struct boot_config config = test_config(pipe_fds[0]);
    ck_assert_int_eq(boot_load(&mem, &config, &entry, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "not a regular file"));
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}
END_TEST

/* Every byte of both headers, set to every of a few values: whatever comes of it, no crash, and a
 * success leaves the entry inside RAM. */
START_TEST(flipped_headers_are_harmless)
{
    static const uint8_t values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
    uint8_t elf[sizeof(struct test_elf)], bz[TEST_BZIMAGE_BYTES];
    struct boot_entry entry;
    struct err err;

    for (size_t v = 0; v < ARRAY_LEN(values); v++) {
        for (size_t at = 0; at < offsetof(struct test_elf, code); at++) {
            test_elf_init((struct test_elf *)elf);
            elf[at] = values[v];
            if (load(elf, sizeof elf, &entry, &err) == 0)
                ck_assert_ptr_nonnull(guest_mem_at(&mem, entry.rip, 1));
        }
        for (size_t at = 0x1f1; at < 0x270; at++) {
            test_bzimage_init(bz);
            bz[at] = values[v];
            if (load(bz, sizeof bz, &entry, &err) == 0)
                ck_assert_ptr_nonnull(guest_mem_at(&mem, entry.rip, 1));
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("boot_kernel");
    TCase *tests = tap_case(suite, "kernel");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, elf_is_loaded_at_its_physical_addresses);
    tcase_add_test(tests, elf_without_a_64_bit_entry_is_entered_by_pvh);
    tcase_add_loop_test(tests, hostile_elf_is_refused, 0, ARRAY_LEN(hostile_elfs));
    tcase_add_test(tests, malformed_notes_are_skipped);
    tcase_add_test(tests, elf_cut_anywhere_is_refused);
    tcase_add_test(tests, bzimage_is_loaded_where_it_prefers);
    tcase_add_test(tests, bzimage_moves_down_when_it_may);
    tcase_add_loop_test(tests, hostile_bzimage_is_refused, 0, ARRAY_LEN(hostile_bzimages));
    tcase_add_test(tests, hostile_preferred_address_is_not_used);
    tcase_add_test(tests, bzimage_cut_anywhere_is_refused);
    tcase_add_test(tests, initrd_lies_at_the_top);
    tcase_add_test(tests, kernel_loads_without_a_memory_file);
    tcase_add_test(tests, odd_files_are_refused);
    tcase_add_test(tests, flipped_headers_are_harmless);
    return tap_main(suite);
}
