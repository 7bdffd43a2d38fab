/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the reading of a tar stream's first header; see tar_head.h. */
#include "tar_head.h"

#include <errno.h>
#include <string.h>

#define BLOCK_BYTES 512u
#define SIZE_AT 124
#define SIZE_BYTES 12
#define TYPE_AT 156
#define MAGIC_AT 257

/* An octal field. -1 on anything else; base-256 sizes do not occur in the members skipped here. */
static int64_t octal_parse(const uint8_t *field, size_t field_bytes)
{
    int64_t value = 0;
    size_t i = 0;

    while (i < field_bytes && field[i] == ' ')
        i++;
    for (; i < field_bytes && field[i] != '\0' && field[i] != ' '; i++) {
        if (field[i] < '0' || field[i] > '7')
            return -1;
        value = value * 8 + (field[i] - '0');
    }
    return value;
}

int tar_head_parse(const uint8_t *data, size_t bytes, enum tar_head_kind *ret_kind)
{
    size_t at = 0;

    while (at + BLOCK_BYTES <= TAR_HEAD_BYTES_MAX) {
        if (bytes - at < BLOCK_BYTES)
            return 0;
        const uint8_t *header = data + at;
        if (memcmp(header + MAGIC_AT, "ustar", 5) != 0)
            return -EPROTO;
        char type = (char)header[TYPE_AT];
        if (!strchr("xgLK", type) || type == '\0') {
            *ret_kind = type == '5'   ? TAR_HEAD_DIRECTORY
                        : type == '2' ? TAR_HEAD_SYMLINK
                                      : TAR_HEAD_FILE;
            return 1;
        }
        int64_t size = octal_parse(header + SIZE_AT, SIZE_BYTES);
        if (size < 0 || size > TAR_HEAD_BYTES_MAX)
            return -EPROTO;
        at += BLOCK_BYTES + ((size_t)size + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
        if (bytes < at && at + BLOCK_BYTES <= TAR_HEAD_BYTES_MAX)
            return 0;
    }
    return -EPROTO;
}
