/* SPDX-License-Identifier: Apache-2.0 */
/* The disk of a pool's VMs: opening what it is made of, and telling volt-vmm. */
#ifndef VOLT_POOLD_POOL_DISK_H
#define VOLT_POOLD_POOL_DISK_H

#include "snapshot/manifest.h"
#include "vms/vms.h"

#define POOL_DISK_FDS_MAX (IMAGE_PACKS_MAX + 2u)
#define POOL_DISK_ARGS_MAX 12u

/* A disk ready for a process; all fds are owned. */
struct pool_disk {
    int base_fd;              /* of a file or block device; -1 */
    struct image_files image; /* map_fd -1: none */
};

#define POOL_DISK_INIT                                                                             \
    (struct pool_disk)                                                                             \
    {                                                                                              \
        .base_fd = -1, .image = IMAGE_FILES_INIT                                                   \
    }

bool pool_disk_wanted(const struct pool_spec *spec);

/* Opens it; nothing is open afterwards if the pool has none. files: the pool's, whose disk is open.
 * What VMs get is opened anew: no flag and no position of it is poold's. Blocks: thread pool. 0 or
 * -errno. */
int pool_disk_open(struct vms *vms, const struct pool_spec *spec, const struct pool_files *files,
                   struct pool_disk *ret_disk, struct err *err);
void pool_disk_close(struct pool_disk *disk);

/* A stock_make: an empty file without a name, on the file system of the directory whose fd
 * *context is, for what one clone writes to its disk. */
int pool_disk_delta_make(void *context, struct stock_item *ret_delta);

/* Whether VMs may write it, each to a delta of its own. */
bool pool_disk_writable(const struct pool_spec *spec, const struct pool_disk *disk);

/* Notes in a manifest which disk the VM is booted with. 0 or -errno. */
int pool_disk_note(const struct pool_spec *spec, const struct pool_disk *disk,
                   struct manifest *manifest, struct err *err);

/* Arguments and fds of a volt-vmm process for it. */
struct pool_disk_args {
    char *argv[POOL_DISK_ARGS_MAX]; /* argc of them, borrowed from text */
    unsigned argc;
    int fds[POOL_DISK_FDS_MAX]; /* fd_count, borrowed: first_fd and up in the process */
    unsigned fd_count;
    char text[POOL_DISK_ARGS_MAX / 2][24];
};

/* delta_fd: what a boot VM writes to; -1: none. */
void pool_disk_args(const struct pool_spec *spec, const struct pool_disk *disk, int delta_fd,
                    int first_fd, struct pool_disk_args *ret_args);

#endif
