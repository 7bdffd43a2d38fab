/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the reading and writing of manifests by a table of keys; see manifest_table.h.
 *
 * How it works: the seal is checked, then jansson parses, then the table is walked and takes what
 * it knows out of the object: what is left is refused. */
#include "snapshot/manifest_table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "snapshot/sealed_json.h"
#include "snapshot/unique_id.h"

#define KEY_NAME_BYTES 64

/* "kernel.path", for sentences. */
static const char *key_name(const struct manifest_key *key, char ret_name[KEY_NAME_BYTES])
{
    snprintf(ret_name, KEY_NAME_BYTES, "%s%s%s", key->group ? key->group : "",
             key->group ? "." : "", key->name);
    return ret_name;
}

int manifest_key_error(const struct manifest_source *source, const struct manifest_key *key,
                       struct err *err, const char *expected)
{
    char name[KEY_NAME_BYTES];

    return err_set(err, EINVAL, "%s: %s: expected %s", source->file, key_name(key, name), expected);
}

static int range_error(const struct manifest_source *source, const struct manifest_key *key,
                       struct err *err, const char *what)
{
    char expected[80];

    snprintf(expected, sizeof expected, "%s %llu to %llu", what, (unsigned long long)key->min,
             (unsigned long long)key->max);
    return manifest_key_error(source, key, err, expected);
}

/* ---- Values ---- */

/* "2026-11-21T20:00:00Z": the one form of RFC 3339 that is written. */
static bool time_valid(const char *text)
{
    static const char form[] = "dddd-dd-ddTdd:dd:ddZ";

    if (strlen(text) != sizeof form - 1)
        return false;
    for (size_t i = 0; i < sizeof form - 1; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';

        if (form[i] == 'd' ? !digit : text[i] != form[i])
            return false;
    }
    return true;
}

