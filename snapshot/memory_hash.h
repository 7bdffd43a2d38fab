/* SPDX-License-Identifier: Apache-2.0 */
/* The digests of guest RAM in a file, a chunk of 256 KiB at a time, on several threads.
 *
 * How it works
 *   A chunk's digest is taken over its pages that are not all zeroes, one after the other, and then
 *   over 8 bytes that say which they are (bit n of a little-endian number: page n). So a hole and
 *   zeroes give the same digest, and only data is read and hashed: what is a hole is known by
 *   SEEK_DATA.
 *   Threads take the chunks in order, two at a time, which the CPU hashes in little more than the time
 *   of one (sha256_pair.h). The caller may do other things between start and finish, then it helps;
 *   helpers run at a lower priority, as VMs may be running, and are gone after finish, stacks and all:
 *   a template forks without any trace of them.
 */
#ifndef VOLT_SNAPSHOT_MEMORY_HASH_H
#define VOLT_SNAPSHOT_MEMORY_HASH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "snapshot/digest.h"

#define MEMORY_CHUNK_BYTES (256u << 10)
#define MEMORY_HASH_HELPERS_MAX 7u

struct memory_hash {
    /* Set by the caller. */
    int fd; /* borrowed; [0, ram_bytes) is RAM, of whole chunks */
    uint64_t ram_bytes;
    struct digest *chunk; /* borrowed, ram_bytes / MEMORY_CHUNK_BYTES of them */
    bool compare;         /* they are what is expected; false: they are filled in */

    /* Its own. */
    struct digest hole; /* of a chunk of zeroes */
    pthread_mutex_t lock;
    uint32_t next;       /* lock: not taken yet */
    uint32_t fault;      /* lock: the first chunk that differs or can't be read; UINT32_MAX */
    int fault_errno;     /* lock: 0: it differs */
    uint64_t data_bytes; /* lock: in data extents */
    unsigned places;     /* lock: buffers that helpers have */
    pthread_t helper[MEMORY_HASH_HELPERS_MAX];
    unsigned helper_count;
    uint8_t *room; /* the threads' buffers and the helpers' stacks */
    size_t room_bytes;
};

/* Starts the helpers: one less than there are CPUs for this process. 0 or -ENOMEM. */
int memory_hash_start(struct memory_hash *h, struct err *err);

/* Called with bytes done of total; false stops with -ECANCELED. */
typedef bool (*memory_progress_fn)(void *data, uint64_t done_bytes, uint64_t total_bytes);

/* Hashes along until all is done, waits for the helpers and frees everything. progress may be NULL.
 * 0; -EINVAL: chunk h->fault differs; -errno: it can't be read; -ECANCELED. The sentence names the
 * chunk. To be called once after every successful start. */
int memory_hash_finish(struct memory_hash *h, memory_progress_fn progress, void *data,
                       struct err *err);

/* Drops it without a result. Fine on a zeroed one. */
void memory_hash_abort(struct memory_hash *h);

#endif
