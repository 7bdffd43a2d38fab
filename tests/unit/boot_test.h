/* SPDX-License-Identifier: Apache-2.0 */
/* What the boot tests share: guest memory, files made of bytes, and little kernels to load. */
#ifndef VOLT_TESTS_BOOT_TEST_H
#define VOLT_TESTS_BOOT_TEST_H

#include <asm/bootparam.h>
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"
#include "boot/boot.h"
#include "tap_main.h"

/* A file with these bytes; the caller closes it. */
static inline int test_file(const void *bytes, size_t count)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite_all(fd, bytes, count, 0), 0);
    return fd;
}

static inline void test_memory(struct guest_mem *mem, uint64_t ram_bytes)
{
    struct err err;

    ck_assert_msg(guest_mem_init(mem, ram_bytes, &err) == 0, "%s", err.msg);
    ck_assert_msg(guest_mem_map_new(mem, false, &err) == 0, "%s", err.msg);
}

/* A vmlinux in small: two load segments, a PVH note, entries in the first one. */
#define TEST_ELF_CODE_GPA 0x1000000u
#define TEST_ELF_DATA_GPA 0x1002000u
#define TEST_ELF_PVH_ENTRY (TEST_ELF_CODE_GPA + 0x40)
#define TEST_ELF_DATA_MEMORY 0x3000u

struct test_elf {
    Elf64_Ehdr header;
    Elf64_Phdr segment[3];
    struct {
        Elf64_Nhdr header;
        char name[4];
        uint32_t entry;
    } note;
    uint8_t code[0x400];
    uint8_t data[0x200];
};

static inline void test_elf_init(struct test_elf *elf)
{
    *elf = (struct test_elf){
        .header = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
                    .e_type = ET_EXEC,
                    .e_machine = EM_X86_64,
                    .e_version = EV_CURRENT,
                    .e_entry = TEST_ELF_CODE_GPA + 0x10,
                    .e_phoff = offsetof(struct test_elf, segment),
                    .e_ehsize = sizeof(Elf64_Ehdr),
                    .e_phentsize = sizeof(Elf64_Phdr),
                    .e_phnum = 3 },
        .segment = { { .p_type = PT_LOAD,
                       .p_offset = offsetof(struct test_elf, code),
                       .p_paddr = TEST_ELF_CODE_GPA,
                       .p_filesz = sizeof elf->code,
                       .p_memsz = sizeof elf->code },
                     { .p_type = PT_LOAD,
                       .p_offset = offsetof(struct test_elf, data),
                       .p_paddr = TEST_ELF_DATA_GPA,
                       .p_filesz = sizeof elf->data,
                       .p_memsz = TEST_ELF_DATA_MEMORY },
                     { .p_type = PT_NOTE,
                       .p_offset = offsetof(struct test_elf, note),
                       .p_filesz = sizeof elf->note } },
        .note = { .header = { .n_namesz = 4, .n_descsz = 4, .n_type = 18 },
                  .name = "Xen",
                  .entry = TEST_ELF_PVH_ENTRY },
    };
    memset(elf->code, 0xc0, sizeof elf->code);
    memset(elf->data, 0xda, sizeof elf->data);
}

/* A bzImage in small: one setup sector and a kernel of TEST_BZIMAGE_KERNEL bytes. */
#define TEST_BZIMAGE_KERNEL 0x1000u
#define TEST_BZIMAGE_SETUP (2 * 512u)
#define TEST_BZIMAGE_BYTES (TEST_BZIMAGE_SETUP + TEST_BZIMAGE_KERNEL)

static inline struct setup_header *test_bzimage_init(uint8_t image[TEST_BZIMAGE_BYTES])
{
    struct setup_header *h = (struct setup_header *)(image + 0x1f1);

    memset(image, 0, TEST_BZIMAGE_BYTES);
    memset(image + TEST_BZIMAGE_SETUP, 0xbb, TEST_BZIMAGE_KERNEL);
    *h = (struct setup_header){ .setup_sects = 1,
                                .syssize = TEST_BZIMAGE_KERNEL / 16,
                                .boot_flag = 0xaa55,
                                .jump = 0x6aeb, /* short jump over the header: it ends at 0x26c */
                                .header = 0x53726448,
                                .version = 0x20f,
                                .loadflags = LOADED_HIGH,
                                .initrd_addr_max = 0x7fffffff,
                                .kernel_alignment = 0x200000,
                                .relocatable_kernel = 1,
                                .xloadflags = XLF_KERNEL_64,
                                .cmdline_size = 2047,
                                .pref_address = 0x1000000,
                                .init_size = 0x800000 };
    return h;
}

static inline struct boot_config test_config(int kernel_fd)
{
    return (struct boot_config){
        .kernel_fd = kernel_fd, .initrd_fd = -1, .cmdline = "console=ttyS0", .vcpu_count = 1
    };
}

#endif
