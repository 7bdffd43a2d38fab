/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots to measure with: booted once a run for each memory size, in the work directory. */
#ifndef VOLT_BENCH_IMAGE_H
#define VOLT_BENCH_IMAGE_H

#include "bench.h"
#include "vmm.h"

struct image {
    struct image *next;
    uint64_t ram_bytes;
    char path[512];   /* the snapshot's directory */
    int dir_fd;       /* owned: the snapshot's directory, with its working set recorded */
    int plain_dir_fd; /* owned: the same guest, without a working set */
    bool recorded;    /* false: this user may not look at a VM's page map */
    uint64_t boot_ns;
};

/* What creating a snapshot took. */
struct image_times {
    uint64_t save_ns;    /* SNAPSHOT sent to SNAPSHOT_DONE */
    uint64_t stopped_ns; /* how long the guest could not have run */
    uint64_t commit_ns;  /* hashing, fsync, rename */
    uint64_t disk_bytes; /* of all its files */
};

/* The image of a guest with ram_bytes of memory; boots it the first time. */
int image_get(struct bench *bench, uint64_t ram_bytes, struct image **ret_image, struct err *err);
void image_free_all(struct bench *bench);

/* Boots a VM up to its first PARK. The caller ends it. *ret_banner: its BANNER. */
int image_boot(struct bench *bench, struct vmm *vmm, uint64_t ram_bytes,
               struct control_msg *ret_banner, struct err *err);

/* Snapshots a parked boot VM as work_dir/store/NAME. */
int image_snapshot(struct bench *bench, struct vmm *vmm, uint64_t ram_bytes, const char *name,
                   struct image_times *ret_times, struct err *err);

/* Drops a directory's files from the page cache; *ret_resident_bytes is what stayed. Nothing may
 * have them mapped. */
int image_evict(int dir_fd, uint64_t *ret_resident_bytes, struct err *err);

#endif