void manifest_time_now(char ret_time[21])
{
    time_t now = time(NULL);
    struct tm utc;

    gmtime_r(&now, &utc);
    strftime(ret_time, 21, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

struct digest digest_from_checksum(const struct checksum *checksum)
{
    struct digest digest = { 0 };

    memcpy(digest.byte, checksum->byte, sizeof checksum->byte);
    return digest;
}

bool manifest_digest_parse(uint32_t version, const char *hex, struct digest *ret_digest)
{
    struct checksum checksum;

    if (version > 1)
        return digest_from_hex(hex, ret_digest);
    if (!hex_parse(hex, checksum.byte, sizeof checksum.byte))
        return false;
    *ret_digest = digest_from_checksum(&checksum);
    return true;
}

const char *manifest_text(const json_t *value)
{
    const char *text = json_string_value(value);

    return text && strlen(text) == json_string_length(value) ? text : NULL;
}

static int parse_string(const struct manifest_source *source, const struct manifest_key *key,
                        const json_t *value, char *ret_text, struct err *err)
{
    const char *text = manifest_text(value);
    size_t len = text ? strlen(text) : 0;

    if (key->kind == MANIFEST_TIME && (!text || !time_valid(text)))
        return manifest_key_error(source, key, err, "a time like 2026-11-21T20:00:00Z");
    if (key->kind == MANIFEST_STRING && (!text || len < key->min || len > key->max))
        return range_error(source, key, err, "a string without NUL, of length");
    memcpy(ret_text, text, len + 1);
    return 0;
}

static int parse_number(const struct manifest_source *source, const struct manifest_key *key,
                        const json_t *value, void *ret_number, struct err *err)
{
    json_int_t number = json_integer_value(value);

    if (!json_is_integer(value) || number < 0 || (uint64_t)number < key->min ||
        (uint64_t)number > key->max)
        return range_error(source, key, err, "an integer,");
    if (key->kind == MANIFEST_NUMBER32)
        *(uint32_t *)ret_number = (uint32_t)number;
    else
        *(uint64_t *)ret_number = (uint64_t)number;
    return 0;
}

static int parse_value(const struct manifest_source *source, const struct manifest_key *key,
                       const json_t *value, void *manifest, struct err *err)
{
    void *field = (uint8_t *)manifest + key->offset;

    switch (key->kind) {
    case MANIFEST_STRING:
    case MANIFEST_TIME:
        return parse_string(source, key, value, field, err);
    case MANIFEST_NUMBER32:
    case MANIFEST_NUMBER64:
        return parse_number(source, key, value, field, err);
    case MANIFEST_BOOL:
        if (!json_is_boolean(value))
            return manifest_key_error(source, key, err, "true or false");
        *(bool *)field = json_is_true(value);
        return 0;
    case MANIFEST_ID:
        return unique_id_from_hex(manifest_text(value), field)
                   ? 0
                   : manifest_key_error(source, key, err, "32 lower-case hex digits");
    case MANIFEST_DIGEST:
        return manifest_digest_parse(source->version, manifest_text(value), field)
                   ? 0
                   : manifest_key_error(source, key, err,
                                        source->version > 1 ? "64 lower-case hex digits"
                                                            : "32 lower-case hex digits");
    case MANIFEST_OWN:
        return key->own->parse(source, key, value, manifest, err);
    }
    return manifest_key_error(source, key, err, "a known kind of value");
}

/* ---- Parsing ---- */

static int parse_key(const struct manifest_source *source, const struct manifest_key *key,
                     json_t *root, void *manifest, struct err *err)
{
    char name[KEY_NAME_BYTES];
    json_t *object = key->group ? json_object_get(root, key->group) : root;
    json_t *value = json_object_get(object, key->name);

    if (!value)
        return key->required
                   ? err_set(err, EINVAL, "%s: %s is missing", source->file, key_name(key, name))
                   : 0;
    int rc = parse_value(source, key, value, manifest, err);
    if (rc == 0)
        json_object_del(object, key->name);
    return rc;
}

static int check_left_over(const struct manifest_table *table, const char *file, json_t *root,
                           struct err *err)
{
    for (size_t i = 0; i < table->key_count; i++) {
        const char *name = table->key[i].group;
        json_t *group = name ? json_object_get(root, name) : NULL;
        const char *left = json_object_iter_key(json_object_iter(group));

        if (!group)
            continue;
        if (!json_is_object(group))
            return err_set(err, EINVAL, "%s: %s: expected an object", file, name);
        if (left)
            return err_set(err, EINVAL, "%s: %s.%s: unknown key", file, name, left);
        json_object_del(root, name);
    }
    const char *left = json_object_iter_key(json_object_iter(root));
    return left ? err_set(err, EINVAL, "%s: %s: unknown key", file, left) : 0;
}

/* Kind of file and version come before all else: of a newer one nothing can be said. */
static int check_version(const struct manifest_table *table, const struct manifest_source *source,
                         enum seal seal, json_t *root, struct err *err)
{
    const char *format = json_string_value(json_object_get(root, "format"));
    json_int_t version = json_integer_value(json_object_get(root, "format_version"));

    if (!format || strcmp(format, table->format) != 0)
        return err_set(err, EINVAL, "%s: format: expected \"%s\"", source->file, table->format);
    if (version > table->version)
        return err_set(err, ENOTSUP, "%s: format_version %lld, this program knows up to %u",
                       source->file, (long long)version, table->version);
    if (version < 1 || (seal == SEAL_CHECKSUM) != (version == 1))
        return err_set(err, EINVAL, "%s: format_version: not the one that its digest belongs to",
                       source->file);
    if (version != source->version)
        return err_set(err, ENOTSUP, "%s: format_version %lld, expected %u: %s", source->file,
                       (long long)version, source->version, table->if_older);
    json_object_del(root, "format");
    json_object_del(root, "format_version");
    json_object_del(root, "digest");
    return 0;
}

int manifest_table_parse(const struct manifest_table *table, const struct manifest_source *source,
                         const char *text, size_t len, void *ret_manifest, struct err *err)
{
    json_error_t where;
    enum seal seal;
    int rc = sealed_json_check(source->file, text, len, table->text_bytes_max, &seal, err);

    if (rc < 0)
        return rc;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return err_set(err, EINVAL, "%s: line %d: %s", source->file, where.line, where.text);
    if (json_is_object(root))
        rc = check_version(table, source, seal, root, err);
    else
        rc = err_set(err, EINVAL, "%s: expected an object", source->file);
    for (size_t i = 0; i < table->key_count && rc == 0; i++)
        rc = parse_key(source, &table->key[i], root, ret_manifest, err);
    if (rc == 0)
        rc = check_left_over(table, source->file, root, err);
    json_decref(root);
    return rc;
}

/* ---- Writing ---- */

/* NULL: an optional one that is empty, or (for a string) text that is not UTF-8. */
static json_t *value_to_json(const struct manifest_key *key, const void *manifest)
{
    const void *field = (const uint8_t *)manifest + key->offset;
    char hex[DIGEST_HEX_BYTES];
    uint64_t number;

    switch (key->kind) {
    case MANIFEST_STRING:
    case MANIFEST_TIME:
        return key->required || *(const char *)field ? json_string(field) : NULL;
    case MANIFEST_NUMBER32:
    case MANIFEST_NUMBER64:
        number =
            key->kind == MANIFEST_NUMBER32 ? *(const uint32_t *)field : *(const uint64_t *)field;
        return key->required || number ? json_integer((json_int_t)number) : NULL;
    case MANIFEST_BOOL:
        return json_boolean(*(const bool *)field);
    case MANIFEST_ID:
        return json_string(unique_id_to_hex(field, hex));
    case MANIFEST_DIGEST:
        return key->required || !digest_is_none(field) ? json_string(digest_to_hex(field, hex))
                                                       : NULL;
    case MANIFEST_OWN:
        return key->own->format(key, manifest);
    }
    return NULL;
}

static int key_to_json(const char *file, const struct manifest_key *key, const void *manifest,
                       json_t *root, struct err *err)
{
    const struct manifest_source source = { .file = file };
    json_t *value = value_to_json(key, manifest);
    json_t *object = root;

    if (!value)
        return key->required ? manifest_key_error(&source, key, err, "valid UTF-8") : 0;
    if (key->group) {
        object = json_object_get(root, key->group);
        if (!object) {
            object = json_object();
            json_object_set_new(root, key->group, object);
        }
    }
    return json_object_set_new(object, key->name, value) < 0
               ? err_set_errno(err, ENOMEM, "%s", file)
               : 0;
}

int manifest_table_format(const struct manifest_table *table, const char *file,
                          const void *manifest, char **ret_text, size_t *ret_len, struct err *err)
{
    json_t *root =
        json_pack("{s:s, s:i}", "format", table->format, "format_version", (int)table->version);
    int rc = root ? 0 : err_set_errno(err, ENOMEM, "%s", file);

    for (size_t i = 0; i < table->key_count && rc == 0; i++)
        rc = key_to_json(file, &table->key[i], manifest, root, err);
    if (rc == 0) {
        _cleanup_free_ char *body = json_dumps(root, JSON_INDENT(2));

        rc = body ? sealed_json_seal(file, body, ret_text, ret_len, err)
                  : err_set_errno(err, ENOMEM, "%s", file);
    }
    json_decref(root);
    return rc;
}
