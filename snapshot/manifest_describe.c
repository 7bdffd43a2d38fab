/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what a new manifest says of its machine; see manifest.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "base/version.h"
#include "snapshot/host.h"
#include "snapshot/manifest.h"

#define BLOB_BYTES_MAX GIB(1)

/* Notes a kernel or initrd; path NULL or "": there is none. given_fd: it, or -1. */
static int describe_blob(struct manifest_blob *blob, const char *path, int given_fd,
                         struct err *err)
{
    _cleanup_close_ int fd = -1;
    _cleanup_free_ void *bytes = NULL;
    struct stat st;

    if (!path || !path[0])
        return 0;
    fd = given_fd >= 0 ? fcntl(given_fd, F_DUPFD_CLOEXEC, 0)
                       : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set_errno(err, errno, "can't open %s", path);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > BLOB_BYTES_MAX)
        return err_set(err, EINVAL, "%s is not a regular file of at most 1 GiB", path);
    bytes = malloc((size_t)st.st_size + 1);
    int rc = bytes ? pread_all(fd, bytes, (size_t)st.st_size, 0) : -ENOMEM;
    if (rc < 0)
        return err_set_errno(err, -rc, "can't read %s", path);
    snprintf(blob->path, sizeof blob->path, "%s", path);
    blob->digest = digest_of(bytes, (size_t)st.st_size);
    return 0;
}

int manifest_describe(struct manifest *ret_manifest, const struct manifest_machine *machine,
                      struct err *err)
{
    struct manifest *m = ret_manifest;

    memset(m, 0, sizeof *m);
    snprintf(m->volt_version, sizeof m->volt_version, "%s", VOLT_VERSION);
    snprintf(m->cmdline, sizeof m->cmdline, "%s", machine->cmdline ? machine->cmdline : "");
    snprintf(m->warmup, sizeof m->warmup, "%s", machine->warmup ? machine->warmup : "");
    m->memory_bytes = machine->memory_bytes;
    m->vcpus = machine->vcpus;
    host_cpu_detect(&m->cpu);
    int rc = describe_blob(&m->kernel, machine->kernel, machine->kernel_fd, err);
    return rc == 0 ? describe_blob(&m->initrd, machine->initrd, machine->initrd_fd, err) : rc;
}
