/* SPDX-License-Identifier: Apache-2.0 */
/* Owns which of a pool's names are files; see pool_files.h. */
#include "vms/pool_files.h"

#include <fcntl.h>

#include "base/util.h"
#include "vms/pool_spec.h"

int pool_files_open_disk(const struct pool_spec *spec, const struct client_ids *maker,
                         struct pool_files *files, struct err *err)
{
    if (!spec->disk[0] || files->disk_fd >= 0)
        return 0;
    return client_file_open(maker, spec->disk, CLIENT_FILE_DISK, "disk", &files->disk_fd, err);
}

/* A kernel or initramfs, for poold and for the VM. Not on the loop: a file system may be slow. */
static int open_twice(const struct client_ids *ids, const char *path, const char *what, int *ret_fd,
                      int *ret_vm_fd, struct err *err)
{
    int rc = client_file_open(ids, path, CLIENT_FILE_REGULAR, what, ret_fd, err);

    if (rc < 0)
        return rc;
    rc = fd_reopen(*ret_fd, O_RDONLY);
    if (rc < 0)
        return err_set_errno(err, -rc, "the %s %s", what, path);
    *ret_vm_fd = rc;
    return 0;
}

int pool_files_open(const struct pool_spec *spec, const struct client_ids *maker,
                    struct pool_files *ret_files, struct err *err)
{
    struct pool_files files = POOL_FILES_INIT;
    int rc = open_twice(spec->kernel_is_own ? NULL : maker, spec->kernel, "kernel",
                        &files.kernel_fd, &files.vm_kernel_fd, err);

    if (rc == 0 && spec->initrd[0])
        rc = open_twice(spec->initrd_is_own ? NULL : maker, spec->initrd, "initrd",
                        &files.initrd_fd, &files.vm_initrd_fd, err);
    if (rc == 0)
        rc = pool_files_open_disk(spec, maker, &files, err);
    if (rc < 0)
        pool_files_close(&files);
    else
        *ret_files = files;
    return rc;
}

void pool_files_booted(struct pool_files *files)
{
    close_fd(&files->kernel_fd);
    close_fd(&files->initrd_fd);
    close_fd(&files->vm_kernel_fd);
    close_fd(&files->vm_initrd_fd);
}

void pool_files_close(struct pool_files *files)
{
    pool_files_booted(files);
    close_fd(&files->disk_fd);
}
