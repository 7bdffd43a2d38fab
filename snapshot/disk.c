/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what identifies a disk's base; see disk.h. Of its own, as it is all that a VM needs. */
#include "snapshot/disk.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/util.h"

int snapshot_disk_describe(int fd, uint64_t *ret_bytes, uint64_t *ret_modified_ns, struct err *err)
{
    struct stat st;
    uint64_t bytes, modified_ns = 0;

    if (fstat(fd, &st) < 0)
        return err_set_errno(err, errno, "the disk");
    bytes = (uint64_t)st.st_size;
    if (S_ISREG(st.st_mode))
        modified_ns = (uint64_t)st.st_mtim.tv_sec * NS_PER_S + (uint64_t)st.st_mtim.tv_nsec;
    else if (!S_ISBLK(st.st_mode))
        return err_set(err, EINVAL, "the disk is neither a regular file nor a block device");
    else if (ioctl(fd, BLKGETSIZE64, &bytes) < 0)
        return err_set_errno(err, errno, "the disk: asking for the block device's size");
    bytes -= bytes % 512;
    if (bytes == 0)
        return err_set(err, EINVAL,
                       "the disk is too small: it has less than one sector of 512 "
                       "bytes");
    *ret_bytes = bytes;
    if (ret_modified_ns)
        *ret_modified_ns = modified_ns;
    return 0;
}
