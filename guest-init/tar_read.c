/* SPDX-License-Identifier: Apache-2.0 */
/* The tar stream reader: a push parser that never looks ahead and never keeps file data.
 *
 * How it works
 *   Bytes come in any portions. A header block is collected, checked and either begins a member
 *   (begin, data..., end go to the sink) or announces a name for the next one (GNU L and K, pax x),
 *   whose data is collected in `extended`. Nothing in the stream is trusted: sizes are bounded
 * where they are stored, and names are only text here; the sink decides where they may lead.
 */
#include "tar.h"

#include <errno.h>
#include <string.h>

void tar_reader_init(struct tar_reader *reader, const struct tar_sink *sink)
{
    memset(reader, 0, offsetof(struct tar_reader, entry));
    reader->sink = *sink;
    reader->entry.path[0] = '\0';
    reader->entry.link[0] = '\0';
}

static int copy_name(char target[TAR_PATH_BYTES], const char *name, size_t bytes, struct fail *fail)
{
    if (bytes >= TAR_PATH_BYTES || memchr(name, '\0', bytes))
        return fail_set(fail, ENAMETOOLONG, "the tar stream has a name that is too long or broken",
                        NULL, NULL);
    memcpy(target, name, bytes);
    target[bytes] = '\0';
    return 0;
}

/* "mtime=1700000000.25": whole seconds are enough here. */
static bool pax_number(const char *value, size_t bytes, uint64_t *ret_value)
{
    uint64_t number = 0;
    size_t i;

    for (i = 0; i < bytes && value[i] >= '0' && value[i] <= '9'; i++) {
        if (number > UINT64_MAX / 16)
            return false;
        number = number * 10 + (uint64_t)(value[i] - '0');
    }
    *ret_value = number;
    return i > 0 && (i == bytes || value[i] == '.');
}

static int pax_record(struct tar_reader *reader, const char *key, size_t key_bytes,
                      const char *value, size_t value_bytes, struct fail *fail)
{
    uint64_t number = 0;

    if (key_bytes == 4 && !memcmp(key, "path", 4)) {
        reader->long_path = true;
        return copy_name(reader->entry.path, value, value_bytes, fail);
    }
    if (key_bytes == 8 && !memcmp(key, "linkpath", 8)) {
        reader->long_link = true;
        return copy_name(reader->entry.link, value, value_bytes, fail);
    }
    if (key_bytes == 4 && !memcmp(key, "size", 4)) {
        if (!pax_number(value, value_bytes, &number) || number > INT64_MAX)
            return fail_set(fail, EINVAL, "the tar stream has a pax size that is no size", NULL,
                            NULL);
        reader->pax_size = true;
        reader->pax_size_value = number;
    } else if (key_bytes == 5 && !memcmp(key, "mtime", 5) &&
               pax_number(value, value_bytes, &number) && number <= INT64_MAX) {
        reader->pax_mtime = true;
        reader->pax_mtime_value = (int64_t)number;
    }
    return 0;
}

/* A pax header is a row of records "LENGTH KEY=VALUE\n", LENGTH counting the whole record. */
static int pax_parse(struct tar_reader *reader, struct fail *fail)
{
    const char *at = reader->extended;
    size_t left = reader->extended_bytes;

    while (left > 0 && *at != '\0') {
        size_t length = 0, digits = 0;
        const char *key, *equals;
        int status;

        for (; digits < left && digits < 6 && at[digits] >= '0' && at[digits] <= '9'; digits++)
            length = length * 10 + (size_t)(at[digits] - '0');
        if (!digits || length > left || length < digits + 3 || at[digits] != ' ' ||
            at[length - 1] != '\n')
            return fail_set(fail, EINVAL, "the tar stream has a broken pax header", NULL, NULL);
        key = at + digits + 1;
        equals = memchr(key, '=', length - digits - 2);
        if (!equals)
            return fail_set(fail, EINVAL, "the tar stream has a pax record without '='", NULL,
                            NULL);
        status = pax_record(reader, key, (size_t)(equals - key), equals + 1,
                            (size_t)(at + length - 1 - (equals + 1)), fail);
        if (status < 0)
            return status;
        at += length;
        left -= length;
    }
    return 0;
}

/* The data of an L, K or x header is all there. */
static int extended_finish(struct tar_reader *reader, struct fail *fail)
{
    size_t length;

    reader->extended[reader->extended_bytes] = '\0';
    length = strlen(reader->extended);
    switch (reader->extended_type) {
    case 'L':
        reader->long_path = true;
        return copy_name(reader->entry.path, reader->extended, length, fail);
    case 'K':
        reader->long_link = true;
        return copy_name(reader->entry.link, reader->extended, length, fail);
    default:
        return pax_parse(reader, fail);
    }
}

