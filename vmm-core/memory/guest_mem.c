/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the mapping of guest RAM; see guest_mem.h. */
#include "memory/guest_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"

int guest_mem_init(struct guest_mem *mem, uint64_t ram_bytes, struct err *err)
{
    *mem = (struct guest_mem){ .fd = -1 };
    if (ram_bytes < GUEST_RAM_BYTES_MIN || ram_bytes > GUEST_RAM_BYTES_MAX ||
        ram_bytes % MIB(2) != 0)
        return err_set(err, EINVAL,
                       "guest memory of %llu bytes: must be 32 MiB to 64 GiB and a multiple of "
                       "2 MiB",
                       (unsigned long long)ram_bytes);
    uint64_t low = MIN_OF(ram_bytes, GUEST_MMIO_GAP_GPA);
    mem->ram_bytes = ram_bytes;
    mem->region[0] = (struct guest_region){ .gpa = 0, .bytes = low };
    mem->region_count = 1;
    if (ram_bytes > low)
        mem->region[mem->region_count++] = (struct guest_region){ .gpa = GUEST_HIGH_RAM_GPA,
                                                                  .bytes = ram_bytes - low,
                                                                  .file_offset = low };
    return 0;
}

static int map(struct guest_mem *mem, int fd, int flags, struct err *err)
{
    void *hva = mmap(NULL, mem->ram_bytes, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, 0);

    if (hva == MAP_FAILED)
        return err_set_errno(err, errno, "mapping %llu MiB of guest memory",
                             (unsigned long long)(mem->ram_bytes >> 20));
    mem->hva = hva;
    /* A core dump of the VMM must not hold the guest's secrets. */
    madvise(hva, mem->ram_bytes, MADV_DONTDUMP);
    return 0;
}

/* Takes the pages from the host's reserve at once, as a fault that finds none is a SIGBUS. */
static int reserve_huge(const struct guest_mem *mem, int fd, struct err *err)
{
    if (fallocate(fd, 0, 0, (off_t)mem->ram_bytes) == 0)
        return 0;
    int code = errno;
    return err_set_errno(err, code,
                         "huge pages: %llu of 2 MiB are needed, and the host has fewer free; "
                         "reserve them (sysctl vm.nr_hugepages), or leave --huge-pages out",
                         (unsigned long long)(mem->ram_bytes / MIB(2)));
}

int guest_mem_map_new(struct guest_mem *mem, bool huge_pages, struct err *err)
{
    _cleanup_close_ int fd =
        memfd_create("volt-guest", MFD_CLOEXEC | (huge_pages ? MFD_HUGETLB | MFD_HUGE_2MB : 0));

    if (fd < 0)
        return err_set_errno(err, errno, "creating the memory file");
    if (ftruncate(fd, (off_t)mem->ram_bytes) < 0)
        return err_set_errno(err, errno, "sizing the memory file");
    int rc = huge_pages ? reserve_huge(mem, fd, err) : 0;
    if (rc == 0)
        rc = map(mem, fd, MAP_SHARED, err);
    if (rc == 0)
        mem->fd = take_fd(&fd);
    return rc;
}

int guest_mem_map_private(struct guest_mem *mem, int file_fd, struct err *err)
{
    int rc = map(mem, file_fd, MAP_PRIVATE, err);

    /* With a cold page cache, a fault would wait for all of the disk's read-ahead, which may be
     * megabytes. A hint: may fail. */
    mem->no_read_ahead = rc == 0 && madvise(mem->hva, mem->ram_bytes, MADV_RANDOM) == 0;
    return rc;
}

void guest_mem_read_ahead(struct guest_mem *mem)
{
    if (mem->no_read_ahead)
        madvise(mem->hva, mem->ram_bytes, MADV_NORMAL);
    mem->no_read_ahead = false;
}

void guest_mem_fini(struct guest_mem *mem)
{
    if (mem->hva)
        munmap(mem->hva, mem->ram_bytes);
    mem->hva = NULL;
    close_fd(&mem->fd);
}

bool guest_mem_read(const struct guest_mem *mem, gpa_t gpa, void *buffer, uint64_t bytes)
{
    const void *at = guest_mem_at(mem, gpa, bytes);

    if (at)
        memcpy(buffer, at, bytes);
    return at != NULL;
}

bool guest_mem_write(const struct guest_mem *mem, gpa_t gpa, const void *buffer, uint64_t bytes)
{
    void *at = guest_mem_at(mem, gpa, bytes);

    if (at)
        memcpy(at, buffer, bytes);
    return at != NULL;
}
