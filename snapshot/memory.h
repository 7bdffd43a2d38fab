/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of a snapshot: memory.img, guest RAM as a sparse file, and memory.digests, a digest
 * for every chunk of it.
 *
 * How it works
 *   1. While the guest is stopped, its VM calls snapshot_memory_write: pages that hold only zeroes
 *      become holes, the others are written in runs. Nothing is hashed and nothing is fsynced.
 *   2. The guest is gone or goes on; poold calls snapshot_memory_seal from its thread pool, which
 *      makes memory.digests. The manifest has the digest of that.
 *   3. A restore maps memory.img MAP_PRIVATE. Before the first one its template reads all its data
 *      and compares (memory_hash.h): a template is never ready with memory that differs.
 */
#ifndef VOLT_SNAPSHOT_MEMORY_H
#define VOLT_SNAPSHOT_MEMORY_H

#include <stdint.h>

#include "base/err.h"
#include "memory/guest_mem.h"
#include "snapshot/file.h"
#include "snapshot/manifest.h"
#include "snapshot/memory_hash.h"

#define MEMORY_TABLE_MAGIC "VOLTMEM2"

/* memory.digests: this, then the digests of the chunks, in order. Little-endian. */
struct memory_table_header {
    char magic[8];
    uint32_t chunk_bytes; /* MEMORY_CHUNK_BYTES */
    uint32_t chunk_count; /* ram_bytes / chunk_bytes */
    uint64_t ram_bytes;
};

_Static_assert(sizeof(struct memory_table_header) == 24, "on-disk layout");

struct snapshot_memory_stats {
    uint64_t data_bytes;    /* written: non-zero pages */
    uint64_t scanned_bytes; /* looked at; the rest was never touched and skipped */
    uint64_t write_count;   /* pwrite calls: runs of pages */
    uint64_t elapsed_ns;
};

/* Writes all RAM of `mem` to out_fd, an empty file, and makes the file ram_bytes long. The guest
 * must be stopped. With mem->fd open (a VM that booted), pages never touched are skipped by
 * SEEK_DATA. ret_stats may be NULL. 0 or -errno (-ENOSPC, ...). Any one thread. */
int snapshot_memory_write(const struct guest_mem *mem, int out_fd,
                          struct snapshot_memory_stats *ret_stats, struct err *err);

/* Hashes a written memory file (ram_bytes long) and makes dirfd's memory.digests of it, which is on
 * disk afterwards. ret_table: the digest of that file, for the manifest; ret_data_bytes: bytes in
 * data extents. Blocks: thread pool. */
int snapshot_memory_seal(int dirfd, int fd, uint64_t ram_bytes, struct digest *ret_table,
                         uint64_t *ret_data_bytes, struct err *err);

/* The same without a look at the file's size, of which only the first ram_bytes count. */
int snapshot_memory_digest(int dirfd, int fd, uint64_t ram_bytes, struct digest *ret_table,
                           uint64_t *ret_data_bytes, struct err *err);

/* Memory that is opened, being checked, or has been: its digests are freed then. */
struct snapshot_memory {
    int fd;               /* memory.img, read-only; owned */
    struct digest *chunk; /* what memory.digests says; owned; NULL when all is checked */
    bool known;           /* set by who knows that all has been compared: memory_mark.h */
    const char *file;     /* after a failure: the name of the one that it is about */
    struct memory_hash hash;
};

#define SNAPSHOT_MEMORY_INIT                                                                       \
    (struct snapshot_memory)                                                                       \
    {                                                                                              \
        .fd = -1, .file = SNAPSHOT_FILE_MEMORY                                                     \
    }

/* Opens the two files that the manifest speaks of. -EINVAL with a sentence that starts with the
 * file's name: what is wrong with its kind, owner or size, or with memory.digests. On failure
 * *ret_memory is closed. */
int snapshot_memory_open(int dirfd, const struct manifest *manifest,
                         struct snapshot_memory *ret_memory, struct err *err);

/* Begins to check every chunk, on other threads: for a caller that has something else to do before
 * it verifies. *memory stays where it is from here on; a fork takes no threads along. 0 or -ENOMEM.
 */
int snapshot_memory_begin(struct snapshot_memory *memory, struct err *err);

/* Checks every chunk, or helps with what has begun and waits for its end. Once. 0: the file is what
 * the snapshot was made with, and VMs may run with it; -EINVAL: chunk *ret_chunk (may be NULL;
 * UINT32_MAX: none) is damaged; -ECANCELED by progress (may be NULL). Blocks. */
int snapshot_memory_verify(struct snapshot_memory *memory, memory_progress_fn progress, void *data,
                           uint32_t *ret_chunk, struct err *err);

/* Stops a check that runs, closes and frees. Fine on SNAPSHOT_MEMORY_INIT. */
void snapshot_memory_close(struct snapshot_memory *memory);

#endif
