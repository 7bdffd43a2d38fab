/* SPDX-License-Identifier: Apache-2.0 */
/* Owns reading a bzImage (Linux Documentation/arch/x86/boot.rst): the setup header, and the
 * protected-mode part, which is entered in long mode 0x200 bytes from its start. The real-mode
 * part is not used. */
#include "boot/kernel_image.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "boot/layout.h"

#define SETUP_HEADER_OFFSET 0x1f1u
#define SETUP_HEADER_END_OFFSET 0x201u /* the byte here, plus 0x202, is where the header ends */
#define SECTOR_BYTES 512u
#define SETUP_SECTS_DEFAULT 4u
#define ENTRY64_OFFSET 0x200u
#define VERSION_CMDLINE_SIZE 0x206u
#define VERSION_XLOADFLAGS 0x20cu

static int read_header(int fd, uint64_t file_bytes, struct setup_header *ret_header,
                       struct err *err)
{
    uint8_t raw[SECTOR_BYTES * 2] = { 0 };
    size_t bytes = MIN_OF(file_bytes, sizeof raw);
    int rc = pread_all(fd, raw, bytes, 0);

    if (rc < 0)
        return err_set_errno(err, -rc, "reading the bzImage's setup header");
    size_t end = 0x202u + raw[SETUP_HEADER_END_OFFSET];
    size_t whole = SETUP_HEADER_OFFSET + sizeof *ret_header;
    if (end > bytes)
        return err_set(err, EINVAL,
                       "the bzImage is cut short: its setup header ends at offset 0x%zx, the file "
                       "at %llu bytes",
                       end, (unsigned long long)file_bytes);
    /* An older kernel's header is shorter: what it lacks reads as zero. */
    memset(ret_header, 0, sizeof *ret_header);
    memcpy(ret_header, raw + SETUP_HEADER_OFFSET, MIN_OF(end, whole) - SETUP_HEADER_OFFSET);
    return 0;
}

static int check_header(const struct setup_header *h, struct err *err)
{
    if (h->boot_flag != 0xaa55)
        return err_set(err, EINVAL,
                       "the bzImage has boot flag 0x%04x at offset 0x1fe, expected 0xaa55",
                       h->boot_flag);
    if (h->version < VERSION_CMDLINE_SIZE)
        return err_set(err, EINVAL, "the bzImage has boot protocol %u.%02u, expected 2.06 or later",
                       h->version >> 8, h->version & 0xff);
    if (!(h->loadflags & LOADED_HIGH))
        return err_set(err, EINVAL, "the kernel is a zImage (loads below 1 MiB), not a bzImage");
    if (h->version < VERSION_XLOADFLAGS || !(h->xloadflags & XLF_KERNEL_64))
        return err_set(err, EINVAL,
                       "the bzImage has no 64-bit entry (XLF_KERNEL_64, boot protocol 2.12): it is "
                       "a 32-bit kernel or too old");
    if (h->kernel_alignment == 0 || (h->kernel_alignment & (h->kernel_alignment - 1)) != 0)
        return err_set(err, EINVAL,
                       "the bzImage asks for an alignment of 0x%x, which is not a power of two",
                       h->kernel_alignment);
    if (h->cmdline_size == 0)
        return err_set(err, EINVAL, "the bzImage says that it takes no command line");
    return 0;
}

/* Which bytes of the file are the protected-mode kernel. */
static int find_payload(const struct setup_header *h, uint64_t file_bytes,
                        struct kernel_segment *segment, struct err *err)
{
    uint64_t sectors = h->setup_sects ? h->setup_sects : SETUP_SECTS_DEFAULT;
    uint64_t offset = (sectors + 1) * SECTOR_BYTES;
    uint64_t bytes = (uint64_t)h->syssize * 16;

    if (bytes <= ENTRY64_OFFSET)
        return err_set(err, EINVAL,
                       "the bzImage's kernel is %llu bytes (syssize at offset 0x1f4), too small to "
                       "have a 64-bit entry",
                       (unsigned long long)bytes);
    if (offset > file_bytes || bytes > file_bytes - offset)
        return err_set(err, EINVAL,
                       "the bzImage is cut short: its kernel is %llu bytes at offset 0x%llx, the "
                       "file ends at %llu bytes",
                       (unsigned long long)bytes, (unsigned long long)offset,
                       (unsigned long long)file_bytes);
    segment->file_offset = offset;
    segment->file_bytes = bytes;
    return 0;
}

/* Whether [gpa, gpa + bytes) is RAM above the boot data. */
static bool fits(const struct guest_mem *mem, uint64_t gpa, uint64_t bytes)
{
    uint64_t end = mem->region[0].bytes;

    return gpa >= BOOT_HIGH_GPA && gpa <= end && bytes <= end - gpa;
}

static int place(const struct setup_header *h, const struct guest_mem *mem,
                 struct kernel_segment *segment, struct err *err)
{
    uint64_t bytes = MAX_OF((uint64_t)h->init_size, segment->file_bytes);
    uint64_t low = align_up(BOOT_HIGH_GPA, h->kernel_alignment);

    segment->memory_bytes = bytes;
    segment->gpa = h->pref_address;
    if (fits(mem, segment->gpa, bytes) && segment->gpa % h->kernel_alignment == 0)
        return 0;
    segment->gpa = low;
    if (h->relocatable_kernel && fits(mem, low, bytes))
        return 0;
    return err_set(err, ENOMEM,
                   "the bzImage needs %llu MiB of memory from 0x%llx%s, and the guest's ends at "
                   "0x%llx; give the guest more memory",
                   (unsigned long long)(align_up(bytes, MIB(1)) >> 20),
                   (unsigned long long)(h->relocatable_kernel ? low : h->pref_address),
                   h->relocatable_kernel ? "" : " (it can't be moved)",
                   (unsigned long long)mem->region[0].bytes);
}

int kernel_image_read_bzimage(int fd, uint64_t file_bytes, const struct guest_mem *mem,
                              struct kernel_image *image, struct err *err)
{
    struct kernel_segment *segment = &image->segment[0];
    struct setup_header *h = &image->header;
    int rc = read_header(fd, file_bytes, h, err);

    if (rc == 0)
        rc = check_header(h, err);
    if (rc == 0)
        rc = find_payload(h, file_bytes, segment, err);
    if (rc == 0)
        rc = place(h, mem, segment, err);
    if (rc < 0)
        return rc;
    image->format = "bzImage";
    image->segment_count = 1;
    image->gpa = segment->gpa;
    image->end_gpa = segment->gpa + segment->memory_bytes;
    image->has_linux64 = true;
    image->linux64_entry = segment->gpa + ENTRY64_OFFSET;
    image->cmdline_bytes = (uint64_t)h->cmdline_size + 1; /* the field leaves out the NUL */
    image->initrd_end_gpa = MIN_OF((uint64_t)h->initrd_addr_max + 1, mem->region[0].bytes);
    h->code32_start = (uint32_t)segment->gpa;
    return 0;
}
