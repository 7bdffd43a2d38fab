/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the use of working sets, in the process of a VM; see workingset.h. */
#include "snapshot/workingset.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "base/util.h"

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
