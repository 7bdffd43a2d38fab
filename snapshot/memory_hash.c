/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the hashing of guest RAM; see memory_hash.h. */
#include "snapshot/memory_hash.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/util.h"

#define PAGES (MEMORY_CHUNK_BYTES / HOST_PAGE_BYTES)
#define STACK_BYTES (64u << 10)
#define HELPER_NICE 10
#define AT_ONCE 2u /* chunks of a thread: digest_add_both */

_Static_assert(PAGES == 64, "a page's bit in a number of 64");

/* ---- Chunks, two at a time ---- */

/* One that a thread has taken: its bytes as far as they are data, and its digest as it grows. */
struct chunk {
    uint32_t number;
    int error;
    uint8_t *buffer; /* MEMORY_CHUNK_BYTES */
    uint64_t pages;  /* that are not all zeroes */
    uint64_t data_bytes;
    struct digest_work work;
};

/* Pages of a chunk that lie one behind the other, as far as they are not hashed yet. */
struct run {
    const uint8_t *at;
    size_t bytes;
    uint64_t later; /* pages behind it */
};

/* The next data extent at or behind `at`, in whole pages. A file system that can't tell says: all
 * of it. */
static bool next_data(int fd, uint64_t at, uint64_t end, uint64_t *ret_start, uint64_t *ret_stop)
{
    off_t data = at < end ? lseek(fd, (off_t)at, SEEK_DATA) : -1;

    if (at >= end || (data < 0 && errno == ENXIO) || data >= (off_t)end)
        return false;
    off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
    *ret_start = data < 0 ? at : (uint64_t)data & ~(uint64_t)(HOST_PAGE_BYTES - 1);
    *ret_stop = hole < 0 ? end : MIN_OF(align_up((uint64_t)hole, HOST_PAGE_BYTES), end);
    return true;
}

static uint64_t pages_of_data(const uint8_t *buffer, unsigned first, unsigned stop)
{
    uint64_t pages = 0;

    for (unsigned page = first; page < stop; page++)
        pages |= (uint64_t)!page_is_zero(buffer + page * HOST_PAGE_BYTES) << page;
    return pages;
}

static void chunk_read(const struct memory_hash *h, struct chunk *chunk)
{
    uint64_t base = (uint64_t)chunk->number * MEMORY_CHUNK_BYTES, end = base + MEMORY_CHUNK_BYTES;
    uint64_t start, stop = base;

    chunk->pages = chunk->data_bytes = 0;
    chunk->error = 0;
    digest_start(&chunk->work);
    while (chunk->error == 0 && next_data(h->fd, stop, end, &start, &stop)) {
        chunk->error = -pread_all(h->fd, chunk->buffer + (start - base), stop - start, start);
        chunk->data_bytes += stop - start;
        if (chunk->error == 0)
            chunk->pages |=
                pages_of_data(chunk->buffer, (unsigned)((start - base) / HOST_PAGE_BYTES),
                              (unsigned)((stop - base) / HOST_PAGE_BYTES));
    }
}

/* Goes on to the next run when this one is used up. False: there is none. */
static bool run_more(struct run *run, const struct chunk *chunk)
{
    if (run->bytes || !run->later)
        return run->bytes > 0;
    unsigned first = (unsigned)__builtin_ctzll(run->later);
    uint64_t gaps = ~(run->later >> first);
    unsigned count = gaps ? (unsigned)__builtin_ctzll(gaps) : PAGES;

    run->at = chunk->buffer + first * HOST_PAGE_BYTES;
    run->bytes = count * HOST_PAGE_BYTES;
    run->later = first + count == PAGES ? 0 : run->later >> (first + count) << (first + count);
    return true;
}

static void run_advance(struct run *run, size_t bytes)
{
    run->at += bytes;
    run->bytes -= bytes;
}

