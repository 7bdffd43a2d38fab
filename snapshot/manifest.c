/* SPDX-License-Identifier: Apache-2.0 */
/* Owns manifest.json: one table of keys for writing and parsing; see manifest.h.
 *
 * How it works: the file is JSON whose last line but one is `  "digest": "<32 hex digits>"`, the
 * XXH3-128 of all bytes before that line. The parser checks this tail byte by byte, then hands the
 * text to jansson, then walks the table; what the table does not name is refused.
 */
#include "snapshot/manifest.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "memory/guest_mem.h"
#include "snapshot/file.h"
#include "snapshot/sealed_json.h"
#include "snapshot/sections.h"

enum key_kind { KEY_STRING, KEY_NUMBER32, KEY_NUMBER64, KEY_BOOL, KEY_DIGEST, KEY_TIME, KEY_NAMES };

struct key {
    const char *group; /* object that holds it; NULL: the top level */
    const char *name;
    enum key_kind kind;
    bool required;
    uint32_t offset;
    uint64_t min, max; /* of a number; of a string's length in bytes */
};

#define KEY(group_name, key_name, key_kind, is_required, member, least, most)                      \
    {                                                                                              \
        .group = group_name, .name = key_name, .kind = key_kind, .required = is_required,          \
        .offset = offsetof(struct manifest, member), .min = least, .max = most,                    \
    }

/* In the order of the file. */
static const struct key keys[] = {
    KEY(NULL, "format_version", KEY_NUMBER32, true, format_version, 1, MANIFEST_FORMAT_VERSION),
    KEY(NULL, "id", KEY_DIGEST, true, id, 0, 0),
    KEY(NULL, "created", KEY_TIME, true, created, 20, 20),
    KEY(NULL, "volt_version", KEY_STRING, true, volt_version, 1, 31),
    KEY("kernel", "path", KEY_STRING, true, kernel.path, 1, MANIFEST_PATH_BYTES - 1),
    KEY("kernel", "digest", KEY_DIGEST, true, kernel.digest, 0, 0),
    KEY("initrd", "path", KEY_STRING, false, initrd.path, 1, MANIFEST_PATH_BYTES - 1),
    KEY("initrd", "digest", KEY_DIGEST, false, initrd.digest, 0, 0),
    KEY(NULL, "cmdline", KEY_STRING, true, cmdline, 0, MANIFEST_CMDLINE_BYTES - 1),
    KEY(NULL, "warmup", KEY_STRING, false, warmup, 1, MANIFEST_CMDLINE_BYTES - 1),
    KEY(NULL, "memory_bytes", KEY_NUMBER64, true, memory_bytes, GUEST_RAM_BYTES_MIN,
        GUEST_RAM_BYTES_MAX),
    KEY(NULL, "vcpus", KEY_NUMBER32, true, vcpus, 1, MANIFEST_VCPUS_MAX),
    KEY("cpu", "vendor", KEY_STRING, true, cpu.vendor, 1, 12),
    KEY("cpu", "model_name", KEY_STRING, true, cpu.model_name, 0, 48),
    KEY("cpu", "family", KEY_NUMBER32, true, cpu.family, 0, 0xfff),
    KEY("cpu", "model", KEY_NUMBER32, true, cpu.model, 0, 0xff),
    KEY("cpu", "stepping", KEY_NUMBER32, true, cpu.stepping, 0, 0xf),
    KEY("cpu", "software_only_kvm", KEY_BOOL, true, cpu.software_only_kvm, 0, 0),
    KEY(NULL, "devices", KEY_NAMES, true, device, 0, MANIFEST_DEVICES_MAX),
    KEY("state", "bytes", KEY_NUMBER64, true, state_bytes, sizeof(struct state_header),
        STATE_FILE_BYTES_MAX),
    KEY("state", "digest", KEY_DIGEST, true, state_digest, 0, 0),
    KEY("memory", "data_bytes", KEY_NUMBER64, true, memory_data_bytes, 0, GUEST_RAM_BYTES_MAX),
    KEY("memory", "digest", KEY_DIGEST, true, memory_digest, 0, 0),
    KEY("disk", "image", KEY_STRING, false, disk_image, 1, 63),
    KEY("disk", "id", KEY_DIGEST, false, disk_id, 0, 0),
    KEY("disk", "path", KEY_STRING, false, disk_path, 1, MANIFEST_PATH_BYTES - 1),
    KEY("disk", "bytes", KEY_NUMBER64, false, disk_bytes, 512, INT64_MAX),
    KEY("disk", "modified_ns", KEY_NUMBER64, false, disk_modified_ns, 1, INT64_MAX),
    KEY("disk", "delta", KEY_DIGEST, false, disk_delta, 0, 0),
    KEY("figures", "cold_boot_ms", KEY_NUMBER64, false, cold_boot_ms, 1, UINT32_MAX),
    KEY("figures", "stopped_us", KEY_NUMBER64, false, stopped_us, 1, UINT32_MAX),
};

