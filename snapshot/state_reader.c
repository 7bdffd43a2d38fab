/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the checking and reading of state files, which may come damaged or forged; see sections.h.
 *
 * Invariant: until state_reader_open has returned 0, no payload has been looked at but to hash it,
 * and no offset or length was used before it was checked against the file's real length.
 */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "snapshot/sections.h"

static struct state_header header_of(const uint8_t *bytes)
{
    struct state_header header;

    memcpy(&header, bytes, sizeof header);
    return header;
}

static struct state_entry entry_of(const uint8_t *bytes, uint32_t i)
{
    struct state_entry entry;

    memcpy(&entry, bytes + sizeof(struct state_header) + i * sizeof entry, sizeof entry);
    return entry;
}

/* Checksum of header and table, whose bounds are known to be good. */
static struct checksum table_checksum(uint8_t *bytes, uint32_t section_count)
{
    struct state_header header = header_of(bytes);
    struct state_header blank = header;

    memset(&blank.checksum, 0, sizeof blank.checksum);
    memcpy(bytes, &blank, sizeof blank);
    struct checksum sum =
        checksum_of(bytes, sizeof blank + section_count * sizeof(struct state_entry));
    memcpy(bytes, &header, sizeof header);
    return sum;
}

static int check_header(uint8_t *bytes, size_t len, struct err *err)
{
    char found[CHECKSUM_HEX_BYTES], expected[CHECKSUM_HEX_BYTES];

    if (len < sizeof(struct state_header))
        return err_set(err, EINVAL, "state: %zu bytes, shorter than its header of %zu", len,
                       sizeof(struct state_header));
    struct state_header header = header_of(bytes);
    if (memcmp(header.magic, STATE_MAGIC, sizeof header.magic) != 0)
        return err_set(err, EINVAL, "state: not a state file: it does not begin with " STATE_MAGIC);
    if (header.format_version > STATE_FORMAT_VERSION)
        return err_set(err, ENOTSUP, "state: format version %u, this program knows up to %u",
                       header.format_version, STATE_FORMAT_VERSION);
    if (header.format_version == 0)
        return err_set(err, EINVAL, "state: format version 0, expected 1 to %u",
                       STATE_FORMAT_VERSION);
    if (header.total_bytes != len)
        return err_set(err, EINVAL, "state: %zu bytes long, its header says %llu: cut or grown",
                       len, (unsigned long long)header.total_bytes);
    if (header.section_count > STATE_SECTIONS_MAX ||
        header.section_count > (len - sizeof header) / sizeof(struct state_entry))
        return err_set(err, EINVAL,
                       "state: %u sections do not fit (%zu bytes, at most %u sections)",
                       header.section_count, len, STATE_SECTIONS_MAX);
    struct checksum sum = table_checksum(bytes, header.section_count);
    if (!checksum_equal(&sum, &header.checksum))
        return err_set(err, EINVAL, "state: table of sections: checksum is %s, expected %s",
                       checksum_to_hex(&sum, found), checksum_to_hex(&header.checksum, expected));
    return 0;
}

static bool tag_valid(const char tag[STATE_TAG_BYTES])
{
    size_t used = strnlen(tag, STATE_TAG_BYTES);

    if (used == STATE_TAG_BYTES || !state_name_valid(tag))
        return false;
    for (size_t i = used; i < STATE_TAG_BYTES; i++) {
        if (tag[i])
            return false;
    }
    return true;
}

static bool all_zero(const uint8_t *bytes, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++) {
        if (bytes[i])
            return false;
    }
    return true;
}

