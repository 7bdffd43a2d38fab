/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the archives that no row of members can spell. */
#include "hostile_odd.h"

#include <stdio.h>
#include <string.h>

#define BLOCK 512u
#define SIZE_AT 124
#define LONG_BYTES 5000

static void file_put(struct hostile_writer *writer, const char *name)
{
    const struct hostile_member member = { .name = name };

    hostile_put(writer, &member);
}

/* A long name (type L) or pattern of one, then the file that it is for. */
static void named_put(struct hostile_writer *writer, const char *pattern)
{
    char name[4096];

    hostile_expand(writer->place, pattern, name, sizeof name);
    hostile_put_extended(writer, 'L', name, strlen(name) + 1);
    file_put(writer, "@/a");
}

void hostile_long_absolute(struct hostile_writer *writer)
{
    named_put(writer, "%/new");
    named_put(writer, "@/%/new");
    hostile_put_end(writer);
}

void hostile_long_dots(struct hostile_writer *writer)
{
    named_put(writer, "@/../../victim/new");
    hostile_put_end(writer);
}

void hostile_long_nul(struct hostile_writer *writer)
{
    static const char name[] = "top/a\0/../../victim/new";

    hostile_put_extended(writer, 'L', name, sizeof name);
    file_put(writer, "@/a");
    hostile_put_end(writer);
}

void hostile_long_endless(struct hostile_writer *writer)
{
    char name[4096];

    hostile_expand(writer->place, "%/new", name, sizeof name);
    hostile_put_extended(writer, 'L', name, strlen(name)); /* without its NUL */
    file_put(writer, "@/a");
    hostile_put_end(writer);
}

/* The top, then a component of `bytes`, many times if there are more than 255. */
static void component_put(struct hostile_writer *writer, size_t bytes)
{
    char name[LONG_BYTES + 100];
    size_t fill = strlen(hostile_expand(writer->place, "@/", name, 100));

    memset(name + fill, 'n', bytes);
    name[fill + bytes] = '\0';
    for (size_t at = fill + 200; at < fill + bytes && bytes > 300; at += 200)
        name[at] = '/';
    hostile_put_extended(writer, 'L', name, fill + bytes + 1);
    file_put(writer, "@/a");
}

void hostile_long_component(struct hostile_writer *writer)
{
    component_put(writer, 256);
    hostile_put_end(writer);
}

void hostile_long_path(struct hostile_writer *writer)
{
    component_put(writer, LONG_BYTES);
    hostile_put_end(writer);
}

void hostile_long_alone(struct hostile_writer *writer)
{
    char name[4096];

    file_put(writer, "@/a");
    hostile_expand(writer->place, "%/new", name, sizeof name);
    hostile_put_extended(writer, 'L', name, strlen(name) + 1);
    hostile_put_end(writer);
}

void hostile_long_row(struct hostile_writer *writer)
{
    char name[4096];

    hostile_expand(writer->place, "%/new", name, sizeof name);
    for (int i = 0; i < 1000; i++)
        hostile_put_extended(writer, 'L', name, strlen(name) + 1);
    file_put(writer, "@/a");
    hostile_put_end(writer);
}

void hostile_long_link(struct hostile_writer *writer)
{
    char target[4001];

    for (size_t at = 0; at + 1 < sizeof target; at++)
        target[at] = "../"[at % 3];
    target[sizeof target - 1] = '\0';
    const struct hostile_member link = { .name = "@/l", .type = '2', .link = "x" };
    hostile_put_extended(writer, 'K', target, sizeof target);
    hostile_put(writer, &link);
    file_put(writer, "@/l/%/new");
    hostile_put_end(writer);
}

/* Fills in "TOP/d/d/d..." of `depth` folders. Returns its length. */
static size_t deep_name(const struct hostile_writer *writer, char *name, size_t depth)
{
    size_t fill = strlen(hostile_expand(writer->place, "@", name, 100));

    for (size_t i = 0; i < depth; i++) {
        memcpy(name + fill, "/d", 2);
        fill += 2;
    }
    name[fill] = '\0';
    return fill;
}

void hostile_deep(struct hostile_writer *writer)
{
    char name[4096];
    size_t bytes = deep_name(writer, name, 2000);

    memcpy(name + bytes, "/f", 3);
    hostile_put_extended(writer, 'L', name, bytes + 3);
    file_put(writer, "@/a");
    hostile_put_end(writer);
}

/* A link to a deep folder, then as deep beneath it: the tree is deeper than any path. */
void hostile_deeper(struct hostile_writer *writer)
{
    char name[4096], beneath[4096];
    size_t bytes = deep_name(writer, name, 1500);

    hostile_put_extended(writer, 'L', name, bytes + 1);
    const struct hostile_member folder = { .name = "@/a", .type = '5' };
    hostile_put(writer, &folder);
    const char *target = name + strlen(writer->place->top) + 1;
    const struct hostile_member link = { .name = "@/l", .type = '2', .link = "x" };
    hostile_put_extended(writer, 'K', target, strlen(target) + 1);
    hostile_put(writer, &link);
    bytes = strlen(hostile_expand(writer->place, "@/l", beneath, 100));
    for (size_t i = 0; i < 1500; i++, bytes += 2)
        memcpy(beneath + bytes, "/e", 2);
    memcpy(beneath + bytes, "/f", 3);
    hostile_put_extended(writer, 'L', beneath, bytes + 3);
    file_put(writer, "@/a");
    hostile_put_end(writer);
}

