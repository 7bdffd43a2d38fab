/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the shared parts of a machine's disk; see disk_source.h. */
#include "volt-vmm/disk_source.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/util.h"
#include "snapshot/disk.h"

bool disk_given(const struct options *options)
{
    return options->disk_fd >= 0 || options->disk_map_fd >= 0;
}

static int open_map(struct disk_source *disk, const struct options *options, struct err *err)
{
    int fds[DISK_MAP_FILES_MAX];

    if (options->disk_files > DISK_MAP_FILES_MAX)
        return err_set(err, EINVAL, "--disk-files %u: at most %u", options->disk_files,
                       DISK_MAP_FILES_MAX);
    for (uint32_t i = 0; i < options->disk_files; i++)
        fds[i] = options->disk_map_fd + 1 + (int)i;
    int rc = disk_map_open(&disk->map, options->disk_map_fd, fds, options->disk_files, err);
    close(options->disk_map_fd);
    disk->has_map = rc == 0;
    disk->bytes = disk->map.disk_bytes;
    return rc;
}

int disk_source_open(struct disk_source *disk, const struct options *options, struct err *err)
{
    disk->limit = (struct rate_limit_config){ .bytes = { .per_s = options->disk_bandwidth },
                                              .ops = { .per_s = options->disk_iops } };
    disk->in_place = options->disk_in_place;
    disk->writable = disk->in_place || options->disk_delta_fd >= 0;
    if (!disk_given(options))
        return 0;
    if (options->disk_map_fd >= 0)
        return open_map(disk, options, err);
    disk->base_fd = options->disk_fd;
    return snapshot_disk_describe(disk->base_fd, &disk->bytes, NULL, err);
}

/* ---- Against a snapshot ---- */

static_assert(DISK_MAP_ID_BYTES == DIGEST_BYTES, "a map's id is its image's");

static int check_base(const struct disk_source *disk, const struct manifest *m, struct err *err)
{
    uint64_t bytes, modified_ns;

    if (disk->has_map != (m->disk_image[0] != '\0'))
        return err_set(err, EINVAL, "the snapshot was taken with another kind of disk");
    if (disk->has_map && memcmp(disk->map.id, &m->disk_id, sizeof disk->map.id) != 0)
        return err_set(err, EINVAL,
                       "the image '%s' is not the one that the snapshot was taken with: delete the "
                       "pool and create it again",
                       m->disk_image);
    if (disk->has_map)
        return 0;
    int rc = snapshot_disk_describe(disk->base_fd, &bytes, &modified_ns, err);
    if (rc == 0 && (bytes != m->disk_bytes || modified_ns != m->disk_modified_ns))
        rc = err_set(err, EINVAL,
                     "the disk '%s' was changed after the snapshot was taken: delete the pool and "
                     "create it again",
                     m->disk_path);
    return rc;
}

int disk_source_check(struct disk_source *disk, const struct manifest *manifest, int snapshot_fd,
                      struct err *err)
{
    if (!disk->bytes && !manifest->disk_bytes)
        return 0;
    if (!disk->bytes)
        return err_set(err, EINVAL, "the snapshot needs its disk '%s', which was not given",
                       manifest->disk_image[0] ? manifest->disk_image : manifest->disk_path);
    if (!manifest->disk_bytes)
        return err_set(err, EINVAL, "the snapshot was taken without a disk, but one was given");
    int rc = check_base(disk, manifest, err);
    disk->writable = !digest_is_none(&manifest->disk_delta);
    if (rc == 0 && disk->writable)
        rc = snapshot_disk_open(snapshot_fd, manifest, &disk->delta_fd, err);
    return rc;
}

/* ---- For machines ---- */

/* A VM's process has the fds for itself (and its filter has no call to duplicate them); of the
 * template's, which clones inherit, a machine that never runs gets duplicates. */
static int shared_fd(int fd, bool for_ever)
{
    return for_ever ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

void disk_source_configure(const struct disk_source *disk, int *delta_fd,
                           struct machine_config *config)
{
    struct disk_config *d = &config->disk.disk;
    int own = -1;

    if (!disk->bytes)
        return;
    config->has_disk = true;
    config->disk.limit = disk->limit;
    memcpy(config->disk.id, "volt-disk0", sizeof "volt-disk0");
    d->base_fd = disk->has_map ? -1 : shared_fd(disk->base_fd, delta_fd);
    d->map = disk->has_map ? &disk->map : NULL;
    d->read_only = !disk->writable;
    if (!disk->writable || disk->in_place)
        return;
    if (disk->delta_fd >= 0)
        d->delta_fd[d->delta_count++] = shared_fd(disk->delta_fd, delta_fd);
    if (delta_fd)
        own = take_fd(delta_fd);
    else
        own = memfd_create("disk-delta", MFD_CLOEXEC);
    d->delta_fd[d->delta_count++] = own;
}

unsigned disk_source_fds(const struct disk_source *disk, int *ret_fds)
{
    unsigned count = 0;

    ret_fds[count++] = disk->base_fd;
    ret_fds[count++] = disk->delta_fd;
    for (uint32_t i = 0; i < disk->map.file_count; i++)
        ret_fds[count++] = disk->map.fd[i];
    return count;
}

uint64_t disk_source_file_bytes(const struct disk_source *disk)
{
    return disk->writable ? disk->bytes + disk->bytes / 1024 + MIB(1) : 0;
}
