/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the checks of foreign JSON; see json_keys.h. */
#include "http/json_keys.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/json_text.h"
#include "base/labels.h"
#include "base/util.h"

#define POOL_NAME_MAX 63

bool pool_name_valid(const char *name)
{
    size_t len = strlen(name);

    return len >= 1 && len <= POOL_NAME_MAX && name[0] != '-' && name[0] != '_' && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == len;
}

static bool has_control_characters(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return true;
    }
    return false;
}

static int read_text(const struct json_key *key, const json_t *value, char *field, struct err *err)
{
    const char *text = json_string_value(value);
    size_t len = text ? json_string_length(value) : 0;

    if (!text)
        return err_set(err, EINVAL, "'%s' must be a string", key->name);
    if (len < key->min || len >= key->max)
        return err_set(err, EINVAL, "'%s' must be %llu to %llu bytes long", key->name,
                       (unsigned long long)key->min, (unsigned long long)key->max - 1);
    if (has_control_characters(text, len))
        return err_set(err, EINVAL, "'%s' must not have control characters", key->name);
    if (key->kind == JSON_KEY_AUTO_PATH && text[0] != '/' && strcmp(text, "auto") != 0)
        return err_set(err, EINVAL, "'%s' must be an absolute path or \"auto\", not '%.100s'",
                       key->name, text);
    if (key->kind == JSON_KEY_PATH && text[0] != '/')
        return err_set(err, EINVAL, "'%s' must be an absolute path, not '%.100s'", key->name, text);
    if (key->kind == JSON_KEY_NAME && !pool_name_valid(text))
        return err_set(err, EBADMSG,
                       "'%s' must be 1 to 63 of a-z 0-9 - _ . and begin with a letter or digit, "
                       "not '%.100s'",
                       key->name, text);
    memcpy(field, text, len + 1);
    return 0;
}

static int range_fail(const struct json_key *key, struct err *err)
{
    char least[SIZE_TEXT_BYTES], most[SIZE_TEXT_BYTES];

    if (key->kind == JSON_KEY_SIZE)
        return err_set(err, EINVAL, "'%s' must be from %s to %s", key->name,
                       size_text(key->min, least), size_text(key->max, most));
    return err_set(err, EINVAL, "'%s' must be from %llu to %llu", key->name,
                   (unsigned long long)key->min, (unsigned long long)key->max);
}

static int read_number(const struct json_key *key, const json_t *value, uint64_t *ret_number,
                       struct err *err)
{
    const char *text = json_string_value(value);
    uint64_t number = 0;

    if (key->kind == JSON_KEY_SIZE && text) {
        if (!parse_size(text, &number))
            return err_set(err, EINVAL, "'%s' must be a size like \"128M\", not '%.100s'",
                           key->name, text);
    } else if (!json_is_integer(value)) {
        return err_set(err, EINVAL, "'%s' must be %s", key->name,
                       key->kind == JSON_KEY_SIZE ? "a size like \"128M\"" : "an integer");
    } else if (json_integer_value(value) >= 0) {
        number = (uint64_t)json_integer_value(value);
    }
    if (number < key->min || number > key->max ||
        (json_is_integer(value) && json_integer_value(value) < 0))
        return range_fail(key, err);
    *ret_number = number;
    return 0;
}

static int read_value(const struct json_key *key, const json_t *value, char *field, struct err *err)
{
    uint64_t number = 0;
    int rc;

    switch (key->kind) {
    case JSON_KEY_TEXT:
    case JSON_KEY_PATH:
    case JSON_KEY_AUTO_PATH:
    case JSON_KEY_NAME:
        return read_text(key, value, field, err);
    case JSON_KEY_BOOL:
        if (!json_is_boolean(value))
            return err_set(err, EINVAL, "'%s' must be true or false", key->name);
        memcpy(field, &(bool){ json_is_true(value) }, sizeof(bool));
        return 0;
    case JSON_KEY_LABELS:
        assert(key->max == LABELS_BYTES);
        return labels_read(value, field, err);
    case JSON_KEY_COUNT:
    case JSON_KEY_LONG:
    case JSON_KEY_SIZE:
        break;
    }
    rc = read_number(key, value, &number, err);
    if (rc == 0 && key->kind == JSON_KEY_COUNT)
        memcpy(field, &(uint32_t){ (uint32_t)number }, sizeof(uint32_t));
    else if (rc == 0)
        memcpy(field, &number, sizeof number);
    return rc;
}

static const struct json_key *key_find(const struct json_key *keys, size_t key_count,
                                       const char *name)
{
    for (size_t i = 0; i < key_count; i++) {
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    }
    return NULL;
}

int json_keys_read(const json_t *object, const struct json_key *keys, size_t key_count, void *ret,
                   struct err *err)
{
    /* jansson's iteration does not change the object, but wants it mutable. */
    json_t *root = (json_t *)(uintptr_t)object;
    const char *name;
    json_t *value;

    if (!json_is_object(object))
        return err_set(err, EINVAL, "the body must be a JSON object");
    json_object_foreach(root, name, value)
    {
        const struct json_key *key = key_find(keys, key_count, name);
        int rc;

        if (!key)
            return err_set(err, EINVAL, "unknown key '%.100s'", name);
        if (json_is_null(value))
            continue;
        rc = read_value(key, value, (char *)ret + key->offset, err);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < key_count; i++) {
        value = json_object_get(object, keys[i].name);
        if (keys[i].required && (!value || json_is_null(value)))
            return err_set(err, EINVAL, "'%s' is missing", keys[i].name);
    }
    return 0;
}

/* ---- The other way ---- */

static uint64_t number_of(const struct json_key *key, const void *from)
{
    const char *field = (const char *)from + key->offset;
    uint64_t number = 0;

    if (key->kind == JSON_KEY_COUNT)
        memcpy(&number, field, sizeof(uint32_t)); /* little-endian, as all of x86-64 */
    else if (key->kind == JSON_KEY_BOOL)
        number = *(const bool *)field;
    else
        memcpy(&number, field, sizeof number);
    return number;
}

static bool is_text(const struct json_key *key)
{
    return key->kind == JSON_KEY_TEXT || key->kind == JSON_KEY_PATH ||
           key->kind == JSON_KEY_AUTO_PATH || key->kind == JSON_KEY_NAME;
}

bool json_key_empty(const struct json_key *key, const void *from)
{
    return is_text(key) ? *((const char *)from + key->offset) == '\0' : number_of(key, from) == 0;
}

bool json_key_same(const struct json_key *key, const void *a, const void *b)
{
    return is_text(key) ? strcmp((const char *)a + key->offset, (const char *)b + key->offset) == 0
                        : number_of(key, a) == number_of(key, b);
}

json_t *json_key_value(const struct json_key *key, const void *from)
{
    if (is_text(key)) {
        const char *text = (const char *)from + key->offset;
        json_t *value = json_string(text); /* as it is, if it is UTF-8 */

        return value ? value : json_text(text);
    }
    return key->kind == JSON_KEY_BOOL ? json_boolean(number_of(key, from))
                                      : json_integer((json_int_t)number_of(key, from));
}

json_t *json_keys_write(const struct json_table *table, const void *from)
{
    json_t *object = json_object();

    for (size_t i = 0; object && i < table->key_count; i++) {
        const struct json_key *key = &table->keys[i];

        if ((key->required || !json_key_empty(key, from)) &&
            json_object_set_new(object, key->name, json_key_value(key, from)) < 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}
