/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the looks of superblocks; see filesystem.h. */
#include "snapshot/image/filesystem.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

/* Both kinds have theirs there. */
#define SUPERBLOCK 1024u

static uint32_t u32_at(const uint8_t *head, unsigned offset)
{
    uint32_t value;

    memcpy(&value, head + offset, sizeof value);
    return le32toh(value);
}

const char *filesystem_kind(const uint8_t head[FILESYSTEM_HEAD_BYTES], uint64_t *ret_bytes)
{
    uint16_t ext4_magic;

    memcpy(&ext4_magic, head + SUPERBLOCK + 0x38, sizeof ext4_magic);
    if (u32_at(head, SUPERBLOCK) == 0xe0f5e1e2u && head[SUPERBLOCK + 12] < 32) {
        *ret_bytes = (uint64_t)u32_at(head, SUPERBLOCK + 36) << head[SUPERBLOCK + 12];
        return "erofs";
    }
    if (le16toh(ext4_magic) == 0xef53 && u32_at(head, SUPERBLOCK + 0x18) < 16) {
        bool wide = u32_at(head, SUPERBLOCK + 0x60) & 0x80; /* INCOMPAT_64BIT */
        uint64_t blocks = u32_at(head, SUPERBLOCK + 4) |
                          (wide ? (uint64_t)u32_at(head, SUPERBLOCK + 0x150) << 32 : 0);
        *ret_bytes = blocks << (10 + u32_at(head, SUPERBLOCK + 0x18));
        return "ext4";
    }
    return NULL;
}