static const char *const groups[] = { "kernel", "initrd", "cpu",    "state",
                                      "memory", "disk",   "figures" };

/* "kernel.path", for sentences. */
static const char *key_name(const struct key *key, char ret_name[64])
{
    snprintf(ret_name, 64, "%s%s%s", key->group ? key->group : "", key->group ? "." : "",
             key->name);
    return ret_name;
}

static int key_error(const struct key *key, struct err *err, const char *expected)
{
    char name[64];

    return err_set(err, EINVAL, "manifest.json: %s: expected %s", key_name(key, name), expected);
}

static int range_error(const struct key *key, struct err *err, const char *what)
{
    char expected[80];

    snprintf(expected, sizeof expected, "%s %llu to %llu", what, (unsigned long long)key->min,
             (unsigned long long)key->max);
    return key_error(key, err, expected);
}

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

/* ---- Parsing ---- */

static int parse_string(const struct key *key, const json_t *value, char *ret_text, struct err *err)
{
    const char *text = json_string_value(value);
    size_t len = text ? json_string_length(value) : 0;

    if (!text || len < key->min || len > key->max || strlen(text) != len)
        return range_error(key, err, "a string without NUL, of length");
    if (key->kind == KEY_TIME && !time_valid(text))
        return key_error(key, err, "a time like 2026-11-21T20:00:00Z");
    memcpy(ret_text, text, len + 1);
    return 0;
}

static int parse_number(const struct key *key, const json_t *value, void *ret_number,
                        struct err *err)
{
    json_int_t number = json_integer_value(value);

    if (!json_is_integer(value) || number < 0 || (uint64_t)number < key->min ||
        (uint64_t)number > key->max)
        return range_error(key, err, "an integer,");
    if (key->kind == KEY_NUMBER32)
        *(uint32_t *)ret_number = (uint32_t)number;
    else
        *(uint64_t *)ret_number = (uint64_t)number;
    return 0;
}

static int parse_names(const struct key *key, const json_t *value, struct manifest *m,
                       struct err *err)
{
    size_t count = json_array_size(value);

    if (!json_is_array(value) || count > key->max)
        return range_error(key, err, "a list of names,");
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(value, i));

        if (!name || !state_name_valid(name))
            return key_error(key, err, "names of 1 to 15 of a-z 0-9 - _ .");
        snprintf(m->device[i], sizeof m->device[i], "%s", name);
    }
    m->device_count = (uint32_t)count;
    return 0;
}

static int parse_value(const struct key *key, const json_t *value, struct manifest *m,
                       struct err *err)
{
    void *field = (uint8_t *)m + key->offset;

    switch (key->kind) {
    case KEY_STRING:
    case KEY_TIME:
        return parse_string(key, value, field, err);
    case KEY_NUMBER32:
    case KEY_NUMBER64:
        return parse_number(key, value, field, err);
    case KEY_BOOL:
        if (!json_is_boolean(value))
            return key_error(key, err, "true or false");
        *(bool *)field = json_is_true(value);
        return 0;
    case KEY_DIGEST:
        if (json_string_length(value) != 2 * DIGEST_BYTES ||
            !digest_from_hex(json_string_value(value), field))
            return key_error(key, err, "32 lower-case hex digits");
        return 0;
    case KEY_NAMES:
        return parse_names(key, value, m, err);
    }
    return key_error(key, err, "a known kind of value");
}