/* Checks entry i, whose payload must start at `at`; *ret_end is where the next one starts. */
static int check_entry(struct state_reader *r, const uint8_t *bytes, size_t len, uint32_t i,
                       uint64_t at, uint64_t *ret_end, struct err *err)
{
    struct state_entry entry = entry_of(bytes, i);
    char found[CHECKSUM_HEX_BYTES], expected[CHECKSUM_HEX_BYTES];

    if (!tag_valid(entry.tag))
        return err_set(err, EINVAL, "state: section number %u: its name is not valid", i);
    memcpy(r->fault_section, entry.tag, sizeof entry.tag);
    for (uint32_t j = 0; j < i; j++) {
        if (strcmp(entry_of(bytes, j).tag, entry.tag) == 0)
            return err_set(err, EINVAL, "state: section '%s' is there twice", entry.tag);
    }
    if (entry.flags & ~STATE_FLAG_OPTIONAL)
        return err_set(err, EINVAL, "state: section '%s': unknown flags 0x%x", entry.tag,
                       entry.flags);
    if (entry.offset != at || at > len || entry.bytes > len - at ||
        align_up(entry.bytes, STATE_ALIGN) > len - at)
        return err_set(err, EINVAL,
                       "state: section '%s': %llu bytes at %llu, expected at %llu and to end "
                       "within %zu",
                       entry.tag, (unsigned long long)entry.bytes, (unsigned long long)entry.offset,
                       (unsigned long long)at, len);
    *ret_end = at + align_up(entry.bytes, STATE_ALIGN);
    struct checksum sum = checksum_of(bytes + at, entry.bytes);
    if (!checksum_equal(&sum, &entry.checksum))
        return err_set(err, EINVAL, "state: section '%s': checksum is %s, expected %s", entry.tag,
                       checksum_to_hex(&sum, found), checksum_to_hex(&entry.checksum, expected));
    if (!all_zero(bytes + at + entry.bytes, *ret_end - at - entry.bytes))
        return err_set(err, EINVAL, "state: section '%s': the padding behind it is not zero",
                       entry.tag);
    return 0;
}

int state_reader_open(struct state_reader *r, uint8_t *bytes, size_t len, struct err *err)
{
    *r = (struct state_reader){ 0 };
    int rc = check_header(bytes, len, err);
    if (rc < 0)
        return rc;
    uint32_t count = header_of(bytes).section_count;
    uint64_t at = sizeof(struct state_header) + count * sizeof(struct state_entry);
    for (uint32_t i = 0; i < count; i++) {
        rc = check_entry(r, bytes, len, i, at, &at, err);
        if (rc < 0)
            return rc;
    }
    r->fault_section[0] = '\0';
    if (at != len)
        return err_set(err, EINVAL,
                       "state: %zu bytes long, expected the last section to end it at "
                       "%llu",
                       len, (unsigned long long)at);
    r->bytes = bytes;
    r->len = len;
    r->section_count = count;
    return 0;
}

/* The name points into the file, where it is NUL-terminated: check_entry saw to that. */
struct state_section state_reader_at(const struct state_reader *r, uint32_t i)
{
    struct state_entry entry = entry_of(r->bytes, i);

    return (struct state_section){
        .name = (const char *)r->bytes + sizeof(struct state_header) + i * sizeof entry,
        .bytes = r->bytes + entry.offset,
        .len = entry.bytes,
        .version = entry.version,
        .flags = entry.flags,
    };
}

int state_reader_find(struct state_reader *r, const char *name, struct state_section *ret_section,
                      struct err *err)
{
    for (uint32_t i = 0; i < r->section_count; i++) {
        struct state_section section = state_reader_at(r, i);

        if (strcmp(section.name, name) == 0) {
            r->used[i] = true;
            *ret_section = section;
            return 0;
        }
    }
    return err_set(err, ENOENT, "state: section '%s' is missing", name);
}

int state_reader_check_used(const struct state_reader *r, struct err *err)
{
    for (uint32_t i = 0; i < r->section_count; i++) {
        struct state_section section = state_reader_at(r, i);

        if (!r->used[i] && !(section.flags & STATE_FLAG_OPTIONAL))
            return err_set(err, ENOTSUP,
                           "state: section '%s' belongs to nothing in this machine: the snapshot "
                           "was made with a device that this program does not have",
                           section.name);
    }
    return 0;
}

void state_reader_fini(struct state_reader *r)
{
    free(r->bytes);
    *r = (struct state_reader){ 0 };
}
