/* SPDX-License-Identifier: Apache-2.0 */
/* The working set: which pages of guest RAM a clone needs between its restore and READY (and
 * through a warm-up command), as ranges, so that they can be fetched in one go. It is only ever a
 * hint: a snapshot without one, or with a damaged one, restores all the same, just slower.
 *
 * Recording: a trial clone runs until it is PARKED again; then working_set_record reads its page
 * map: file pages mapped into it were read, anonymous ones written.
 * The file `working-set` (docs/snapshot-format.md) carries the snapshot's id and a checksum.
 */
#ifndef VOLT_SNAPSHOT_WORKINGSET_H
#define VOLT_SNAPSHOT_WORKINGSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "snapshot/unique_id.h"

#define WORKING_SET_MAGIC "VOLTWSET"
#define WORKING_SET_VERSION 1u
#define WORKING_SET_RANGES_MAX 65536u

/* As in the file: ascending, not touching each other unless `written` differs. */
struct working_set_range {
    uint32_t page;  /* first page: offset in memory.img / 4096 */
    uint32_t count; /* pages; the top bit: they were written */
};

#define WORKING_SET_WRITTEN 0x80000000u

struct working_set {
    struct working_set_range *range; /* owned, malloc'ed */
    uint32_t range_count;
};

/* Reads what process `pid` has touched of its MAP_PRIVATE mapping of memory_fd's first ram_bytes,
 * from /proc/PID/maps (found by device and inode) and /proc/PID/pagemap: for poold, as a clone sees
 * no /proc. The process should be stopped or parked. What a fault maps around it counts as read
 * (64 KiB, or the whole folio of up to 2 MiB): the set is a superset. *ret_set is the caller's.
 * -EACCES or -EPERM when poold may not trace the clone (not root): then there is no working set.
 * -ENOENT: no such mapping. */
int working_set_record(pid_t pid, int memory_fd, uint64_t ram_bytes, struct working_set *ret_set,
                       struct err *err);

/* Bytes of RAM in all ranges. */
uint64_t working_set_bytes(const struct working_set *set);

/* Writes the file `working-set` into a snapshot's directory, in place of an old one, by rename:
 * poold does this with the ranges that the trial clone recorded. */
int working_set_store(int dirfd, const struct unique_id *snapshot_id, const struct working_set *set,
                      struct err *err);

/* The file's bytes from a set, and back. encode: malloc'ed, the caller's. decode: untrusted bytes
 * for a snapshot with this id and RAM size; -EINVAL with a sentence. */
int working_set_encode(const struct unique_id *snapshot_id, const struct working_set *set,
                       uint8_t **ret_bytes, size_t *ret_len, struct err *err);
int working_set_decode(const uint8_t *bytes, size_t len, const struct unique_id *snapshot_id,
                       uint64_t ram_bytes, struct working_set *ret_set, struct err *err);

/* Loads it from a snapshot's directory. -ENOENT when none was recorded. */
int working_set_load(int dirfd, const struct unique_id *snapshot_id, uint64_t ram_bytes,
                     struct working_set *ret_set, struct err *err);

/* The same from the open file, however it was come by: regular, of a sane size, read from its
 * beginning. */
int working_set_read(int fd, const struct unique_id *snapshot_id, uint64_t ram_bytes,
                     struct working_set *ret_set, struct err *err);

/* Asks the kernel to read the ranges of memory.img into the page cache, without waiting
 * (POSIX_FADV_WILLNEED, nearby ranges joined). Once per cold cache, by the template. */
int working_set_readahead(const struct working_set *set, int memory_fd);

/* Maps the ranges of a clone's mapping at hva ahead of its faults: MADV_POPULATE_READ, and
 * MADV_POPULATE_WRITE for the written ones (which makes the private copies). -errno of the first
 * failure; what was done stays done. */
int working_set_populate(const struct working_set *set, void *hva);

void working_set_fini(struct working_set *set);

#endif