/* `b` is NULL when there is only one. */
static void chunks_hash(struct chunk *a, struct chunk *b)
{
    struct run a_run = { .later = a->pages }, b_run = { .later = b ? b->pages : 0 };

    while (run_more(&a_run, a) & (b && run_more(&b_run, b))) {
        size_t bytes = MIN_OF(a_run.bytes, b_run.bytes);

        digest_add_both(&a->work, a_run.at, &b->work, b_run.at, bytes);
        run_advance(&a_run, bytes);
        run_advance(&b_run, bytes);
    }
    for (; run_more(&a_run, a); run_advance(&a_run, a_run.bytes))
        digest_add(&a->work, a_run.at, a_run.bytes);
    for (; b && run_more(&b_run, b); run_advance(&b_run, b_run.bytes))
        digest_add(&b->work, b_run.at, b_run.bytes);
}

static struct digest chunk_digest(struct chunk *chunk)
{
    digest_add(&chunk->work, &chunk->pages, sizeof chunk->pages);
    return digest_end(&chunk->work);
}

/* ---- All of them ---- */

static uint32_t chunk_count(const struct memory_hash *h)
{
    return (uint32_t)(h->ram_bytes / MEMORY_CHUNK_BYTES);
}

/* Lock held. */
static void settle(struct memory_hash *h, uint32_t chunk, int error, const struct digest *digest)
{
    if (error == 0 && !h->compare)
        h->chunk[chunk] = *digest;
    if (error == 0 && digest_equal(&h->chunk[chunk], digest))
        return;
    if (chunk < h->fault) {
        h->fault = chunk;
        h->fault_errno = error;
    }
}

/* Lock held. The next chunk that has data; those before it are holes. False: there is no more, or
 * no more of interest. */
static bool take(struct memory_hash *h, uint32_t *ret_chunk)
{
    uint32_t count = chunk_count(h), chunk = count;
    uint64_t start, stop;

    if (h->fault != UINT32_MAX)
        return false;
    if (next_data(h->fd, (uint64_t)h->next * MEMORY_CHUNK_BYTES, h->ram_bytes, &start, &stop))
        chunk = (uint32_t)(start / MEMORY_CHUNK_BYTES);
    for (; h->next < chunk; h->next++)
        settle(h, h->next, 0, &h->hole);
    if (chunk == count)
        return false;
    h->next = chunk + 1;
    *ret_chunk = chunk;
    return true;
}

/* Lock held. Up to AT_ONCE of them; how many. */
static unsigned take_some(struct memory_hash *h, struct chunk chunks[AT_ONCE])
{
    unsigned count = 0;

    while (count < AT_ONCE && take(h, &chunks[count].number))
        count++;
    return count;
}

/* Without the lock. */
static void hash(const struct memory_hash *h, struct chunk chunks[AT_ONCE], unsigned count,
                 struct digest ret_digests[AT_ONCE])
{
    for (unsigned i = 0; i < count; i++)
        chunk_read(h, &chunks[i]);
    chunks_hash(&chunks[0], count > 1 ? &chunks[1] : NULL);
    for (unsigned i = 0; i < count; i++)
        ret_digests[i] = chunk_digest(&chunks[i]);
}

static int work_along(struct memory_hash *h, unsigned place, memory_progress_fn progress,
                      void *data)
{
    struct chunk chunks[AT_ONCE];
    struct digest digests[AT_ONCE];
    unsigned count;
    int rc = 0;

    for (unsigned i = 0; i < AT_ONCE; i++)
        chunks[i].buffer = h->room + ((size_t)place * AT_ONCE + i) * MEMORY_CHUNK_BYTES;
    pthread_mutex_lock(&h->lock);
    while (rc == 0 && (count = take_some(h, chunks)) > 0) {
        pthread_mutex_unlock(&h->lock);
        if (progress &&
            !progress(data, (uint64_t)chunks[0].number * MEMORY_CHUNK_BYTES, h->ram_bytes))
            rc = -ECANCELED;
        if (rc == 0)
            hash(h, chunks, count, digests);
        pthread_mutex_lock(&h->lock);
        for (unsigned i = 0; rc == 0 && i < count; i++) {
            h->data_bytes += chunks[i].data_bytes;
            settle(h, chunks[i].number, chunks[i].error, &digests[i]);
        }
    }
    if (rc < 0)
        h->next = chunk_count(h);
    pthread_mutex_unlock(&h->lock);
    return rc;
}

