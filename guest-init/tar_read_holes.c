/* SPDX-License-Identifier: Apache-2.0 */
/* Files with holes in a tar stream.
 *
 * How it works
 *   Both formats tell, before the data, where in the file each piece of it belongs. Format 1.0 of
 *   GNU.sparse has decimal numbers, each on a line, in blocks before the data: how many pieces, then
 *   offset and length of each. Type S has four of them in the header's last bytes, and more in
 *   blocks behind it. Nothing is believed: pieces ascend, lie within the file, and are as long in
 *   all as the data that the stream has.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tar_read_internal.h"

/* Of type S, in the header and in the blocks behind it. */
#define OLD_AT 386u
#define OLD_COUNT 4u
#define OLD_MORE_AT 482u
#define OLD_BYTES_AT 483u
#define OLD_BLOCK_COUNT 21u
#define OLD_BLOCK_MORE_AT 504u
#define OLD_FIELD_BYTES 12u

static int broken(const struct tar_reader *reader, struct fail *fail)
{
    return fail_set(fail, EINVAL, "the tar stream has a broken list of the holes of",
                    reader->entry.path, NULL);
}

static int extent_add(struct tar_reader *reader, uint64_t offset, uint64_t bytes, struct fail *fail)
{
    struct tar_extents *extents = &reader->extents;
    const struct tar_extent *last = extents->count ? extents->list + extents->count - 1 : NULL;

    if (offset > reader->entry.bytes || bytes > reader->entry.bytes - offset ||
        (last && offset < last->offset + last->bytes))
        return broken(reader, fail);
    if (extents->count == TAR_EXTENTS_MAX)
        return fail_set(fail, E2BIG, "the tar stream has too many holes in", reader->entry.path,
                        NULL);
    if (extents->count == extents->room) {
        uint32_t room = extents->room ? 2 * extents->room : 64;
        struct tar_extent *list = realloc(extents->list, room * sizeof(*list));

        if (!list)
            return fail_set(fail, ENOMEM, "no memory for the holes of", reader->entry.path, NULL);
        extents->list = list;
        extents->room = room;
    }
    extents->list[extents->count++] = (struct tar_extent){ offset, bytes };
    return 0;
}

/* The list is whole: it must be one of the data that follows. */
static int list_check(const struct tar_reader *reader, struct fail *fail)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < reader->extents.count; i++)
        bytes += reader->extents.list[i].bytes; /* ascending within 63 bits: no overflow */
    return bytes == reader->remaining ? 0 : broken(reader, fail);
}

/* ---- Type S ---- */

static int old_entries(struct tar_reader *reader, size_t at, uint32_t count, struct fail *fail)
{
    uint64_t offset, bytes;
    int status = 0;

    for (uint32_t i = 0; i < count && status == 0; i++, at += 2 * OLD_FIELD_BYTES) {
        const char *field = (const char *)reader->block + at;

        if (!field[0]) /* the list is at its end */
            return 0;
        if (!tar_number_get(field, OLD_FIELD_BYTES, &offset) ||
            !tar_number_get(field + OLD_FIELD_BYTES, OLD_FIELD_BYTES, &bytes))
            return broken(reader, fail);
        status = extent_add(reader, offset, bytes, fail);
    }
    return status;
}

static int old_begin(struct tar_reader *reader, struct fail *fail)
{
    const char *bytes = (const char *)reader->block + OLD_BYTES_AT;
    int status;

    if (!tar_number_get(bytes, OLD_FIELD_BYTES, &reader->entry.bytes) ||
        reader->entry.bytes > INT64_MAX)
        return broken(reader, fail);
    status = old_entries(reader, OLD_AT, OLD_COUNT, fail);
    if (status < 0)
        return status;
    reader->state = reader->block[OLD_MORE_AT] ? TAR_READER_MORE_HOLES : TAR_READER_DATA;
    return reader->state == TAR_READER_DATA ? list_check(reader, fail) : 0;
}

static int old_block(struct tar_reader *reader, bool *ret_whole, struct fail *fail)
{
    int status = old_entries(reader, 0, OLD_BLOCK_COUNT, fail);

    *ret_whole = status == 0 && !reader->block[OLD_BLOCK_MORE_AT];
    return *ret_whole ? list_check(reader, fail) : status;
}

/* ---- Format 1.0 ---- */

/* A number of the list is whole: their count, or every second one a length. */
static int number_take(struct tar_reader *reader, struct fail *fail)
{
    struct tar_extents *extents = &reader->extents;
    uint64_t number = extents->number;

    extents->number = 0;
    extents->digits = 0;
    if (!extents->counted) {
        extents->counted = true;
        extents->numbers_left = 2 * number;
        return number <= TAR_EXTENTS_MAX
                   ? 0
                   : fail_set(fail, E2BIG, "the tar stream has too many holes in",
                              reader->entry.path, NULL);
    }
    if (extents->numbers_left-- % 2 == 0) {
        extents->done = number; /* its offset, until its length is there */
        return 0;
    }
    return extent_add(reader, extents->done, number, fail);
}

static int list_block(struct tar_reader *reader, bool *ret_whole, struct fail *fail)
{
    struct tar_extents *extents = &reader->extents;
    int status = 0;

    reader->remaining -= TAR_BLOCK_BYTES;
    for (size_t i = 0; i < TAR_BLOCK_BYTES && status == 0; i++) {
        uint8_t byte = reader->block[i];

        if (extents->counted && extents->numbers_left == 0)
            break;
        if (byte >= '0' && byte <= '9' && extents->digits < 19) {
            extents->number = extents->number * 10 + (uint64_t)(byte - '0');
            extents->digits++;
        } else if (byte == '\n' && extents->digits > 0) {
            status = number_take(reader, fail);
        } else {
            return broken(reader, fail);
        }
    }
    if (status < 0)
        return status;
    *ret_whole = extents->counted && extents->numbers_left == 0;
    extents->done = *ret_whole ? 0 : extents->done;
    if (*ret_whole)
        return list_check(reader, fail);
    return reader->remaining >= TAR_BLOCK_BYTES ? 0 : broken(reader, fail);
}

/* ---- Both ---- */

int tar_holes_begin(struct tar_reader *reader, uint64_t bytes, struct fail *fail)
{
    struct tar_extent *list = reader->extents.list;

    reader->extents = (struct tar_extents){ .list = list, .room = reader->extents.room };
    reader->remaining = bytes;
    if (reader->header.type == 'S')
        return old_begin(reader, fail);
    reader->state = TAR_READER_HOLES;
    return bytes >= TAR_BLOCK_BYTES ? 0 : broken(reader, fail);
}

int tar_holes_take(struct tar_reader *reader, bool *ret_whole, struct fail *fail)
{
    *ret_whole = false;
    return reader->state == TAR_READER_HOLES ? list_block(reader, ret_whole, fail)
                                             : old_block(reader, ret_whole, fail);
}

int tar_holes_data(struct tar_reader *reader, const uint8_t *data, size_t bytes, struct fail *fail)
{
    struct tar_extents *extents = &reader->extents;
    int status = 0;

    while (bytes > 0 && status == 0) {
        const struct tar_extent *extent = &extents->list[extents->at];
        size_t take = MIN_OF(bytes, extent->bytes - extents->done);

        if (take == 0) { /* there is a next one: together they are as long as the data */
            extents->at++;
            extents->done = 0;
            continue;
        }
        status = reader->sink.data(reader->sink.context, extent->offset + extents->done, data, take,
                                   fail);
        extents->done += take;
        data += take;
        bytes -= take;
    }
    return status;
}
