/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the kernel loaders: ELF vmlinux, PVH, bzImage. Input: 4 bytes (flags, then where the
 * initrd begins, in 1/256 of the rest), then kernel and initrd. */
#include <stdlib.h>
#include <sys/mman.h>

#include "base/util.h"
#include "boot/boot.h"
#include "fuzz.h"

static int file_make(const uint8_t *data, size_t bytes)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    if (fd < 0 || pwrite_all(fd, data, bytes, 0) < 0)
        abort();
    return fd;
}

/* The same mapping for all runs; pages that were written are dropped. */
static struct guest_mem *memory_get(void)
{
    static struct guest_mem mem;
    struct err err;

    if (!mem.hva) {
        if (guest_mem_init(&mem, GUEST_RAM_BYTES_MIN, &err) < 0)
            abort();
        mem.hva = mmap(NULL, mem.ram_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mem.hva == MAP_FAILED)
            abort();
    }
    if (madvise(mem.hva, mem.ram_bytes, MADV_DONTNEED) < 0)
        abort();
    return &mem;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct boot_virtio_dev virtio[] = { { 0xd0000000, 0x1000, 5 },
                                                     { 0xd0001000, 0x1000, 6 } };
    struct fuzz_input input = { data, bytes };
    uint8_t flags = fuzz_u8(&input), vcpus = fuzz_u8(&input), split = fuzz_u8(&input);
    uint8_t cmdline_bytes = fuzz_u8(&input);
    char cmdline[256];
    size_t kernel_bytes = split ? input.bytes * split / 256 : input.bytes;
    _cleanup_close_ int kernel_fd = file_make(input.data, kernel_bytes);
    _cleanup_close_ int initrd_fd =
        split ? file_make(input.data + kernel_bytes, input.bytes - kernel_bytes) : -1;
    struct guest_mem *mem = memory_get();
    struct boot_entry entry = { 0 };
    struct err err = { 0 };
    const struct boot_config config = { .kernel_fd = kernel_fd,
                                        .initrd_fd = initrd_fd,
                                        .cmdline = cmdline,
                                        .vcpu_count = 1 + vcpus % BOOT_VCPUS_MAX,
                                        .protocol = (enum boot_protocol)(flags % 3),
                                        .acpi = flags & 4,
                                        .virtio = virtio,
                                        .virtio_count = flags & 8 ? 2 : 0,
                                        .serial = flags & 16,
                                        .vmgenid_gsi = flags & 32 ? 10 : 0,
                                        .power_gsi = flags & 64 ? 11 : 0 };

    memset(cmdline, 'a', sizeof(cmdline));
    cmdline[cmdline_bytes] = '\0';
    if (boot_load(mem, &config, &entry, &err) < 0) {
        if (err.msg[0] == '\0')
            abort();
    } else if (!guest_mem_at(mem, entry.kernel_gpa, entry.kernel_end_gpa - entry.kernel_gpa) ||
               (entry.initrd_gpa && !guest_mem_at(mem, entry.initrd_gpa, entry.initrd_bytes))) {
        abort(); /* what was loaded lies in RAM */
    }
    return 0;
}
