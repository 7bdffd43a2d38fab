/* SPDX-License-Identifier: Apache-2.0 */
/* The tar stream reader: a push parser that never looks ahead and never keeps file data.
 *
 * How it works
 *   Bytes come in any portions. A header block is collected, checked and either begins a member
 *   (begin, data..., end go to the sink) or announces something of the next one (GNU L and K, pax
 *   x), whose data is collected in `extended`. A file with holes has their list before its data. Nothing in the stream is trusted: sizes are bounded
 * where they are stored, and names are only text here; the sink decides where they may lead.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tar_read_internal.h"

void tar_reader_init(struct tar_reader *reader, const struct tar_sink *sink)
{
    memset(reader, 0, offsetof(struct tar_reader, entry));
    reader->sink = *sink;
    reader->entry.path[0] = '\0';
    reader->entry.link[0] = '\0';
    reader->entry.xattr_count = 0;
}

/* The data of an L, K or x header is all there. */
static int extended_finish(struct tar_reader *reader, struct fail *fail)
{
    size_t length;

    reader->extended[reader->extended_bytes] = '\0';
    length = strlen(reader->extended);
    switch (reader->extended_type) {
    case 'L':
        reader->said.path = true;
        return tar_name_copy(reader->entry.path, reader->extended, length, fail);
    case 'K':
        reader->said.link = true;
        return tar_name_copy(reader->entry.link, reader->extended, length, fail);
    default:
        return tar_pax_parse(reader, fail);
    }
}

static void header_names(struct tar_reader *reader)
{
    const struct tar_header *header = &reader->header;
    struct text text;

    if (!reader->said.path) {
        text_init(&text, reader->entry.path, TAR_PATH_BYTES);
        /* GNU's own format ("ustar  ") uses these bytes for other things. */
        if (!memcmp(header->magic, "ustar\0", 6) && header->prefix[0]) {
            text_add_bytes(&text, header->prefix, strnlen(header->prefix, sizeof(header->prefix)));
            text_add(&text, "/");
        }
        text_add_bytes(&text, header->name, strnlen(header->name, sizeof(header->name)));
    }
    if (!reader->said.link) {
        text_init(&text, reader->entry.link, TAR_PATH_BYTES);
        text_add_bytes(&text, header->link, strnlen(header->link, sizeof(header->link)));
    }
}

/* Fills reader->entry from the header block and what came before it. */
static int header_decode(struct tar_reader *reader, struct fail *fail)
{
    const struct tar_header *header = &reader->header;
    struct tar_entry *entry = &reader->entry;
    uint64_t sum, mode, bytes, mtime = 0, uid = 0, gid = 0;

    if (!tar_number_get(header->checksum, sizeof(header->checksum), &sum) ||
        sum != tar_header_sum(header))
        return fail_set(fail, EINVAL, "this is no tar stream: a header's checksum is wrong", NULL,
                        NULL);
    header_names(reader);
    if (!tar_number_get(header->mode, sizeof(header->mode), &mode) ||
        !tar_number_get(header->size, sizeof(header->size), &bytes) || bytes > INT64_MAX)
        return fail_set(fail, EINVAL, "the tar stream has a broken header for", entry->path, NULL);
    /* A time before 1970 or an owner is not worth refusing a file for. */
    if (!tar_number_get(header->mtime, sizeof(header->mtime), &mtime) || mtime > INT64_MAX)
        mtime = 0;
    (void)tar_number_get(header->uid, sizeof(header->uid), &uid);
    (void)tar_number_get(header->gid, sizeof(header->gid), &gid);
    entry->type = header->type == '\0' || header->type == '7' ? TAR_TYPE_FILE : header->type;
    entry->mode = (uint32_t)mode & 07777;
    entry->uid = (uint32_t)uid;
    entry->gid = (uint32_t)gid;
    entry->bytes = bytes;
    entry->mtime_s = (int64_t)mtime;
    entry->mtime_ns = 0;
    return 0;
}

