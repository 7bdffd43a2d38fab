/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the way of a pool's disk from its specification to volt-vmm; see pool_disk.h. */
#include "vms/pool_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "snapshot/disk.h"

bool pool_disk_wanted(const struct pool_spec *spec)
{
    return spec->image[0] || spec->disk[0];
}

int pool_disk_open(struct vms *vms, const struct pool_spec *spec, const struct pool_files *files,
                   struct pool_disk *ret_disk, struct err *err)
{
    uint64_t bytes;

    *ret_disk = POOL_DISK_INIT;
    if (spec->image[0])
        return image_open(&vms->images, spec->image, &ret_disk->image, err);
    if (!spec->disk[0])
        return 0;
    /* Never written: VMs write to deltas. */
    int rc = fd_reopen(files->disk_fd, O_RDONLY);
    if (rc < 0)
        return err_set_errno(err, -rc, "the disk %s", spec->disk);
    ret_disk->base_fd = rc;
    rc = snapshot_disk_describe(ret_disk->base_fd, &bytes, NULL, err);
    if (rc < 0) {
        err_wrap(err, "%s", spec->disk);
        pool_disk_close(ret_disk);
    }
    return rc;
}

void pool_disk_close(struct pool_disk *disk)
{
    close_fd(&disk->base_fd);
    image_files_close(&disk->image);
}

int pool_disk_delta_make(void *context, struct stock_item *ret_delta)
{
    const int *dir_fd = context;

    ret_delta->fds[0] = openat(*dir_fd, ".", O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
    return ret_delta->fds[0] < 0 ? -errno : 0;
}

bool pool_disk_writable(const struct pool_spec *spec, const struct pool_disk *disk)
{
    if (spec->image[0])
        return strcmp(disk->image.filesystem, "ext4") == 0;
    return spec->disk[0] && !spec->disk_read_only;
}

int pool_disk_note(const struct pool_spec *spec, const struct pool_disk *disk,
                   struct manifest *manifest, struct err *err)
{
    if (spec->image[0]) {
        snprintf(manifest->disk_image, sizeof manifest->disk_image, "%s", spec->image);
        manifest->disk_id = disk->image.id;
        manifest->disk_bytes = disk->image.bytes;
        return 0;
    }
    if (!spec->disk[0])
        return 0;
    snprintf(manifest->disk_path, sizeof manifest->disk_path, "%s", spec->disk);
    return snapshot_disk_describe(disk->base_fd, &manifest->disk_bytes, &manifest->disk_modified_ns,
                                  err);
}

static void add_number(struct pool_disk_args *args, const char *name, uint64_t value)
{
    char *text = args->text[args->argc / 2];

    snprintf(text, sizeof args->text[0], "%llu", (unsigned long long)value);
    args->argv[args->argc++] = (char *)(uintptr_t)name;
    args->argv[args->argc++] = text;
}

static void add_fd(struct pool_disk_args *args, const char *name, int fd, int first_fd)
{
    add_number(args, name, (uint64_t)first_fd + args->fd_count);
    args->fds[args->fd_count++] = fd;
}

void pool_disk_args(const struct pool_spec *spec, const struct pool_disk *disk, int delta_fd,
                    int first_fd, struct pool_disk_args *ret_args)
{
    ret_args->argc = ret_args->fd_count = 0;
    if (delta_fd >= 0)
        add_fd(ret_args, "--disk-delta-fd", delta_fd, first_fd);
    if (disk->base_fd >= 0)
        add_fd(ret_args, "--disk-fd", disk->base_fd, first_fd);
    if (disk->image.map_fd >= 0) {
        /* The packs come directly behind their map. */
        add_fd(ret_args, "--disk-map-fd", disk->image.map_fd, first_fd);
        add_number(ret_args, "--disk-files", disk->image.pack_count);
        for (uint32_t i = 0; i < disk->image.pack_count; i++)
            ret_args->fds[ret_args->fd_count++] = disk->image.pack_fd[i];
    }
    if (spec->disk_bandwidth)
        add_number(ret_args, "--disk-bandwidth", spec->disk_bandwidth);
    if (spec->disk_iops)
        add_number(ret_args, "--disk-iops", spec->disk_iops);
}
