/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the checks and the text of labels; see labels.h. */
#include "base/labels.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"

static bool key_is_good(const char *key)
{
    const size_t bytes = strlen(key);

    return bytes >= 1 && bytes <= LABEL_KEY_BYTES_MAX &&
           strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./") ==
               bytes;
}

static int label_check(const char *key, const json_t *value, struct err *err)
{
    const char *text = json_string_value(value);

    if (!key_is_good(key))
        return err_set(err, EINVAL,
                       "a label's key must be 1 to %u of A-Z a-z 0-9 - _ . /, not '%.80s'",
                       LABEL_KEY_BYTES_MAX, key);
    if (!text)
        return err_set(err, EINVAL, "the label '%s' must be a string", key);
    if (strlen(text) != json_string_length(value) || !text_is_clean(text))
        return err_set(err, EINVAL, "the label '%s' must be one line of visible text", key);
    return 0;
}

int labels_read(const json_t *object, char ret_text[LABELS_BYTES], struct err *err)
{
    json_t *root = (json_t *)(uintptr_t)object; /* jansson's iteration wants it mutable */
    const char *key;
    json_t *value;

    if (!json_is_object(object))
        return err_set(err, EINVAL, "labels must be an object of strings");
    if (json_object_size(object) > LABELS_MAX)
        return err_set(err, EINVAL, "there may be %u labels, not %zu", LABELS_MAX,
                       json_object_size(object));
    json_object_foreach(root, key, value)
    {
        int rc = label_check(key, value, err);

        if (rc < 0)
            return rc;
    }
    const size_t bytes =
        json_dumpb(object, ret_text, LABELS_BYTES - 1, JSON_COMPACT | JSON_SORT_KEYS);
    if (bytes >= LABELS_BYTES)
        return err_set(err, EINVAL, "the labels are too long: %zu bytes as JSON, at most %u", bytes,
                       LABELS_BYTES - 1);
    ret_text[json_object_size(object) ? bytes : 0] = '\0';
    return 0;
}

bool labels_valid(const char *text)
{
    char again[LABELS_BYTES];
    struct err err;

    if (!*text)
        return true;
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    const bool valid = labels_read(object, again, &err) == 0 && strcmp(again, text) == 0;
    json_decref(object);
    return valid;
}

bool labels_have(const char *text, const char *wanted)
{
    const char *equals = strchr(wanted, '=');
    const size_t key_bytes = equals ? (size_t)(equals - wanted) : strlen(wanted);
    json_t *object = *text ? json_loads(text, 0, NULL) : NULL;
    const char *value = json_string_value(json_object_getn(object, wanted, key_bytes));
    const bool has = value && (!equals || strcmp(value, equals + 1) == 0);

    json_decref(object);
    return has;
}
