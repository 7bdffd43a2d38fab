/* SPDX-License-Identifier: Apache-2.0 */
/* memory.img: guest RAM as a sparse file, and behind it a footer with a digest for every chunk.
 *
 * How it works
 *   1. While the guest is stopped, its VM calls snapshot_memory_write: pages that hold only zeroes
 *      become holes, the others are written in runs. Nothing is hashed and nothing is fsynced.
 *   2. The guest is gone or goes on; poold calls snapshot_memory_seal from its thread pool: hashes
 *      the file by chunks of 2 MiB, appends the footer.
 *   3. A restore maps [0, ram_bytes) MAP_PRIVATE and checks size and footer: a cut file or another
 *      snapshot's file is found without reading guest memory. snapshot_memory_verify reads it all.
 *
 * The footer makes no page of the guest's: it starts at ram_bytes, which is a multiple of 2 MiB.
 */
#ifndef VOLT_SNAPSHOT_MEMORY_H
#define VOLT_SNAPSHOT_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "memory/guest_mem.h"
#include "snapshot/digest.h"

#define MEMORY_CHUNK_BYTES (2u << 20)
#define MEMORY_FOOTER_MAGIC "VOLTMEM1"

/* At ram_bytes; followed by chunk_count digests, then zeroes up to a multiple of 4096. */
struct memory_footer {
    char magic[8];
    uint32_t chunk_bytes; /* MEMORY_CHUNK_BYTES */
    uint32_t chunk_count; /* ram_bytes / chunk_bytes */
    uint64_t ram_bytes;
    uint8_t snapshot_id[16]; /* manifest.id: pairs this file with its manifest */
    struct digest table;     /* of the chunk digests; also in the manifest */
    struct digest footer;    /* of the fields above */
};

_Static_assert(sizeof(struct memory_footer) == 72, "on-disk layout");

/* Size of a sealed memory.img. */
uint64_t snapshot_memory_file_bytes(uint64_t ram_bytes);

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

/* Called now and then with bytes done of total; false stops with -ECANCELED. */
typedef bool (*snapshot_progress_fn)(void *data, uint64_t done_bytes, uint64_t total_bytes);

/* Hashes a written memory file (ram_bytes long), appends the footer. ret_table: digest of the chunk
 * table, for the manifest; ret_data_bytes: bytes in data extents. Blocks: thread pool. */
int snapshot_memory_seal(int fd, uint64_t ram_bytes, const uint8_t snapshot_id[16],
                         struct digest *ret_table, uint64_t *ret_data_bytes, struct err *err);

/* What the manifest says of the file. */
struct snapshot_memory_expect {
    uint64_t ram_bytes;
    uint8_t snapshot_id[16];
    struct digest table;
};

/* Takes what to expect from a manifest. */
struct manifest;
struct snapshot_memory_expect snapshot_memory_expect_of(const struct manifest *manifest);

/* Size and footer against the manifest; reads the footer only. -EINVAL with a sentence that starts
 * with "memory.img". *ret_chunks (may be NULL): the chunk digests, malloc'ed, the caller's. */
int snapshot_memory_check(int fd, const struct snapshot_memory_expect *expect,
                          struct digest **ret_chunks, struct err *err);

/* snapshot_memory_check, and every chunk against its digest. On a damaged chunk *ret_chunk (may be
 * NULL) is its index, else UINT32_MAX. progress may be NULL. Blocks: thread pool. */
int snapshot_memory_verify(int fd, const struct snapshot_memory_expect *expect,
                           snapshot_progress_fn progress, void *data, uint32_t *ret_chunk,
                           struct err *err);

#endif
