/* SPDX-License-Identifier: Apache-2.0 */
/* Guest physical memory: one host mapping, seen by the guest as RAM below the MMIO gap and, if it
 * is larger than that, above 4 GiB.
 *
 * Host code never turns a guest address into a pointer by itself: gpa_t is only a number, and
 * guest_mem_at is the one gate that checks it. A pointer from the gate is to memory that the guest
 * can change at any moment: copy a structure once, then validate the copy.
 */
#ifndef VOLT_MEMORY_GUEST_MEM_H
#define VOLT_MEMORY_GUEST_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "memory/guest_fill.h"

typedef uint64_t gpa_t; /* guest physical address, or a length added to one */

#define GUEST_RAM_BYTES_MIN (32ull << 20)
#define GUEST_RAM_BYTES_MAX (64ull << 30)
#define GUEST_MMIO_GAP_GPA 0xd0000000ull /* RAM goes up to here, then on from 4 GiB */
#define GUEST_HIGH_RAM_GPA 0x100000000ull

struct guest_region {
    gpa_t gpa;
    uint64_t bytes;
    uint64_t file_offset; /* in the memory file; also the offset from guest_mem.hva */
};

struct guest_mem {
    uint8_t *hva;       /* ram_bytes long, NULL when not mapped */
    uint64_t ram_bytes; /* a multiple of 2 MiB */
    int fd;             /* the memory file behind it, owned; -1 none */
    struct guest_region region[2];
    unsigned region_count;
    bool no_read_ahead;      /* see guest_mem_map_private */
    struct guest_fill *fill; /* what loads files while the guest runs, borrowed; NULL none */
};

/* Lays out the regions of ram_bytes of RAM; maps nothing. -EINVAL for a size out of range or not
 * a multiple of 2 MiB. */
int guest_mem_init(struct guest_mem *mem, uint64_t ram_bytes, struct err *err);

/* Maps a new, zeroed memfd, shared: for a VM that boots. With huge_pages it is of 2 MiB pages, all
 * taken from those that the host has reserved (hugetlbfs); -ENOSPC: it has too few. */
int guest_mem_map_new(struct guest_mem *mem, bool huge_pages, struct err *err);

/* Maps file_fd (borrowed; at least ram_bytes long) MAP_PRIVATE: for a restored VM. Page faults read
 * just their page of the file, as the way to the first answer touches few pages, far apart, until
 * guest_mem_read_ahead is called. */
int guest_mem_map_private(struct guest_mem *mem, int file_fd, struct err *err);

/* From here on faults read ahead, as from any file. Any one thread; nothing happens twice. */
void guest_mem_read_ahead(struct guest_mem *mem);

/* Unmaps and closes. Fine on a half-built object. */
void guest_mem_fini(struct guest_mem *mem);

/* The gate: a pointer to bytes [gpa, gpa + bytes), or NULL unless all of them lie in one region of
 * RAM. Overflow-safe for any arguments. Any thread. */
static inline void *guest_mem_at(const struct guest_mem *mem, gpa_t gpa, uint64_t bytes)
{
    for (unsigned i = 0; i < mem->region_count; i++) {
        const struct guest_region *r = &mem->region[i];

        if (gpa >= r->gpa && gpa - r->gpa <= r->bytes && bytes <= r->bytes - (gpa - r->gpa))
            return mem->hva + r->file_offset + (gpa - r->gpa);
    }
    return NULL;
}

/* Copies out of or into guest memory through the gate; false when the range is not RAM. */
bool guest_mem_read(const struct guest_mem *mem, gpa_t gpa, void *buffer, uint64_t bytes);
bool guest_mem_write(const struct guest_mem *mem, gpa_t gpa, const void *buffer, uint64_t bytes);

#endif
