/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a JSON object into a struct by a table of keys: type, range, required. Unknown keys are
 * refused, keys that are absent leave their field as it was. Any thread. */
#ifndef VOLT_POOLD_JSON_KEYS_H
#define VOLT_POOLD_JSON_KEYS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum json_kind {
    JSON_KEY_TEXT,      /* char[max]: without NUL bytes and control characters; at least min long */
    JSON_KEY_PATH,      /* the same, and absolute */
    JSON_KEY_AUTO_PATH, /* an absolute path, or "auto" */
    JSON_KEY_NAME,      /* the same, and a pool's name */
    JSON_KEY_COUNT,     /* uint32_t from min to max */
    JSON_KEY_LONG,      /* uint64_t from min to max */
    JSON_KEY_SIZE,      /* uint64_t from min to max; a string like "128M", or an integer */
    JSON_KEY_BOOL,      /* bool */
    JSON_KEY_LABELS,    /* char[max], LABELS_BYTES: base/labels.h. Is only read */
};

struct json_key {
    const char *name;
    enum json_kind kind;
    bool required;
    uint64_t min, max; /* max: for texts the size of the field */
    size_t offset;
};

/* What one object may have. */
struct json_table {
    const struct json_key *keys;
    size_t key_count;
};
#define JSON_TABLE(array)                                                                          \
    {                                                                                              \
        (array), sizeof(array) / sizeof((array)[0])                                                \
    }

#define JSON_TEXT_KEY(type, member, key_name, key_kind, is_required, least)                        \
    {                                                                                              \
        key_name, key_kind, is_required, least, sizeof(((type *)0)->member),                       \
            offsetof(type, member)                                                                 \
    }
#define JSON_NUMBER_KEY(type, member, key_name, key_kind, is_required, least, most)                \
    {                                                                                              \
        key_name, key_kind, is_required, least, most, offsetof(type, member)                       \
    }

/* 0, or -EINVAL (-EBADMSG: what should be a pool's name is none) with a sentence that names the
 * key; *ret may have been filled in part then. A key whose value is null counts as absent. */
int json_keys_read(const json_t *object, const struct json_key *keys, size_t key_count, void *ret,
                   struct err *err);

/* Whether a key's field is "", 0 or false. */
bool json_key_empty(const struct json_key *key, const void *from);
/* A key's field as JSON; the caller's. */
json_t *json_key_value(const struct json_key *key, const void *from);
/* The object that json_keys_read makes the same struct of, without what is empty and not required;
 * the caller's. NULL without memory. */
json_t *json_keys_write(const struct json_table *table, const void *from);
/* Whether a key's fields of two structs are the same. */
bool json_key_same(const struct json_key *key, const void *a, const void *b);

/* 1 to 63 of a-z 0-9 - _ ., beginning with a letter or digit. */
bool pool_name_valid(const char *name);

#endif
