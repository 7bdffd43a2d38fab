/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the bytes of archives that no tar would write. */
#include "hostile_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 512u
#define SIZE_AT 124
#define CHECKSUM_AT 148

const char *hostile_expand(const struct hostile_place *place, const char *pattern, char *text,
                           size_t text_bytes)
{
    size_t fill = 0;

    for (const char *at = pattern; *at; at++) {
        const char letter[2] = { *at, '\0' };
        const char *put = *at == '@' ? place->top : *at == '%' ? place->victim : letter;
        size_t bytes = strlen(put);

        if (fill + bytes >= text_bytes)
            abort(); /* the table's own fault */
        memcpy(text + fill, put, bytes);
        fill += bytes;
    }
    text[fill] = '\0';
    return text;
}

static uint8_t *room(struct hostile_writer *writer, size_t bytes)
{
    uint8_t *at = writer->data + writer->bytes;

    if (writer->bytes + bytes > HOSTILE_BYTES_MAX)
        abort();
    memset(at, 0, bytes);
    writer->bytes += bytes;
    return at;
}

void hostile_checksum(uint8_t *at)
{
    unsigned sum = 0;

    memset(at + CHECKSUM_AT, ' ', 8);
    for (size_t i = 0; i < BLOCK; i++)
        sum += at[i];
    snprintf((char *)at + CHECKSUM_AT, 8, "%06o", sum & 0777777u);
}

static void field_put(uint8_t *field, size_t bytes, unsigned value)
{
    snprintf((char *)field, bytes, "%0*o", (int)bytes - 1, value);
}

static uint8_t *header_put(struct hostile_writer *writer, const char *name, char type,
                           size_t data_bytes, unsigned mode)
{
    uint8_t *header = room(writer, BLOCK);
    size_t bytes = strlen(name);

    memcpy(header, name, bytes < 100 ? bytes : 100);
    field_put(header + 100, 8, mode);
    field_put(header + 108, 8, 0);
    field_put(header + 116, 8, 0);
    field_put(header + SIZE_AT, 12, (unsigned)data_bytes);
    field_put(header + 136, 12, 1000000000);
    header[156] = (uint8_t)type;
    memcpy(header + 257,
           "ustar\0"
           "00",
           8);
    return header;
}

void hostile_put_data(struct hostile_writer *writer, const void *data, size_t bytes)
{
    uint8_t *at = room(writer, (bytes + BLOCK - 1) / BLOCK * BLOCK);

    memcpy(at, data, bytes);
}

void hostile_put_end(struct hostile_writer *writer)
{
    room(writer, 2 * (size_t)BLOCK);
}

void hostile_put_extended(struct hostile_writer *writer, char type, const void *data, size_t bytes)
{
    hostile_checksum(header_put(writer, "././@LongLink", type, bytes, 0644));
    hostile_put_data(writer, data, bytes);
}

/* A pax record counts itself: "LENGTH KEY=VALUE\n". */
static size_t pax_record(char *out, size_t out_bytes, const char *text, size_t text_bytes)
{
    size_t length = text_bytes + 3; /* a digit, the space, the newline */

    while ((size_t)snprintf(NULL, 0, "%zu", length) + text_bytes + 2 > length)
        length++;
    return (size_t)snprintf(out, out_bytes, "%zu %.*s\n", length, (int)text_bytes, text);
}

static void pax_put(struct hostile_writer *writer, const struct hostile_member *member)
{
    char lines[4096], records[8192];
    size_t fill = 0;

    hostile_expand(writer->place, member->pax, lines, sizeof lines);
    for (const char *at = lines; *at;) {
        size_t bytes = strcspn(at, "\n");

        fill += pax_record(records + fill, sizeof records - fill, at, bytes);
        at += bytes + (at[bytes] == '\n');
    }
    hostile_put_extended(writer, member->pax_type ? (char)member->pax_type : 'x', records, fill);
}

void hostile_put(struct hostile_writer *writer, const struct hostile_member *member)
{
    char name[4096], link[4096] = "", prefix[160] = "";
    char type = member->type ? member->type : '0';
    const char *data = member->data ? member->data : type == '0' ? "evil" : "";
    unsigned mode = member->mode ? member->mode : type == '5' ? 0777 : 0666;

    hostile_expand(writer->place, member->name, name, sizeof name);
    if (member->link)
        hostile_expand(writer->place, member->link, link, sizeof link);
    if (member->prefix)
        hostile_expand(writer->place, member->prefix, prefix, sizeof prefix);
    if (member->pax)
        pax_put(writer, member);
    if (strlen(link) > 100)
        hostile_put_extended(writer, 'K', link, strlen(link) + 1);
    if (strlen(name) > 100)
        hostile_put_extended(writer, 'L', name, strlen(name) + 1);
    uint8_t *header = header_put(writer, name, type, strlen(data), mode);
    memcpy(header + 157, link, strlen(link) < 100 ? strlen(link) : 100);
    memcpy(header + 345, prefix, strlen(prefix));
    field_put(header + 329, 8, member->major);
    field_put(header + 337, 8, member->minor);
    if (member->size)
        memcpy(header + SIZE_AT, member->size, strlen(member->size));
    hostile_checksum(header);
    hostile_put_data(writer, data, strlen(data));
}
