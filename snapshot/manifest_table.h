/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests are read and written by one table of their keys: sealed JSON objects (sealed_json.h),
 * at most one object deep. Unknown, duplicate and missing keys are refused: a new key takes a new
 * format version. To add one, add a line to the table; a kind of value that no other manifest has
 * brings its two functions along (struct manifest_own).
 *
 * Format version 1 named contents by checksums. What reads it gets them in digests, whose first 16
 * bytes they are, with zeroes behind: no contents have such a digest, so none can be mixed up. */
#ifndef VOLT_SNAPSHOT_MANIFEST_TABLE_H
#define VOLT_SNAPSHOT_MANIFEST_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "snapshot/checksum.h"
#include "snapshot/digest.h"

enum manifest_kind {
    MANIFEST_STRING,   /* char[max + 1], min to max bytes of UTF-8 without NUL; optional and "": not
                          written */
    MANIFEST_TIME,     /* char[21]: 2026-11-21T20:00:00Z */
    MANIFEST_NUMBER32, /* uint32_t from min to max; optional and 0: not written */
    MANIFEST_NUMBER64, /* uint64_t, the same */
    MANIFEST_BOOL,     /* bool */
    MANIFEST_ID,       /* struct unique_id */
    MANIFEST_DIGEST,   /* struct digest; optional and all zeroes: not written */
    MANIFEST_OWN,      /* what `own` makes of it */
};

/* What is being read. */
struct manifest_source {
    const char *file; /* begins all sentences */
    uint32_t version; /* of the format */
};

struct manifest_key;

struct manifest_own {
    /* Reads a value into the manifest, whose keys further up in the table are read already. */
    int (*parse)(const struct manifest_source *source, const struct manifest_key *key,
                 const json_t *value, void *manifest, struct err *err);
    /* The value, or NULL: not written (then the key is optional). */
    json_t *(*format)(const struct manifest_key *key, const void *manifest);
};

struct manifest_key {
    const char *group; /* object that holds it; NULL: the top level */
    const char *name;
    enum manifest_kind kind;
    bool required;
    uint32_t offset;
    uint64_t min, max;
    const struct manifest_own *own;
};

#define MANIFEST_KEY(type, group_name, key_name, key_kind, is_required, member, least, most)       \
    {                                                                                              \
        .group = group_name, .name = key_name, .kind = key_kind, .required = is_required,          \
        .offset = offsetof(type, member), .min = least, .max = most,                               \
    }
#define MANIFEST_OWN_KEY(group_name, key_name, is_required, functions)                             \
    {                                                                                              \
        .group = group_name, .name = key_name, .kind = MANIFEST_OWN, .required = is_required,      \
        .own = functions,                                                                          \
    }

struct manifest_table {
    const char *format;             /* the value of "format" */
    uint32_t version;               /* that is written; greater ones are refused as newer */
    const char *if_older;           /* what to do with one of a smaller version */
    size_t text_bytes_max;          /* of a file */
    const struct manifest_key *key; /* in the order of the file */
    size_t key_count;
};

/* Reads text[0..len), untrusted, of this format version, into a zeroed struct: which is filled in
 * part after a failure. -EINVAL with a sentence that names the key and what was expected; -ENOTSUP
 * for another version. Any thread. */
int manifest_table_parse(const struct manifest_table *table, const struct manifest_source *source,
                         const char *text, size_t len, void *ret_manifest, struct err *err);

/* The sealed text, malloc'ed, the caller's. -EINVAL for a string that is not UTF-8, -ENOMEM. */
int manifest_table_format(const struct manifest_table *table, const char *file,
                          const void *manifest, char **ret_text, size_t *ret_len, struct err *err);

/* A sentence that names the key: "FILE: KEY: expected EXPECTED". -EINVAL. */
int manifest_key_error(const struct manifest_source *source, const struct manifest_key *key,
                       struct err *err, const char *expected);

/* The text of a JSON string; NULL for anything else, and for a text with a NUL in it. */
const char *manifest_text(const json_t *value);

/* A digest as this version has it in text: 64 hex digits, or 32 for a checksum of version 1. */
bool manifest_digest_parse(uint32_t version, const char *hex, struct digest *ret_digest);

/* A checksum of version 1 in place of a digest. */
struct digest digest_from_checksum(const struct checksum *checksum);

/* Now, as a MANIFEST_TIME. */
void manifest_time_now(char ret_time[21]);

#endif
