/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the kernel's own file systems: see tar_write_kernel.h. */
#include "tar_write_kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "text.h"

#define FIRST_BYTES 16384u

bool tar_is_kernels(int fd)
{
    static const uint32_t types[] = { 0x9fa0 /* proc */,        0x62656572 /* sysfs */,
                                      0x63677270 /* cgroup2 */, 0x27e0eb /* cgroup */,
                                      0x64626720 /* debugfs */, 0x74726163 /* tracefs */,
                                      0x6165676c /* pstore */,  0xcafe4a11 /* bpf */ };
    struct statfs fs;

    if (fstatfs(fd, &fs) < 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if ((uint32_t)fs.f_type == types[i])
            return true;
    return false;
}

void tar_kernel_file_fini(struct tar_kernel_file *file)
{
    free(file->data);
    *file = (struct tar_kernel_file){ 0 };
}

/* Makes room for twice as much. */
static int grow(struct tar_kernel_file *file, size_t *room)
{
    size_t larger = *room ? 2 * *room : FIRST_BYTES;
    uint8_t *data;

    if (larger > 2 * TAR_KERNEL_FILE_BYTES_MAX)
        return -EFBIG;
    data = realloc(file->data, larger);
    if (!data)
        return -ENOMEM;
    file->data = data;
    *room = larger;
    return 0;
}

int tar_kernel_file_read(struct tar_kernel_file *file, int fd)
{
    size_t room = 0;
    ssize_t count = 1;
    int status = 0;

    *file = (struct tar_kernel_file){ 0 };
    while (status == 0 && count != 0) {
        if (file->bytes == room && (status = grow(file, &room)) < 0)
            break;
        count = read(fd, file->data + file->bytes, room - file->bytes);
        if (count < 0 && errno != EINTR)
            status = -errno;
        file->bytes += count > 0 ? (size_t)count : 0;
        if (file->bytes > TAR_KERNEL_FILE_BYTES_MAX)
            status = -EFBIG;
    }
    if (status < 0)
        tar_kernel_file_fini(file);
    return status;
}

size_t tar_kernel_file_take(struct tar_kernel_file *file, uint8_t *buffer, size_t room)
{
    size_t take = MIN_OF(room, file->bytes - file->sent);

    memcpy(buffer, file->data + file->sent, take);
    file->sent += take;
    return take;
}
