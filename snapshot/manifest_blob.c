/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the noting of a kernel or initrd in a manifest; see manifest.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/util.h"
#include "snapshot/manifest.h"

#define IMAGE_BYTES_MAX GIB(1)

int manifest_blob_fill(struct manifest_blob *blob, const char *path, struct err *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    _cleanup_free_ void *bytes = NULL;
    struct stat st;
    int rc;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set_errno(err, errno, "can't open %s", path);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > IMAGE_BYTES_MAX)
        return err_set(err, EINVAL, "%s is not a regular file of at most 1 GiB", path);
    bytes = malloc((size_t)st.st_size + 1);
    rc = bytes ? pread_all(fd, bytes, (size_t)st.st_size, 0) : -ENOMEM;
    if (rc < 0)
        return err_set_errno(err, -rc, "can't read %s", path);
    snprintf(blob->path, sizeof blob->path, "%s", path);
    blob->digest = digest_of(bytes, (size_t)st.st_size);
    return 0;
}
