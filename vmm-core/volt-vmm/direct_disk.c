/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the disk of a VM without a daemon: which file it is, and where its writes go; see
 * direct_internal.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "base/util.h"
#include "snapshot/disk.h"
#include "volt-vmm/direct_internal.h"

/* What is behind the path of --disk. */
static const struct disk_mode {
    const char *suffix;
    bool read_only, in_place;
} modes[] = {
    { ",ro", true, false }, { ",rw", false, true }, { "", false, false }, /* last: matches all */
};

/* Cuts the suffix off. */
static const struct disk_mode *mode_of(char *path)
{
    const struct disk_mode *mode = modes;
    size_t length = strlen(path);

    while (length < strlen(mode->suffix) ||
           strcmp(path + length - strlen(mode->suffix), mode->suffix) != 0)
        mode++;
    path[length - strlen(mode->suffix)] = '\0';
    return mode;
}

/* Any number may read a disk, one may write it. */
static int open_base(const char *path, bool in_place, int *ret_fd, struct err *err)
{
    _cleanup_close_ int fd =
        open(path, (in_place ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return err_set_errno(err, errno, "the disk '%s'", path);
    if (flock(fd, (in_place ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0)
        return err_set(err, EBUSY, "the disk '%s' is in use by another VM%s", path,
                       in_place ? "" : ", which writes to it");
    *ret_fd = take_fd(&fd);
    return 0;
}

/* A delta without a name: gone with the VM. */
static int open_delta(int *ret_fd, struct err *err)
{
    const char *dir = getenv("TMPDIR");

    *ret_fd = open(dir ? dir : "/var/tmp", O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
    return *ret_fd < 0 ? err_set_errno(err, errno, "a file in '%s' for what the VM writes",
                                       dir ? dir : "/var/tmp")
                       : 0;
}

static int open_restored(struct options *options, const struct manifest *m, struct err *err)
{
    const char *path = options->disk ? options->disk : m->disk_path;

    if (m->disk_image[0])
        return err_set(err, EINVAL,
                       "the snapshot's disk is the image '%s' of poold's store: restore it there",
                       m->disk_image);
    if (!path[0])
        return 0;
    int rc = open_base(path, false, &options->disk_fd, err);
    if (rc == 0 && !digest_is_none(&m->disk_delta))
        rc = open_delta(&options->disk_delta_fd, err);
    return rc;
}

static int open_new(struct options *options, struct manifest *m, const struct snapshot_txn *txn,
                    struct err *err)
{
    char path[MANIFEST_PATH_BYTES];

    if ((size_t)snprintf(path, sizeof path, "%s", options->disk) >= sizeof path)
        return err_set(err, ENAMETOOLONG, "--disk");
    const struct disk_mode *mode = mode_of(path);
    if (mode->in_place && txn)
        return err_set(err, EINVAL,
                       "--disk '%s': a snapshot's disk must stay as it is; without ',rw', what "
                       "the VM writes is kept in the snapshot",
                       options->disk);
    int rc = open_base(path, mode->in_place, &options->disk_fd, err);
    if (rc == 0)
        rc = snapshot_disk_describe(options->disk_fd, &m->disk_bytes, &m->disk_modified_ns, err);
    if (rc == 0 && !realpath(path, m->disk_path))
        rc = err_set_errno(err, errno, "the disk '%s'", path);
    options->disk_in_place = mode->in_place;
    if (rc < 0 || mode->in_place || mode->read_only)
        return rc;
    if (!txn)
        return open_delta(&options->disk_delta_fd, err);
    options->disk_delta_fd = fcntl(txn->disk_fd, F_DUPFD_CLOEXEC, 3);
    return options->disk_delta_fd < 0 ? err_set_errno(err, errno, "the snapshot's disk") : 0;
}

int direct_disk_open(struct options *options, struct manifest *manifest,
                     const struct snapshot_txn *txn, struct err *err)
{
    if (options->restore)
        return open_restored(options, manifest, err);
    return options->disk ? open_new(options, manifest, txn, err) : 0;
}
