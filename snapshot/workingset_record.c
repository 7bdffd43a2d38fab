/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the recording of working sets, from outside the VM's process; see workingset.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/util.h"
#include "snapshot/workingset.h"

/* Documentation/admin-guide/mm/pagemap.rst. */
#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_FILE (1ull << 61) /* file page or shared anonymous: not written by this mapping */
#define PAGEMAP_BATCH 4096u       /* entries read at a time */

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

/* One line of /proc/PID/maps (man 5 proc), as far as it matters. */
struct mapping {
    uint64_t start, end, offset;
};

/* Adds what is touched of a mapping of the memory file, up to page_count. */
static int add_mapping(struct working_set *set, int pagemap_fd, const struct mapping *mapping,
                       uint64_t page_count)
{
    uint64_t first = mapping->offset / HOST_PAGE_BYTES;
    uint64_t end = MIN_OF(first + (mapping->end - mapping->start) / HOST_PAGE_BYTES, page_count);
    _cleanup_free_ uint64_t *entry = malloc(PAGEMAP_BATCH * sizeof *entry);
    int rc = entry ? 0 : -ENOMEM;

    for (uint64_t page = first; page < end && rc == 0; page += PAGEMAP_BATCH) {
        uint32_t count = (uint32_t)MIN_OF(end - page, PAGEMAP_BATCH);
        uint64_t at = mapping->start / HOST_PAGE_BYTES + (page - first);

        rc = pread_all(pagemap_fd, entry, count * sizeof *entry, at * sizeof *entry);
        if (rc == 0)
            rc = add_entries(set, entry, count, (uint32_t)page);
    }
    return rc;
}

/* The mappings of one private mapping that was split lie in order of address and offset; a line
 * that goes back belongs to another mapping of the file, and ends the search. */
static int add_mappings(struct working_set *set, FILE *maps, int pagemap_fd,
                        const struct stat *file, uint64_t page_count)
{
    unsigned long long start, end, offset, inode;
    unsigned major_id, minor_id;
    uint64_t last_end = 0;
    char line[512], access[5];
    int found = 0;

    while (fgets(line, sizeof line, maps)) {
        struct mapping mapping;

        if (sscanf(line, "%llx-%llx %4s %llx %x:%x %llu", &start, &end, access, &offset, &major_id,
                   &minor_id, &inode) != 7 ||
            inode != file->st_ino || makedev(major_id, minor_id) != file->st_dev ||
            access[3] != 'p')
            continue;
        if (offset < last_end)
            break;
        mapping = (struct mapping){ .start = start, .end = end, .offset = offset };
        int rc = add_mapping(set, pagemap_fd, &mapping, page_count);
        if (rc < 0)
            return rc;
        last_end = offset + (end - start);
        found = 1;
    }
    return found ? 0 : -ENOENT;
}

int working_set_record(pid_t pid, int memory_fd, uint64_t ram_bytes, struct working_set *ret_set,
                       struct err *err)
{
    struct working_set set = { 0 };
    struct stat file;
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
    _cleanup_close_ int pagemap_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (pagemap_fd < 0 || fstat(memory_fd, &file) < 0)
        return err_set_errno(err, errno, "recording the working set from %s", path);
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "re");
    if (!maps)
        return err_set_errno(err, errno, "recording the working set from %s", path);
    int rc = add_mappings(&set, maps, pagemap_fd, &file, ram_bytes / HOST_PAGE_BYTES);
    fclose(maps);
    if (rc < 0) {
        working_set_fini(&set);
        return err_set_errno(err, -rc, "recording the working set of process %d", pid);
    }
    *ret_set = set;
    return 0;
}
