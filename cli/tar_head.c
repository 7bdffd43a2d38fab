/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the reading of a tar stream's first header; see tar_head.h. */
#include "tar_head.h"

#include <errno.h>
#include <string.h>

#define BLOCK_BYTES 512u
#define SIZE_AT 124
#define SIZE_BYTES 12
#define TYPE_AT 156
#define LINK_AT 157
#define LINK_BYTES 100
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

/* A link's text, which must be one: not empty, without NUL, short enough. */
static void link_take(struct tar_head *head, const uint8_t *text, size_t bytes)
{
    if (bytes >= sizeof head->link || memchr(text, '\0', bytes))
        return;
    memcpy(head->link, text, bytes);
    head->link[bytes] = '\0';
}

/* The record "LENGTH linkpath=TEXT\n" of a pax header, if it has one. */
static void pax_take(struct tar_head *head, const uint8_t *data, size_t bytes)
{
    static const char keyword[] = "linkpath=";
    const size_t keyword_bytes = sizeof keyword - 1;

    while (bytes > 0 && *data != '\0') {
        size_t length = 0, at = 0;

        for (; at < bytes && at < 6 && data[at] >= '0' && data[at] <= '9'; at++)
            length = length * 10 + (size_t)(data[at] - '0');
        if (length > bytes || length < at + 2)
            return;
        at++; /* the blank */
        if (length > at + keyword_bytes && memcmp(data + at, keyword, keyword_bytes) == 0)
            link_take(head, data + at + keyword_bytes, length - at - keyword_bytes - 1);
        data += length;
        bytes -= length;
    }
}

/* What a header before the member's own says, whose data is all there. */
static void extension_take(struct tar_head *head, char type, const uint8_t *data, size_t bytes)
{
    if (type == 'x')
        pax_take(head, data, bytes);
    else if (type == 'K')
        link_take(head, data, strnlen((const char *)data, bytes));
}

/* The member's own header. */
static int member_take(struct tar_head *head, const uint8_t *header)
{
    char type = (char)header[TYPE_AT];

    head->kind = type == '5' ? TAR_HEAD_DIRECTORY : type == '2' ? TAR_HEAD_SYMLINK : TAR_HEAD_FILE;
    if (head->link[0] == '\0')
        link_take(head, header + LINK_AT, strnlen((const char *)header + LINK_AT, LINK_BYTES));
    return head->kind == TAR_HEAD_SYMLINK && head->link[0] == '\0' ? -EPROTO : 1;
}

int tar_head_parse(const uint8_t *data, size_t bytes, struct tar_head *ret_head)
{
    size_t at = 0;

    ret_head->link[0] = '\0';
    while (at + BLOCK_BYTES <= TAR_HEAD_BYTES_MAX) {
        if (bytes < at + BLOCK_BYTES)
            return 0;
        const uint8_t *header = data + at;
        if (memcmp(header + MAGIC_AT, "ustar", 5) != 0)
            return -EPROTO;
        char type = (char)header[TYPE_AT];
        if (type == '\0' || !strchr("xgLK", type))
            return member_take(ret_head, header);
        int64_t size = octal_parse(header + SIZE_AT, SIZE_BYTES);
        if (size < 0 || size > TAR_HEAD_BYTES_MAX)
            return -EPROTO;
        at += BLOCK_BYTES + ((size_t)size + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
        if (bytes < at && at + BLOCK_BYTES <= TAR_HEAD_BYTES_MAX)
            return 0;
        if (at + BLOCK_BYTES <= TAR_HEAD_BYTES_MAX)
            extension_take(ret_head, type, header + BLOCK_BYTES, (size_t)size);
    }
    return -EPROTO;
}