void hostile_pax_row(struct hostile_writer *writer)
{
    static const char record[] = "12 path=evil\n";

    for (int i = 0; i < 1000; i++)
        hostile_put_extended(writer, i % 2 ? 'x' : 'g', record, sizeof record - 1);
    file_put(writer, "@/a");
    hostile_put_end(writer);
}

void hostile_pax_lies(struct hostile_writer *writer)
{
    static const char *const records[] = {
        "999999 path=/evil\n", "3 path=/evil\n", "0 path=/evil\n",
        "-5 path=/evil\n",     "17 path=/evil",  "18446744073709551615 path=/evil\n"
    };

    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
        hostile_put_extended(writer, 'x', records[i], strlen(records[i]));
        file_put(writer, "@/a");
    }
    hostile_put_end(writer);
}

void hostile_pax_endless(struct hostile_writer *writer)
{
    static char record[2u << 20];

    memset(record, '1', sizeof record);
    hostile_put_extended(writer, 'x', record, sizeof record);
    file_put(writer, "@/a");
    hostile_put_end(writer);
}

void hostile_pax_nul(struct hostile_writer *writer)
{
    static const char record[] = "29 path=top/a\0/../victim/new\n";

    hostile_put_extended(writer, 'x', record, sizeof record - 1);
    file_put(writer, "@/a");
    hostile_put_end(writer);
}

static void size_put(struct hostile_writer *writer, const uint8_t size[12])
{
    uint8_t *header = writer->data + writer->bytes;

    file_put(writer, "@/a");
    memcpy(header + SIZE_AT, size, 12);
    hostile_checksum(header);
    hostile_put_end(writer);
}

void hostile_size_huge(struct hostile_writer *writer)
{
    static const uint8_t size[12] = { 0x80, 0, 0, 0, 0x40 };

    size_put(writer, size);
}

void hostile_size_negative(struct hostile_writer *writer)
{
    uint8_t size[12];

    memset(size, 0xff, sizeof size);
    size_put(writer, size);
}

/* The header of one member, with an evil one in its data. */
static void smuggle(struct hostile_writer *writer, const char *pax)
{
    const struct hostile_member outer = {
        .name = "@/a", .data = "", .pax = pax, .size = "00000002000"
    };

    hostile_put(writer, &outer);
    file_put(writer, "%/new");
    hostile_put_end(writer);
}

void hostile_smuggle(struct hostile_writer *writer)
{
    smuggle(writer, NULL);
}

void hostile_smuggle_pax(struct hostile_writer *writer)
{
    smuggle(writer, "size=0");
}

void hostile_sparse_old(struct hostile_writer *writer)
{
    static const char *const map[] = { "00000000000", "00000001000", "00000000100", "00000001000",
                                       "77777777777", "00000001000", "00000000000", "77777777777" };
    const struct hostile_member member = { .name = "@/a", .type = 'S', .data = "evil" };
    uint8_t *header = writer->data + writer->bytes;

    hostile_put(writer, &member);
    memcpy(header + 257, "ustar  ", 8);
    for (size_t i = 0; i < 8; i++)
        memcpy(header + 386 + 12 * i, map[i], 12);
    memcpy(header + 483, "77777777777", 12); /* its real size */
    hostile_checksum(header);
    hostile_put_end(writer);
}

void hostile_checksum_wrong(struct hostile_writer *writer)
{
    uint8_t *header = writer->data;

    file_put(writer, "%/new");
    header[0] ^= 1;
    hostile_put_end(writer);
}

void hostile_zeroes(struct hostile_writer *writer)
{
    for (int i = 0; i < 20; i++)
        hostile_put_end(writer);
}

void hostile_noise(struct hostile_writer *writer)
{
    uint8_t noise[20 * BLOCK];
    uint32_t state = 1;

    for (size_t i = 0; i < sizeof noise; i++) {
        state = state * 1664525u + 1013904223u;
        noise[i] = (uint8_t)(state >> 24);
    }
    hostile_put_data(writer, noise, sizeof noise);
}

void hostile_concatenated(struct hostile_writer *writer)
{
    file_put(writer, "@/a");
    hostile_put_end(writer);
    file_put(writer, "%/new");
    file_put(writer, "@/../../victim/new");
    hostile_put_end(writer);
}

void hostile_cut_header(struct hostile_writer *writer)
{
    file_put(writer, "@/a");
    file_put(writer, "%/new");
    writer->bytes -= BLOCK + BLOCK / 2;
}

void hostile_cut_data(struct hostile_writer *writer)
{
    file_put(writer, "@/a");
    writer->bytes -= BLOCK / 2;
}
