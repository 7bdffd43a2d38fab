/* SPDX-License-Identifier: Apache-2.0 */
/* The mark `memory.verified` in a snapshot's directory: memory.img has been compared with its digests
 * on this host, and has not changed since. For VMs without a template, each of which would compare
 * all of it again.
 *
 * How it works
 *   A mark holds nothing but what the host says of the file, and which digests it was compared with.
 *   Whoever finds one makes the mark that would have to be there, and believes the file if that is
 *   the same, byte for byte: nothing in it is parsed.
 *   1. Every write changes the file's ctime, which nobody can set. A restart of the host ends every
 *      mark (its boot id is in it).
 *   2. Clocks of files are coarse: a mark is left only of a file that had been at rest for
 *      MEMORY_MARK_REST_NS when the comparing began, so that no later write has the same ctime.
 *   3. It proves as much as the digests do, as who can write one can write the other: their owner.
 *      What a failing disk does to pages that are read again goes unnoticed as long as the host
 *      runs, as in a template. */
#ifndef VOLT_SNAPSHOT_MEMORY_MARK_H
#define VOLT_SNAPSHOT_MEMORY_MARK_H

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/digest.h"

#define SNAPSHOT_FILE_MEMORY_MARK "memory.verified"
#define MEMORY_MARK_MAGIC "VOLTMARK"
#define MEMORY_MARK_REST_NS 2000000000ull

/* The file, as it is on disk. */
struct memory_mark {
    char magic[8];
    struct digest table; /* of memory.digests */
    uint8_t boot_id[16]; /* of the host, random for each of its starts */
    uint64_t device, inode, bytes;
    int64_t modified_ns, changed_ns;
};

_Static_assert(sizeof(struct memory_mark) == 96, "on-disk layout");

/* The mark that dirfd's memory.img, as it is now, would have once it has been compared with the
 * digests that `table` is the digest of. False: this host can't tell. Any thread. */
bool memory_mark_make(int dirfd, const struct digest *table, struct memory_mark *ret_mark);

/* Whether exactly this mark is there. */
bool memory_mark_is_left(int dirfd, const struct memory_mark *mark);

/* Leaves it, after memory.img has been compared: `mark` was made before that, at begun_ns
 * (CLOCK_REALTIME). Nothing is left if the file has changed meanwhile or was not at rest, or where
 * nothing can be written. */
void memory_mark_leave(int dirfd, const struct memory_mark *mark, uint64_t begun_ns);

#endif