static void expect_data(struct tar_reader *reader, enum tar_reader_state state, uint64_t bytes)
{
    reader->state = state;
    reader->remaining = bytes;
    reader->padding = (uint32_t)(-bytes & (TAR_BLOCK_BYTES - 1));
}

/* What pax headers said has the last word. */
static void said_apply(struct tar_reader *reader)
{
    const struct tar_said *said = &reader->said;
    struct tar_entry *entry = &reader->entry;

    if (said->size)
        entry->bytes = said->size_value;
    if (said->mtime) {
        entry->mtime_s = said->mtime_s;
        entry->mtime_ns = said->mtime_ns;
    }
    if (said->uid)
        entry->uid = (uint32_t)said->uid_value;
    if (said->gid)
        entry->gid = (uint32_t)said->gid_value;
}

/* Tars from before ustar tell a directory by its final slash only. */
static void path_trim(struct tar_entry *entry)
{
    size_t length = strlen(entry->path);

    if (entry->type == TAR_TYPE_FILE && length && entry->path[length - 1] == '/')
        entry->type = TAR_TYPE_DIRECTORY;
    while (length > 1 && entry->path[length - 1] == '/')
        entry->path[--length] = '\0';
    while (entry->path[0] == '.' && entry->path[1] == '/') {
        size_t strip = 1 + strspn(entry->path + 1, "/");

        memmove(entry->path, entry->path + strip, length + 1 - strip);
        length -= strip;
    }
}

static int member_announce(struct tar_reader *reader, struct fail *fail)
{
    return reader->sink.begin(reader->sink.context, &reader->entry, fail);
}

static int member_begin(struct tar_reader *reader, struct fail *fail)
{
    struct tar_entry *entry = &reader->entry;
    int status;

    said_apply(reader);
    reader->has_holes = entry->type == 'S' || (entry->type == TAR_TYPE_FILE &&
                                               reader->said.sparse && reader->said.sparse_major);
    if (entry->type == 'S')
        entry->type = TAR_TYPE_FILE;
    path_trim(entry);
    if (entry->type != TAR_TYPE_FILE)
        entry->bytes = 0;
    expect_data(reader, TAR_READER_DATA, entry->bytes);
    if (!reader->has_holes || entry->type != TAR_TYPE_FILE)
        return member_announce(reader, fail);
    if (reader->said.sparse)
        entry->bytes = reader->said.sparse_bytes;
    status = tar_holes_begin(reader, reader->remaining, fail);
    return status == 0 && reader->state == TAR_READER_DATA ? member_announce(reader, fail) : status;
}

/* A block of the list of holes is complete. */
static int holes_take(struct tar_reader *reader, struct fail *fail)
{
    bool whole;
    int status;

    reader->block_fill = 0;
    status = tar_holes_take(reader, &whole, fail);
    if (status < 0 || !whole)
        return status;
    reader->state = TAR_READER_DATA;
    return member_announce(reader, fail);
}

static bool is_zero(const uint8_t *block)
{
    for (size_t i = 0; i < TAR_BLOCK_BYTES; i++)
        if (block[i])
            return false;
    return true;
}

/* A header block is complete. */
static int header_take(struct tar_reader *reader, struct fail *fail)
{
    int status;

    reader->block_fill = 0;
    if (is_zero(reader->block)) {
        if (++reader->zero_blocks == 2)
            reader->state = TAR_READER_END;
        return 0;
    }
    reader->zero_blocks = 0;
    status = header_decode(reader, fail);
    if (status < 0)
        return status;
    switch (reader->entry.type) {
    case 'L':
    case 'K':
    case 'x':
        if (reader->entry.bytes > TAR_EXTENDED_MAX)
            return fail_set(fail, ENAMETOOLONG, "the tar stream has an oversized extended header",
                            NULL, NULL);
        reader->extended_type = reader->entry.type;
        reader->extended_bytes = 0;
        reader->entry.xattr_count = 0; /* they were in this buffer */
        expect_data(reader, TAR_READER_EXTENDED, reader->entry.bytes);
        return 0;
    case 'g':
        expect_data(reader, TAR_READER_SKIP, reader->entry.bytes);
        return 0;
    default:
        return member_begin(reader, fail);
    }
}

