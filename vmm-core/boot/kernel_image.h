/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel file as the loaders understand it: which bytes go where, and how it is entered. Internal
 * to boot; the readers (elf.c, bzimage.c) fill it from foreign bytes and check all of it, so that
 * loading is only copying. */
#ifndef VOLT_BOOT_KERNEL_IMAGE_H
#define VOLT_BOOT_KERNEL_IMAGE_H

#include <asm/bootparam.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "memory/guest_mem.h"

#define KERNEL_SEGMENTS_MAX 16u

struct kernel_segment {
    uint64_t file_offset;
    uint64_t file_bytes; /* at most memory_bytes; the rest is zeros */
    gpa_t gpa;
    uint64_t memory_bytes;
};

struct kernel_image {
    const char *format; /* for messages: "ELF" or "bzImage" */
    struct kernel_segment segment[KERNEL_SEGMENTS_MAX];
    unsigned segment_count;
    gpa_t gpa; /* first and one past the last byte that the kernel needs at entry */
    gpa_t end_gpa;
    bool has_linux64;
    gpa_t linux64_entry;
    bool has_pvh;
    uint32_t pvh_entry;
    uint64_t cmdline_bytes;     /* that it takes, with the NUL */
    gpa_t initrd_end_gpa;       /* the initrd must lie below */
    struct setup_header header; /* for boot_params; made up for ELF */
};

/* Tells the format by its magic and reads the headers. `mem` is only asked for its layout. -EINVAL,
 * -ENODATA, -ENOMEM (does not fit) or -errno of a read, with a sentence. */
int kernel_image_read(int fd, const struct guest_mem *mem, struct kernel_image *ret_image,
                      struct err *err);

/* The readers, given the file's size. */
int kernel_image_read_elf(int fd, uint64_t file_bytes, const struct guest_mem *mem,
                          struct kernel_image *image, struct err *err);
int kernel_image_read_bzimage(int fd, uint64_t file_bytes, const struct guest_mem *mem,
                              struct kernel_image *image, struct err *err);

/* Loads the segments into guest memory, as boot_load_file does. */
int kernel_image_load(int fd, const struct kernel_image *image, struct guest_mem *mem,
                      struct err *err);

/* Copies `bytes` of a file to [gpa, gpa + bytes), which must be RAM that nobody has touched, or
 * leaves most of them to mem->fill. 0, -ENODATA when the file ends early, or -errno. */
int boot_load_file(int fd, uint64_t file_offset, struct guest_mem *mem, gpa_t gpa, uint64_t bytes);

/* Size of a regular file or block device; -EINVAL with a sentence for anything else or when empty.
 * `what` names it in the sentence. */
int boot_file_bytes(int fd, const char *what, uint64_t *ret_bytes, struct err *err);

#endif
