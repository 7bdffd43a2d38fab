/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the making of state files; see sections.h. */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "snapshot/sections.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "structs are written as they are");

bool state_name_valid(const char *name)
{
    size_t len = strnlen(name, STATE_TAG_BYTES);

    return len > 0 && len < STATE_TAG_BYTES &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == len;
}

void state_builder_init(struct state_builder *b)
{
    *b = (struct state_builder){ 0 };
}

/* Both arrays grow by doubling; a builder lives for one snapshot. */
static int reserve(struct state_builder *b, size_t payload_bytes)
{
    if ((b->entry_count & (b->entry_count - 1)) == 0) {
        size_t room = b->entry_count ? 2 * (size_t)b->entry_count : 1;
        void *grown = realloc(b->entry, room * sizeof *b->entry);

        if (!grown)
            return -ENOMEM;
        b->entry = grown;
    }
    if (b->payload_bytes + payload_bytes > b->payload_room) {
        size_t room = MAX_OF(2 * b->payload_room, b->payload_bytes + payload_bytes);
        void *grown = realloc(b->payload, room);

        if (!grown)
            return -ENOMEM;
        b->payload = grown;
        b->payload_room = room;
    }
    return 0;
}

static int builder_check(const struct state_builder *b, const char *name, size_t len)
{
    if (b->error)
        return b->error;
    if (!state_name_valid(name))
        return -EINVAL;
    if (b->entry_count == STATE_SECTIONS_MAX || len > STATE_FILE_BYTES_MAX / 2 - b->payload_bytes)
        return -E2BIG;
    for (uint32_t i = 0; i < b->entry_count; i++) {
        if (strcmp(b->entry[i].tag, name) == 0)
            return -EEXIST;
    }
    return 0;
}

int state_builder_add(struct state_builder *b, const char *name, uint32_t version, uint32_t flags,
                      const void *bytes, size_t len)
{
    size_t padded = align_up(len, STATE_ALIGN);

    b->error = builder_check(b, name, len);
    if (b->error == 0)
        b->error = reserve(b, padded);
    if (b->error)
        return b->error;
    struct state_entry *entry = &b->entry[b->entry_count++];
    *entry = (struct state_entry){ .version = version,
                                   .flags = flags,
                                   .offset = b->payload_bytes, /* rebased by finish */
                                   .bytes = len,
                                   .checksum = checksum_of(bytes, len) };
    memcpy(entry->tag, name, strlen(name));
    if (len) {
        memcpy(b->payload + b->payload_bytes, bytes, len);
        memset(b->payload + b->payload_bytes + len, 0, padded - len);
    }
    b->payload_bytes += padded;
    return 0;
}

int state_builder_finish(struct state_builder *b, uint8_t **ret_bytes, size_t *ret_len,
                         struct err *err)
{
    size_t table_bytes = b->entry_count * sizeof *b->entry;
    size_t payloads_at = sizeof(struct state_header) + table_bytes;
    size_t len = payloads_at + b->payload_bytes;

    if (b->error)
        return err_set_errno(err, -b->error, "putting the state file together");
    uint8_t *bytes = malloc(len);
    if (!bytes)
        return err_set_errno(err, ENOMEM, "putting the state file together");
    struct state_header header = { .magic = STATE_MAGIC,
                                   .format_version = STATE_FORMAT_VERSION,
                                   .section_count = b->entry_count,
                                   .total_bytes = len };
    for (uint32_t i = 0; i < b->entry_count; i++) {
        struct state_entry entry = b->entry[i];

        entry.offset += payloads_at;
        memcpy(bytes + sizeof header + i * sizeof entry, &entry, sizeof entry);
    }
    memcpy(bytes, &header,
           sizeof header); /* its own checksum still zero: that is how it is taken */
    header.checksum = checksum_of(bytes, payloads_at);
    memcpy(bytes, &header, sizeof header);
    if (b->payload_bytes)
        memcpy(bytes + payloads_at, b->payload, b->payload_bytes);
    *ret_bytes = bytes;
    *ret_len = len;
    return 0;
}

int state_builder_write(struct state_builder *b, int fd, uint64_t *ret_len, struct err *err)
{
    _cleanup_free_ uint8_t *bytes = NULL;
    size_t len;
    int rc = state_builder_finish(b, &bytes, &len, err);

    if (rc < 0)
        return rc;
    rc = pwrite_all(fd, bytes, len, 0);
    if (rc < 0)
        return err_set_errno(err, -rc, "writing the state file");
    *ret_len = len;
    return 0;
}

void state_builder_fini(struct state_builder *b)
{
    free(b->entry);
    free(b->payload);
    *b = (struct state_builder){ 0 };
}
