/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the kernel's own file systems (/proc, /sys) on their way into a tar stream. Their sizes say
 * nothing of what can be read of them, so they are read whole before they are packed. */
#ifndef GUEST_TAR_WRITE_KERNEL_H
#define GUEST_TAR_WRITE_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAR_KERNEL_FILE_BYTES_MAX (1u << 20)

/* Zeroed: none. */
struct tar_kernel_file {
    uint8_t *data; /* owned */
    size_t bytes, sent;
};

/* Whether the file or folder is of such a file system. */
bool tar_is_kernels(int fd);

/* Reads it. 0; -EFBIG: it has more than TAR_KERNEL_FILE_BYTES_MAX; else what reading failed with. */
int tar_kernel_file_read(struct tar_kernel_file *file, int fd);

/* Its next bytes, at most `room`. */
size_t tar_kernel_file_take(struct tar_kernel_file *file, uint8_t *buffer, size_t room);

void tar_kernel_file_fini(struct tar_kernel_file *file);

#endif
