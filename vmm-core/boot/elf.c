/* SPDX-License-Identifier: Apache-2.0 */
/* Owns reading an ELF vmlinux: its load segments, and its two ways in. A Linux vmlinux has its
 * 64-bit entry (startup_64, which takes boot_params) as a physical address in e_entry, and with
 * CONFIG_PVH a Xen note with the address of a 32-bit entry.
 *
 * Everything here comes from the file. Each number is checked before it is used: against the file's
 * size, against overflow, against guest RAM, and segments against each other. */
#include "boot/kernel_image.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "boot/layout.h"

#define PROGRAM_HEADERS_MAX 64u
#define NOTES_BYTES_MAX 4096u
#define XEN_NOTE_PHYS32_ENTRY 18u
/* COMMAND_LINE_SIZE of x86 Linux; an ELF kernel does not tell it. */
#define LINUX_CMDLINE_BYTES 2048u

static int check_header(const Elf64_Ehdr *eh, uint64_t file_bytes, struct err *err)
{
    if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_ident[EI_DATA] != ELFDATA2LSB ||
        eh->e_machine != EM_X86_64)
        return err_set(err, EINVAL,
                       "the ELF kernel is not 64-bit little-endian x86-64 (class %u, data %u, "
                       "machine %u; expected 2, 1, 62)",
                       eh->e_ident[EI_CLASS], eh->e_ident[EI_DATA], eh->e_machine);
    if (eh->e_type != ET_EXEC && eh->e_type != ET_DYN)
        return err_set(err, EINVAL, "the ELF kernel is not an executable (type %u, expected 2)",
                       eh->e_type);
    if (eh->e_phentsize != sizeof(Elf64_Phdr))
        return err_set(err, EINVAL, "the ELF kernel has program headers of %u bytes, expected %zu",
                       eh->e_phentsize, sizeof(Elf64_Phdr));
    if (eh->e_phnum == 0 || eh->e_phnum > PROGRAM_HEADERS_MAX)
        return err_set(err, EINVAL, "the ELF kernel has %u program headers, expected 1 to %u",
                       eh->e_phnum, PROGRAM_HEADERS_MAX);
    uint64_t table_bytes = (uint64_t)eh->e_phnum * sizeof(Elf64_Phdr);
    if (eh->e_phoff > file_bytes || table_bytes > file_bytes - eh->e_phoff)
        return err_set(err, EINVAL,
                       "the ELF kernel's program headers (offset 0x%llx, %llu bytes) end behind "
                       "the file's end at %llu bytes",
                       (unsigned long long)eh->e_phoff, (unsigned long long)table_bytes,
                       (unsigned long long)file_bytes);
    return 0;
}

static int check_overlap(const struct kernel_image *image, const Elf64_Phdr *ph, unsigned index,
                         struct err *err)
{
    for (unsigned i = 0; i < image->segment_count; i++) {
        const struct kernel_segment *s = &image->segment[i];

        if (ph->p_paddr < s->gpa + s->memory_bytes && s->gpa < ph->p_paddr + ph->p_memsz)
            return err_set(err, EINVAL,
                           "ELF segment %u (0x%llx, %llu bytes) overlaps the segment at 0x%llx",
                           index, (unsigned long long)ph->p_paddr, (unsigned long long)ph->p_memsz,
                           (unsigned long long)s->gpa);
    }
    return 0;
}

static int check_segment(const Elf64_Phdr *ph, unsigned index, uint64_t file_bytes,
                         const struct guest_mem *mem, struct err *err)
{
    const struct guest_region *low = &mem->region[0];

    if (ph->p_offset > file_bytes || ph->p_filesz > file_bytes - ph->p_offset)
        return err_set(err, EINVAL,
                       "ELF segment %u (offset 0x%llx, %llu bytes) ends behind the file's end at "
                       "%llu bytes: the kernel file is cut short",
                       index, (unsigned long long)ph->p_offset, (unsigned long long)ph->p_filesz,
                       (unsigned long long)file_bytes);
    if (ph->p_filesz > ph->p_memsz)
        return err_set(err, EINVAL, "ELF segment %u has more bytes in the file than in memory",
                       index);
    if (ph->p_paddr < BOOT_HIGH_GPA)
        return err_set(err, EINVAL,
                       "ELF segment %u loads at 0x%llx; below 0x%x is where boot data goes", index,
                       (unsigned long long)ph->p_paddr, BOOT_HIGH_GPA);
    if (ph->p_paddr > low->bytes || ph->p_memsz > low->bytes - ph->p_paddr)
        return err_set(err, ENOMEM,
                       "ELF segment %u (0x%llx, %llu bytes) does not fit into guest memory, which "
                       "ends at 0x%llx; give the guest more memory",
                       index, (unsigned long long)ph->p_paddr, (unsigned long long)ph->p_memsz,
                       (unsigned long long)low->bytes);
    return 0;
}

