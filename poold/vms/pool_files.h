/* SPDX-License-Identifier: Apache-2.0 */
/* The files that a pool is made of, opened: kernel and initramfs until its snapshot is taken, its
 * disk as long as it lives. Any thread; one at a time for a pool. */
#ifndef VOLT_POOLD_POOL_FILES_H
#define VOLT_POOLD_POOL_FILES_H

#include "base/err.h"
#include "host/client_file.h"

struct pool_spec;

struct pool_files {
    int kernel_fd, initrd_fd, disk_fd; /* -1: not open, or there is none */
    /* The same as the first two, but other open files: for the VM that boots, which takes them. */
    int vm_kernel_fd, vm_initrd_fd;
};

#define POOL_FILES_INIT                                                                            \
    (struct pool_files)                                                                            \
    {                                                                                              \
        .kernel_fd = -1, .initrd_fd = -1, .disk_fd = -1, .vm_kernel_fd = -1, .vm_initrd_fd = -1    \
    }

/* Opens what the specification names: as maker may (client_file.h), but what poold has chosen
 * itself as poold may. Blocks: thread pool. 0; or -errno with a sentence, and nothing is open. */
int pool_files_open(const struct pool_spec *spec, const struct client_ids *maker,
                    struct pool_files *ret_files, struct err *err);
/* Opens the disk if it has one and it is not open yet: after a restart. The same. */
int pool_files_open_disk(const struct pool_spec *spec, const struct client_ids *maker,
                         struct pool_files *files, struct err *err);
/* The snapshot is taken, or never will be. */
void pool_files_booted(struct pool_files *files);
void pool_files_close(struct pool_files *files);

#endif