static int member_end(struct tar_reader *reader, struct fail *fail)
{
    int status = reader->sink.end(reader->sink.context, &reader->entry, fail);

    reader->said = (struct tar_said){ 0 };
    reader->entry.xattr_count = 0;
    return status;
}

/* The data of this state is complete. */
static int data_finish(struct tar_reader *reader, struct fail *fail)
{
    enum tar_reader_state state = reader->state;

    reader->state = TAR_READER_PADDING;
    reader->remaining = reader->padding;
    if (state == TAR_READER_EXTENDED)
        return extended_finish(reader, fail);
    if (state == TAR_READER_DATA)
        return member_end(reader, fail);
    if (state == TAR_READER_PADDING)
        reader->state = TAR_READER_HEADER;
    return 0;
}

static int data_take(struct tar_reader *reader, const uint8_t *data, size_t bytes,
                     struct fail *fail)
{
    uint64_t offset = reader->entry.bytes - reader->remaining; /* of a file without holes */

    reader->remaining -= bytes;
    if (reader->state == TAR_READER_DATA)
        return reader->has_holes
                   ? tar_holes_data(reader, data, bytes, fail)
                   : reader->sink.data(reader->sink.context, offset, data, bytes, fail);
    if (reader->state == TAR_READER_EXTENDED) {
        memcpy(reader->extended + reader->extended_bytes, data, bytes);
        reader->extended_bytes += (uint32_t)bytes;
    }
    return 0;
}

/* The state goes on when a block is full. */
static bool collects_block(const struct tar_reader *reader)
{
    return reader->state == TAR_READER_HEADER || reader->state == TAR_READER_HOLES ||
           reader->state == TAR_READER_MORE_HOLES;
}

static int block_take(struct tar_reader *reader, const uint8_t *data, size_t bytes,
                      struct fail *fail)
{
    memcpy(reader->block + reader->block_fill, data, bytes);
    reader->block_fill += (uint32_t)bytes;
    if (reader->block_fill < TAR_BLOCK_BYTES)
        return 0;
    return reader->state == TAR_READER_HEADER ? header_take(reader, fail)
                                              : holes_take(reader, fail);
}

int tar_reader_feed(struct tar_reader *reader, const uint8_t *data, size_t bytes, struct fail *fail)
{
    while (bytes > 0 ||
           (!collects_block(reader) && reader->state != TAR_READER_END && reader->remaining == 0)) {
        size_t take;
        int status;

        if (reader->state == TAR_READER_END)
            return 0;
        if (collects_block(reader)) {
            take = MIN_OF(bytes, TAR_BLOCK_BYTES - reader->block_fill);
            status = block_take(reader, data, take, fail);
        } else if (reader->remaining == 0) {
            take = 0;
            status = data_finish(reader, fail);
        } else {
            take = MIN_OF(bytes, reader->remaining);
            status = data_take(reader, data, take, fail);
        }
        if (status < 0)
            return status;
        data += take;
        bytes -= take;
    }
    return 0;
}

int tar_reader_finish(struct tar_reader *reader, struct fail *fail)
{
    if (reader->state == TAR_READER_END ||
        (reader->state == TAR_READER_HEADER && reader->block_fill == 0))
        return 0;
    if (!reader->entry.path[0])
        return fail_set(fail, EINVAL, "that is no tar stream: it ends in its first block", NULL,
                        NULL);
    return fail_set(fail, EINVAL, "the tar stream ends in the middle of", reader->entry.path, NULL);
}

void tar_reader_fini(struct tar_reader *reader)
{
    free(reader->extents.list);
    reader->extents.list = NULL;
}
