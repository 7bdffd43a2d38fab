/* SPDX-License-Identifier: Apache-2.0 */
/* The state file: a header, a table and tagged, versioned sections, each with its checksum
 * (docs/snapshot-format.md has it byte by byte).
 *
 * How it works: a builder collects sections in memory and writes the file in one go. A reader takes
 * the whole file in memory and checks everything (magic, version, bounds, order, names, padding,
 * every checksum) before it hands out the first payload, so that no byte of a damaged file is ever
 * interpreted. What is in a section is the business of state_codec.h and vm_codec.h.
 */
#ifndef VOLT_SNAPSHOT_SECTIONS_H
#define VOLT_SNAPSHOT_SECTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "snapshot/checksum.h"

#define STATE_MAGIC "VOLTSTAT" /* without the NUL */
#define STATE_FORMAT_VERSION 1u
#define STATE_TAG_BYTES 16u      /* NUL-padded: names of 1 to 15 of a-z 0-9 - _ . */
#define STATE_SECTIONS_MAX 1024u /* in a file */
#define STATE_FILE_BYTES_MAX (16u << 20)
#define STATE_ALIGN 8u /* of each payload; the padding is zero */

/* The section's reader may ignore it when it does not know the name. */
#define STATE_FLAG_OPTIONAL 0x1u

/* Little-endian, at offset 0. */
struct state_header {
    char magic[8];
    uint32_t format_version;
    uint32_t section_count;
    uint64_t total_bytes;     /* of the file */
    struct checksum checksum; /* of header and table, with this field zero */
};

/* section_count of them behind the header. */
struct state_entry {
    char tag[STATE_TAG_BYTES];
    uint32_t version; /* of the section's contents */
    uint32_t flags;   /* STATE_FLAG_* */
    uint64_t offset;  /* of the payload, from the start of the file */
    uint64_t bytes;   /* of the payload without padding */
    struct checksum checksum;
};

_Static_assert(sizeof(struct state_header) == 40, "on-disk layout");
_Static_assert(sizeof(struct state_entry) == 56, "on-disk layout");
_Static_assert(offsetof(struct state_header, checksum) == 24, "on-disk layout");
_Static_assert(offsetof(struct state_entry, checksum) == 40, "on-disk layout");

/* True for a name that a section may have. */
bool state_name_valid(const char *name);

/* ---- Building ---- */

struct state_builder {
    struct state_entry *entry;
    uint32_t entry_count;
    uint8_t *payload; /* all payloads, padded */
    size_t payload_bytes, payload_room;
    int error; /* first failure, -errno; sticky */
};

void state_builder_init(struct state_builder *b);

/* Appends a section with a copy of bytes[0..len) (len may be 0). Errors stick and come out of
 * state_builder_finish, so that callers may add without checking: 0, -ENOMEM, -EEXIST for a name
 * used before, -EINVAL for an impossible name, -E2BIG over the limits. */
int state_builder_add(struct state_builder *b, const char *name, uint32_t version, uint32_t flags,
                      const void *bytes, size_t len);

/* Makes the file. *ret_bytes is malloc'ed and the caller's. 0 or the sticky error. */
int state_builder_finish(struct state_builder *b, uint8_t **ret_bytes, size_t *ret_len,
                         struct err *err);

/* The same, written to an empty file from its start; ret_len is the file's size. */
int state_builder_write(struct state_builder *b, int fd, uint64_t *ret_len, struct err *err);

void state_builder_fini(struct state_builder *b);

/* ---- Reading ---- */

struct state_reader {
    uint8_t *bytes; /* the file; owned by the reader once open has succeeded */
    size_t len;
    uint32_t section_count;
    bool used[STATE_SECTIONS_MAX];       /* found once: see state_reader_check_used */
    char fault_section[STATE_TAG_BYTES]; /* after a failed open: the section, "" for the header or
                                            the table */
};

/* Checks bytes[0..len) as a whole; see above. On success the reader owns `bytes` (malloc'ed), on
 * failure the caller keeps it. -EINVAL: not a state file or damaged; -ENOTSUP: a newer format. The
 * sentence names the section and what was expected. */
int state_reader_open(struct state_reader *r, uint8_t *bytes, size_t len, struct err *err);

struct state_section {
    const char *name; /* all of these belong to the reader */
    const uint8_t *bytes;
    size_t len;
    uint32_t version;
    uint32_t flags;
};

/* 0 and the section, which then counts as used; -ENOENT (sentence: "state: section 'x' is missing")
 * when there is none. A NULL err makes a missing section cheap. */
int state_reader_find(struct state_reader *r, const char *name, struct state_section *ret_section,
                      struct err *err);

/* The i-th section, i < section_count, without marking it used: for inspect. */
struct state_section state_reader_at(const struct state_reader *r, uint32_t i);

/* After decoding: -ENOTSUP naming the first section that nobody asked for and that is not
 * optional: it belongs to a device this build or this machine does not have. */
int state_reader_check_used(const struct state_reader *r, struct err *err);

/* Frees the bytes. Fine on a zeroed or half-open reader. */
void state_reader_fini(struct state_reader *r);

#endif
