/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the recording and the use of working sets, in the process of a VM; see workingset.h. */
#include "snapshot/workingset.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"

/* Documentation/admin-guide/mm/pagemap.rst. */
#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_FILE (1ull << 61) /* file page or shared anonymous: not written by this mapping */
#define PAGEMAP_BATCH 4096u       /* entries read at a time */

/* Readahead joins ranges that are nearer than this: one request costs more than such a hole. */
#define READAHEAD_GAP_PAGES 16u

uint64_t working_set_bytes(const struct working_set *set)
{
    uint64_t pages = 0;

    for (uint32_t i = 0; i < set->range_count; i++)
        pages += set->range[i].count & ~WORKING_SET_WRITTEN;
    return pages * HOST_PAGE_BYTES;
}

void working_set_fini(struct working_set *set)
{
    free(set->range);
    *set = (struct working_set){ 0 };
}

/* Adds one page, joined to the range before it if it can be. */
static int add_page(struct working_set *set, uint32_t page, uint32_t written)
{
    if (set->range_count > 0) {
        struct working_set_range *last = &set->range[set->range_count - 1];
        uint32_t count = last->count & ~WORKING_SET_WRITTEN;

        if (last->page + count == page && (last->count & WORKING_SET_WRITTEN) == written) {
            last->count++;
            return 0;
        }
    }
    if (set->range_count == WORKING_SET_RANGES_MAX)
        return -E2BIG;
    if ((set->range_count & (set->range_count - 1)) == 0) {
        size_t room = set->range_count ? 2 * (size_t)set->range_count : 1;
        void *grown = realloc(set->range, room * sizeof *set->range);

        if (!grown)
            return -ENOMEM;
        set->range = grown;
    }
    set->range[set->range_count++] =
        (struct working_set_range){ .page = page, .count = 1 | written };
    return 0;
}

static int add_entries(struct working_set *set, const uint64_t *entry, uint32_t count,
                       uint32_t first_page)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!(entry[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)))
            continue;
        int rc = add_page(set, first_page + i, entry[i] & PAGEMAP_FILE ? 0 : WORKING_SET_WRITTEN);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int working_set_record(const void *hva, uint64_t bytes, struct working_set *ret_set,
                       struct err *err)
{
    _cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uint64_t first = (uintptr_t)hva / HOST_PAGE_BYTES, pages = bytes / HOST_PAGE_BYTES;
    struct working_set set = { 0 };
    int rc = fd < 0 ? -errno : 0;

    _cleanup_free_ uint64_t *entry = malloc(PAGEMAP_BATCH * sizeof *entry);
    if (!entry)
        rc = -ENOMEM;
    for (uint64_t page = 0; page < pages && rc == 0; page += PAGEMAP_BATCH) {
        uint32_t count = (uint32_t)MIN_OF(pages - page, PAGEMAP_BATCH);

        rc = pread_all(fd, entry, count * sizeof *entry, (first + page) * sizeof *entry);
        if (rc == 0)
            rc = add_entries(&set, entry, count, (uint32_t)page);
    }
    if (rc < 0) {
        working_set_fini(&set);
        return err_set_errno(err, -rc, "recording the working set from /proc/self/pagemap");
    }
    *ret_set = set;
    return 0;
}

int working_set_readahead(const struct working_set *set, int memory_fd)
{
    uint32_t i = 0;

    while (i < set->range_count) {
        uint64_t start = set->range[i].page, end = start;

        for (; i < set->range_count && set->range[i].page <= end + READAHEAD_GAP_PAGES; i++)
            end = (uint64_t)set->range[i].page + (set->range[i].count & ~WORKING_SET_WRITTEN);
        int rc = posix_fadvise(memory_fd, (off_t)(start * HOST_PAGE_BYTES),
                               (off_t)((end - start) * HOST_PAGE_BYTES), POSIX_FADV_WILLNEED);
        if (rc)
            return -rc;
    }
    return 0;
}

int working_set_populate(const struct working_set *set, void *hva)
{
    for (uint32_t i = 0; i < set->range_count; i++) {
        const struct working_set_range *range = &set->range[i];
        uint64_t count = range->count & ~WORKING_SET_WRITTEN;
        int advice = range->count & WORKING_SET_WRITTEN ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;

        if (madvise((uint8_t *)hva + (uint64_t)range->page * HOST_PAGE_BYTES,
                    count * HOST_PAGE_BYTES, advice) < 0)
            return -errno;
    }
    return 0;
}