/* Takes each key out of its object, so that what is left over is unknown. */
static int parse_key(const struct key *key, json_t *root, struct manifest *m, struct err *err)
{
    char name[64];
    json_t *object = key->group ? json_object_get(root, key->group) : root;
    json_t *value = json_object_get(object, key->name);

    if (!value)
        return key->required
                   ? err_set(err, EINVAL, "manifest.json: %s is missing", key_name(key, name))
                   : 0;
    int rc = parse_value(key, value, m, err);
    if (rc == 0)
        json_object_del(object, key->name);
    return rc;
}

static int check_left_over(json_t *root, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        json_t *group = json_object_get(root, groups[i]);
        const char *left = json_object_iter_key(json_object_iter(group));

        if (group && !json_is_object(group))
            return err_set(err, EINVAL, "manifest.json: %s: expected an object", groups[i]);
        if (left)
            return err_set(err, EINVAL, "manifest.json: %s.%s: unknown key", groups[i], left);
        json_object_del(root, groups[i]);
    }
    const char *left = json_object_iter_key(json_object_iter(root));
    return left ? err_set(err, EINVAL, "manifest.json: %s: unknown key", left) : 0;
}

/* Kind of file and version come before all else: of a newer one nothing can be said. */
static int check_version(json_t *root, struct err *err)
{
    const char *format = json_string_value(json_object_get(root, "format"));
    json_int_t version = json_integer_value(json_object_get(root, "format_version"));

    if (!format || strcmp(format, MANIFEST_FORMAT) != 0)
        return err_set(err, EINVAL, "manifest.json: format: expected \"" MANIFEST_FORMAT "\"");
    if (version > MANIFEST_FORMAT_VERSION)
        return err_set(err, ENOTSUP,
                       "manifest.json: format_version %lld, this program knows up to %u",
                       (long long)version, MANIFEST_FORMAT_VERSION);
    json_object_del(root, "format");
    json_object_del(root, "digest");
    return 0;
}

static int check_disk(const struct manifest *m, struct err *err)
{
    static const struct digest none;
    bool image = m->disk_image[0], path = m->disk_path[0];

    if ((image && path) || (m->disk_bytes != 0) != (image || path))
        return err_set(err, EINVAL,
                       "manifest.json: disk: expected bytes and either image or path, or nothing");
    if (image == digest_equal(&m->disk_id, &none))
        return err_set(err, EINVAL, "manifest.json: disk: expected image and id, or neither");
    if (!m->disk_bytes && (m->disk_modified_ns || !digest_equal(&m->disk_delta, &none)))
        return err_set(err, EINVAL,
                       "manifest.json: disk: expected modified_ns and delta only with bytes");
    return 0;
}

/* Relations between fields that a table of ranges can't say. */
static int check_whole(const struct manifest *m, struct err *err)
{
    static const struct digest none;
    bool initrd_digest = !digest_equal(&m->initrd.digest, &none);

    if (m->memory_bytes % MIB(2) != 0)
        return err_set(err, EINVAL, "manifest.json: memory_bytes: expected a multiple of 2 MiB");
    if (m->memory_data_bytes > m->memory_bytes)
        return err_set(err, EINVAL, "manifest.json: memory.data_bytes: expected at most %llu",
                       (unsigned long long)m->memory_bytes);
    int rc = check_disk(m, err);
    if (rc < 0)
        return rc;
    if (initrd_digest != (m->initrd.path[0] != '\0'))
        return err_set(err, EINVAL, "manifest.json: initrd: expected path and digest, or neither");
    return 0;
}

static int parse_root(json_t *root, struct manifest *ret_manifest, struct err *err)
{
    struct manifest *m = calloc(1, sizeof *m);

    if (!m)
        return err_set_errno(err, ENOMEM, "manifest.json");
    int rc = check_version(root, err);
    for (size_t i = 0; i < ARRAY_LEN(keys) && rc == 0; i++)
        rc = parse_key(&keys[i], root, m, err);
    if (rc == 0)
        rc = check_left_over(root, err);
    if (rc == 0)
        rc = check_whole(m, err);
    if (rc == 0)
        *ret_manifest = *m;
    free(m);
    return rc;
}