static void header_names(struct tar_reader *reader)
{
    const struct tar_header *header = &reader->header;
    struct text text;

    if (!reader->long_path) {
        text_init(&text, reader->entry.path, TAR_PATH_BYTES);
        /* GNU's own format ("ustar  ") uses these bytes for other things. */
        if (!memcmp(header->magic, "ustar\0", 6) && header->prefix[0]) {
            text_add_bytes(&text, header->prefix, strnlen(header->prefix, sizeof(header->prefix)));
            text_add(&text, "/");
        }
        text_add_bytes(&text, header->name, strnlen(header->name, sizeof(header->name)));
    }
    if (!reader->long_link) {
        text_init(&text, reader->entry.link, TAR_PATH_BYTES);
        text_add_bytes(&text, header->link, strnlen(header->link, sizeof(header->link)));
    }
}

/* Fills reader->entry from the header block and what came before it. */
static int header_decode(struct tar_reader *reader, struct fail *fail)
{
    const struct tar_header *header = &reader->header;
    uint64_t sum, mode, bytes, mtime = 0;

    if (!tar_number_get(header->checksum, sizeof(header->checksum), &sum) ||
        sum != tar_header_sum(header))
        return fail_set(fail, EINVAL, "this is no tar stream: a header's checksum is wrong", NULL,
                        NULL);
    header_names(reader);
    if (!tar_number_get(header->mode, sizeof(header->mode), &mode) ||
        !tar_number_get(header->size, sizeof(header->size), &bytes) || bytes > INT64_MAX)
        return fail_set(fail, EINVAL, "the tar stream has a broken header for", reader->entry.path,
                        NULL);
    /* A time before 1970 is not worth refusing a file for. */
    if (!tar_number_get(header->mtime, sizeof(header->mtime), &mtime) || mtime > INT64_MAX)
        mtime = 0;
    reader->entry.type = header->type == '\0' || header->type == '7' ? TAR_TYPE_FILE : header->type;
    reader->entry.mode = (uint32_t)mode & 07777;
    reader->entry.bytes = bytes;
    reader->entry.mtime_s = (int64_t)mtime;
    return 0;
}

static void expect_data(struct tar_reader *reader, enum tar_reader_state state, uint64_t bytes)
{
    reader->state = state;
    reader->remaining = bytes;
    reader->padding = (uint32_t)(-bytes & (TAR_BLOCK_BYTES - 1));
}

static int member_begin(struct tar_reader *reader, struct fail *fail)
{
    struct tar_entry *entry = &reader->entry;
    size_t length = strlen(entry->path);

    if (reader->pax_size)
        entry->bytes = reader->pax_size_value;
    if (reader->pax_mtime)
        entry->mtime_s = reader->pax_mtime_value;
    reader->long_path = reader->long_link = reader->pax_size = reader->pax_mtime = false;
    /* Tars from before ustar tell a directory by its final slash only. */
    if (entry->type == TAR_TYPE_FILE && length && entry->path[length - 1] == '/')
        entry->type = TAR_TYPE_DIRECTORY;
    while (length > 1 && entry->path[length - 1] == '/')
        entry->path[--length] = '\0';
    while (entry->path[0] == '.' && entry->path[1] == '/') {
        size_t strip = 1 + strspn(entry->path + 1, "/");

        memmove(entry->path, entry->path + strip, length + 1 - strip);
        length -= strip;
    }
    if (entry->type != TAR_TYPE_FILE)
        entry->bytes = 0;
    expect_data(reader, TAR_READER_DATA, entry->bytes);
    return reader->sink.begin(reader->sink.context, entry, fail);
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
        expect_data(reader, TAR_READER_EXTENDED, reader->entry.bytes);
        return 0;
    case 'g':
        expect_data(reader, TAR_READER_SKIP, reader->entry.bytes);
        return 0;
    default:
        return member_begin(reader, fail);
    }
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
        return reader->sink.end(reader->sink.context, &reader->entry, fail);
    if (state == TAR_READER_PADDING)
        reader->state = TAR_READER_HEADER;
    return 0;
}

static int data_take(struct tar_reader *reader, const uint8_t *data, size_t bytes,
                     struct fail *fail)
{
    reader->remaining -= bytes;
    if (reader->state == TAR_READER_DATA)
        return reader->sink.data(reader->sink.context, data, bytes, fail);
    if (reader->state == TAR_READER_EXTENDED) {
        memcpy(reader->extended + reader->extended_bytes, data, bytes);
        reader->extended_bytes += (uint32_t)bytes;
    }
    return 0;
}

int tar_reader_feed(struct tar_reader *reader, const uint8_t *data, size_t bytes, struct fail *fail)
{
    while (bytes > 0 || (reader->state != TAR_READER_HEADER && reader->state != TAR_READER_END &&
                         reader->remaining == 0)) {
        size_t take;
        int status = 0;

        if (reader->state == TAR_READER_END)
            return 0;
        if (reader->state == TAR_READER_HEADER) {
            take = MIN_OF(bytes, TAR_BLOCK_BYTES - reader->block_fill);
            memcpy(reader->block + reader->block_fill, data, take);
            reader->block_fill += (uint32_t)take;
            if (reader->block_fill == TAR_BLOCK_BYTES)
                status = header_take(reader, fail);
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
    return fail_set(fail, EINVAL, "the tar stream ends in the middle of", reader->entry.path, NULL);
}
