/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine's disk is made of: the base and the lower delta, which all clones share, opened
 * and checked once, and a delta of its own for each VM that may write. */
#ifndef VOLT_VMM_DISK_SOURCE_H
#define VOLT_VMM_DISK_SOURCE_H

#include "snapshot/manifest.h"
#include "volt-vmm/machine.h"
#include "volt-vmm/options.h"

#define DISK_SOURCE_FDS_MAX (DISK_MAP_FILES_MAX + 2u)

struct disk_source {
    int base_fd;  /* owned; -1: none, or a map */
    int delta_fd; /* owned; of the snapshot, read-only; -1: none */
    struct disk_map map;
    bool has_map;
    bool writable;
    bool in_place;  /* writes go to the base: of a VM that boots without a snapshot */
    uint64_t bytes; /* 0: there is no disk */
    struct rate_limit_config limit;
};

#define DISK_SOURCE_INIT                                                                           \
    {                                                                                              \
        .base_fd = -1, .delta_fd = -1                                                              \
    }

/* Whether the options name a disk. */
bool disk_given(const struct options *options);

/* Takes over the fds that the options name, if they name a disk. 0 or -errno. */
int disk_source_open(struct disk_source *disk, const struct options *options, struct err *err);

/* Checks that it is the disk that a snapshot was taken with, unchanged, and opens the snapshot's
 * delta. -EINVAL with a sentence. */
int disk_source_check(struct disk_source *disk, const struct manifest *manifest, int snapshot_fd,
                      struct err *err);

/* Describes the device to `config`. *delta_fd (taken) is the VM's own delta, -1: none; the shared
 * fds go to the machine, too, so once a process. NULL: a machine that never runs, which gets
 * duplicates and a delta that is made here. */
void disk_source_configure(const struct disk_source *disk, int *delta_fd,
                           struct machine_config *config);

/* Fds to keep over sandbox_enter; at most DISK_SOURCE_FDS_MAX. */
unsigned disk_source_fds(const struct disk_source *disk, int *ret_fds);

/* The largest that a delta of it may grow. */
uint64_t disk_source_file_bytes(const struct disk_source *disk);

#endif
