/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the writing of guest RAM while the guest is stopped: every microsecond here is one of the
 * guest's. See memory.h. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "snapshot/memory.h"

/* Writes the non-zero pages of [start, end), offsets in the memory, in runs. */
static int write_extent(const uint8_t *hva, uint64_t start, uint64_t end, int out_fd,
                        struct snapshot_memory_stats *stats)
{
    uint64_t at = start;

    stats->scanned_bytes += end - start;
    while (at < end) {
        while (at < end && page_is_zero(hva + at))
            at += HOST_PAGE_BYTES;
        uint64_t run = at;
        while (at < end && !page_is_zero(hva + at))
            at += HOST_PAGE_BYTES;
        if (at == run)
            continue;
        int rc = pwrite_all(out_fd, hva + run, at - run, run);
        if (rc < 0)
            return rc;
        stats->data_bytes += at - run;
        stats->write_count++;
    }
    return 0;
}

/* The next range at or behind `at` that may hold data; false: no more. Without a file, or on one
 * that can't tell, that is all the rest. */
static bool next_extent(const struct guest_mem *mem, uint64_t at, uint64_t *ret_start,
                        uint64_t *ret_end)
{
    *ret_start = at;
    *ret_end = mem->ram_bytes;
    if (at >= mem->ram_bytes)
        return false;
    if (mem->fd < 0)
        return true;
    off_t data = lseek(mem->fd, (off_t)at, SEEK_DATA);
    if (data < 0)
        return errno != ENXIO;
    off_t hole = lseek(mem->fd, data, SEEK_HOLE);
    *ret_start = (uint64_t)data & ~(uint64_t)(HOST_PAGE_BYTES - 1);
    if (hole > data)
        *ret_end = MIN_OF(align_up((uint64_t)hole, HOST_PAGE_BYTES), mem->ram_bytes);
    return *ret_start < mem->ram_bytes;
}

int snapshot_memory_write(const struct guest_mem *mem, int out_fd,
                          struct snapshot_memory_stats *ret_stats, struct err *err)
{
    struct snapshot_memory_stats stats = { 0 };
    uint64_t began_ns = now_ns();
    uint64_t start, end = 0;

    if (ftruncate(out_fd, (off_t)mem->ram_bytes) < 0)
        return err_set_errno(err, errno, "memory.img: sizing it to %llu bytes",
                             (unsigned long long)mem->ram_bytes);
    while (next_extent(mem, end, &start, &end)) {
        int rc = write_extent(mem->hva, start, end, out_fd, &stats);
        if (rc < 0)
            return err_set_errno(err, -rc, "memory.img: writing guest memory");
    }
    stats.elapsed_ns = now_ns() - began_ns;
    if (ret_stats)
        *ret_stats = stats;
    return 0;
}