/* ---- Threads ---- */

/* Place 0 is the caller's. */
static void *helper_main(void *data)
{
    struct memory_hash *h = data;

    pthread_mutex_lock(&h->lock);
    unsigned place = ++h->places;
    pthread_mutex_unlock(&h->lock);
    setpriority(PRIO_PROCESS, (id_t)gettid(), HELPER_NICE);
    work_along(h, place, NULL, NULL);
    return NULL;
}

static unsigned helpers_wanted(void)
{
    cpu_set_t cpus;

    if (sched_getaffinity(0, sizeof cpus, &cpus) < 0)
        return 0;
    return (unsigned)MIN_OF(CPU_COUNT(&cpus) - 1, (int)MEMORY_HASH_HELPERS_MAX);
}

/* On stacks of our own, which leave no mapping behind in what is forked from this process. Fewer
 * helpers than wanted, or none, is fine. */
static void helpers_start(struct memory_hash *h, unsigned wanted)
{
    uint8_t *stacks = h->room + (wanted + 1ull) * AT_ONCE * MEMORY_CHUNK_BYTES;
    pthread_attr_t attr;

    pthread_attr_init(&attr);
    for (unsigned i = 0; i < wanted; i++) {
        pthread_attr_setstack(&attr, stacks + (size_t)i * STACK_BYTES, STACK_BYTES);
        if (pthread_create(&h->helper[i], &attr, helper_main, h) != 0)
            break;
        h->helper_count++;
    }
    pthread_attr_destroy(&attr);
}

int memory_hash_start(struct memory_hash *h, struct err *err)
{
    unsigned wanted = helpers_wanted();
    const uint64_t no_pages = 0;

    h->hole = digest_of(&no_pages, sizeof no_pages);
    h->next = h->places = h->helper_count = 0;
    h->fault = UINT32_MAX;
    h->data_bytes = 0;
    h->room_bytes = (wanted + 1ull) * AT_ONCE * MEMORY_CHUNK_BYTES + (size_t)wanted * STACK_BYTES;
    h->room = mmap(NULL, h->room_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (h->room == MAP_FAILED) {
        h->room = NULL;
        return err_set_errno(err, ENOMEM, "memory.img: %zu bytes to read it with", h->room_bytes);
    }
    pthread_mutex_init(&h->lock, NULL);
    helpers_start(h, wanted);
    return 0;
}

static void end(struct memory_hash *h)
{
    for (unsigned i = 0; i < h->helper_count; i++)
        pthread_join(h->helper[i], NULL);
    pthread_mutex_destroy(&h->lock);
    munmap(h->room, h->room_bytes);
    h->room = NULL;
}

static int tell_fault(const struct memory_hash *h, struct err *err)
{
    unsigned long long offset = (unsigned long long)h->fault * MEMORY_CHUNK_BYTES;

    if (h->fault_errno)
        return err_set_errno(err, h->fault_errno, "memory.img: reading chunk %u at offset %llu",
                             h->fault, offset);
    return err_set(
        err, EINVAL,
        "memory.img: chunk %u at offset %llu is damaged: it is not what the snapshot was "
        "made with; make that again (of a pool: delete and create it), or put the file "
        "back from a copy",
        h->fault, offset);
}

int memory_hash_finish(struct memory_hash *h, memory_progress_fn progress, void *data,
                       struct err *err)
{
    int rc = work_along(h, 0, progress, data);

    end(h);
    if (rc < 0)
        return err_set(err, ECANCELED, "memory.img: checking was cancelled");
    return h->fault != UINT32_MAX ? tell_fault(h, err) : 0;
}

void memory_hash_abort(struct memory_hash *h)
{
    if (!h->room)
        return;
    pthread_mutex_lock(&h->lock);
    h->next = chunk_count(h);
    pthread_mutex_unlock(&h->lock);
    end(h);
}