int manifest_parse(const char *text, size_t len, struct manifest *ret_manifest, struct err *err)
{
    json_error_t where;
    int rc = sealed_json_check(SNAPSHOT_FILE_MANIFEST, text, len, MANIFEST_BYTES_MAX, err);

    if (rc < 0)
        return rc;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return err_set(err, EINVAL, "manifest.json: line %d: %s", where.line, where.text);
    if (json_is_object(root))
        rc = parse_root(root, ret_manifest, err);
    else
        rc = err_set(err, EINVAL, "manifest.json: expected an object");
    json_decref(root);
    return rc;
}

int manifest_load(int dirfd, struct manifest *ret_manifest, struct err *err)
{
    _cleanup_free_ uint8_t *text = NULL;
    size_t len;
    int rc =
        snapshot_file_read(dirfd, SNAPSHOT_FILE_MANIFEST, MANIFEST_BYTES_MAX, &text, &len, err);

    return rc < 0 ? rc : manifest_parse((const char *)text, len, ret_manifest, err);
}

/* ---- Writing ---- */

static json_t *names_to_json(const struct manifest *m)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < m->device_count; i++)
        json_array_append_new(list, json_string(m->device[i]));
    return list;
}

/* NULL: an optional one that is empty, or (for a string) text that is not UTF-8. */
static json_t *value_to_json(const struct key *key, const struct manifest *m)
{
    static const struct digest none;
    const void *field = (const uint8_t *)m + key->offset;
    char hex[DIGEST_HEX_BYTES];
    uint64_t number;

    switch (key->kind) {
    case KEY_STRING:
    case KEY_TIME:
        return key->required || *(const char *)field ? json_string(field) : NULL;
    case KEY_NUMBER32:
    case KEY_NUMBER64:
        number = key->kind == KEY_NUMBER32 ? *(const uint32_t *)field : *(const uint64_t *)field;
        return key->required || number ? json_integer((json_int_t)number) : NULL;
    case KEY_BOOL:
        return json_boolean(*(const bool *)field);
    case KEY_DIGEST:
        return key->required || !digest_equal(field, &none) ? json_string(digest_to_hex(field, hex))
                                                            : NULL;
    case KEY_NAMES:
        return names_to_json(m);
    }
    return NULL;
}

static int key_to_json(const struct key *key, const struct manifest *m, json_t *root,
                       struct err *err)
{
    json_t *value = value_to_json(key, m);
    json_t *object = root;

    if (!value)
        return key->required ? key_error(key, err, "valid UTF-8") : 0;
    if (key->group) {
        object = json_object_get(root, key->group);
        if (!object) {
            object = json_object();
            json_object_set_new(root, key->group, object);
        }
    }
    return json_object_set_new(object, key->name, value) < 0
               ? err_set_errno(err, ENOMEM, "manifest.json")
               : 0;
}

/* What is written is parsed again: a manifest that could not be read back must not be stored. */
int manifest_format(const struct manifest *m, char **ret_text, size_t *ret_len, struct err *err)
{
    json_t *root = json_pack("{s:s}", "format", MANIFEST_FORMAT);
    char *body = NULL, *text = NULL;
    size_t len = 0;
    int rc = root ? 0 : err_set_errno(err, ENOMEM, "manifest.json");

    for (size_t i = 0; i < ARRAY_LEN(keys) && rc == 0; i++)
        rc = key_to_json(&keys[i], m, root, err);
    if (rc == 0) {
        body = json_dumps(root, JSON_INDENT(2));
        rc = body ? sealed_json_seal(SNAPSHOT_FILE_MANIFEST, body, &text, &len, err)
                  : err_set_errno(err, ENOMEM, "manifest.json");
    }
    free(body);
    json_decref(root);
    _cleanup_free_ struct manifest *again = malloc(sizeof *again);
    if (rc == 0)
        rc = again ? manifest_parse(text, len, again, err)
                   : err_set_errno(err, ENOMEM, "manifest.json");
    if (rc < 0) {
        free(text);
        return rc;
    }
    *ret_text = text;
    *ret_len = len;
    return 0;
}