static int add_segment(struct kernel_image *image, const Elf64_Phdr *ph, unsigned index,
                       uint64_t file_bytes, const struct guest_mem *mem, struct err *err)
{
    if (ph->p_memsz == 0 && ph->p_filesz == 0)
        return 0;
    int rc = check_segment(ph, index, file_bytes, mem, err);
    if (rc == 0)
        rc = check_overlap(image, ph, index, err);
    if (rc < 0)
        return rc;
    if (image->segment_count == KERNEL_SEGMENTS_MAX)
        return err_set(err, EINVAL, "the ELF kernel has more than %u load segments",
                       KERNEL_SEGMENTS_MAX);
    image->segment[image->segment_count++] = (struct kernel_segment){ .file_offset = ph->p_offset,
                                                                      .file_bytes = ph->p_filesz,
                                                                      .gpa = ph->p_paddr,
                                                                      .memory_bytes = ph->p_memsz };
    image->gpa = image->segment_count == 1 ? ph->p_paddr : MIN_OF(image->gpa, ph->p_paddr);
    image->end_gpa = MAX_OF(image->end_gpa, ph->p_paddr + ph->p_memsz);
    return 0;
}

/* Whether an entry point is among the bytes that come from the file. */
static bool is_loaded(const struct kernel_image *image, gpa_t gpa)
{
    for (unsigned i = 0; i < image->segment_count; i++) {
        const struct kernel_segment *s = &image->segment[i];

        if (gpa >= s->gpa && gpa - s->gpa < s->file_bytes)
            return true;
    }
    return false;
}

/* Looks for Xen's PHYS32_ENTRY among the notes. Malformed notes end the search: other tools'
 * notes are nobody's reason to refuse a kernel. */
static void find_pvh_entry(struct kernel_image *image, const uint8_t *notes, uint64_t bytes)
{
    uint64_t at = 0;

    while (bytes - at >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr nh;

        memcpy(&nh, notes + at, sizeof nh);
        uint64_t name = at + sizeof nh;
        uint64_t desc = name + align_up(nh.n_namesz, 4);
        uint64_t next = desc + align_up(nh.n_descsz, 4);
        if (next > bytes)
            return;
        if (nh.n_type == XEN_NOTE_PHYS32_ENTRY && nh.n_namesz == sizeof "Xen" &&
            memcmp(notes + name, "Xen", sizeof "Xen") == 0 && nh.n_descsz >= sizeof(uint32_t)) {
            memcpy(&image->pvh_entry, notes + desc, sizeof image->pvh_entry);
            image->has_pvh = true;
            return;
        }
        at = next;
    }
}

static int read_notes(int fd, uint64_t file_bytes, const Elf64_Phdr *ph, struct kernel_image *image,
                      struct err *err)
{
    uint8_t notes[NOTES_BYTES_MAX];
    uint64_t bytes = MIN_OF(ph->p_filesz, sizeof notes);

    if (ph->p_offset > file_bytes || bytes > file_bytes - ph->p_offset)
        return err_set(err, EINVAL, "the ELF kernel's notes at offset 0x%llx are behind its end",
                       (unsigned long long)ph->p_offset);
    int rc = pread_all(fd, notes, bytes, ph->p_offset);
    if (rc < 0)
        return err_set_errno(err, -rc, "reading the ELF kernel's notes");
    find_pvh_entry(image, notes, bytes);
    return 0;
}

static int settle_entries(const Elf64_Ehdr *eh, struct kernel_image *image, struct err *err)
{
    image->has_linux64 = is_loaded(image, eh->e_entry);
    image->linux64_entry = eh->e_entry;
    if (image->has_pvh && !is_loaded(image, image->pvh_entry))
        return err_set(err, EINVAL, "the ELF kernel's PVH entry 0x%x is in none of its segments",
                       image->pvh_entry);
    if (!image->has_linux64 && !image->has_pvh)
        return err_set(err, EINVAL,
                       "the ELF kernel's entry 0x%llx is not a physical address in one of its "
                       "load segments, and it has no PVH note",
                       (unsigned long long)eh->e_entry);
    return 0;
}

int kernel_image_read_elf(int fd, uint64_t file_bytes, const struct guest_mem *mem,
                          struct kernel_image *image, struct err *err)
{
    Elf64_Ehdr eh;
    Elf64_Phdr ph[PROGRAM_HEADERS_MAX];

    if (file_bytes < sizeof eh)
        return err_set(err, EINVAL, "the ELF kernel is cut short: %llu bytes, its header has %zu",
                       (unsigned long long)file_bytes, sizeof eh);
    int rc = pread_all(fd, &eh, sizeof eh, 0);
    if (rc < 0)
        return err_set_errno(err, -rc, "reading the ELF kernel's header");
    rc = check_header(&eh, file_bytes, err);
    if (rc < 0)
        return rc;
    rc = pread_all(fd, ph, eh.e_phnum * sizeof ph[0], eh.e_phoff);
    if (rc < 0)
        return err_set_errno(err, -rc, "reading the ELF kernel's program headers");
    for (unsigned i = 0; i < eh.e_phnum && rc == 0; i++) {
        if (ph[i].p_type == PT_LOAD)
            rc = add_segment(image, &ph[i], i, file_bytes, mem, err);
        else if (ph[i].p_type == PT_NOTE)
            rc = read_notes(fd, file_bytes, &ph[i], image, err);
    }
    if (rc < 0)
        return rc;
    image->format = "ELF";
    image->cmdline_bytes = LINUX_CMDLINE_BYTES;
    image->initrd_end_gpa = mem->region[0].bytes;
    image->header = (struct setup_header){ .boot_flag = 0xaa55,
                                           .header = 0x53726448, /* "HdrS" */
                                           .kernel_alignment = 0x1000000 };
    return settle_entries(&eh, image, err);
}
