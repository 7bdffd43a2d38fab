/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the cleaning of texts in JSON; see json_text.h. */
#include "base/json_text.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* Nothing that is valid has more levels: deeper ones are dropped. */
#define DEPTH_MAX 32u

json_t *json_text(const char *text)
{
    char clean[JSON_TEXT_BYTES];
    size_t bytes = text_clean(clean, sizeof clean, text, strlen(text));
    json_t *string = json_stringn_nocheck(clean, bytes);

    if (!string)
        abort(); /* out of memory for a sentence */
    return string;
}

json_t *json_text_or_null(const char *text)
{
    return *text ? json_text(text) : json_null();
}

/* The value, or what is to take its place; it is the caller's either way. */
static json_t *cleaned(json_t *value, unsigned depth);

static void object_clean(json_t *object, unsigned depth)
{
    char name[JSON_TEXT_BYTES];
    const char *key;
    json_t *value;
    void *next;

    json_object_foreach_safe(object, next, key, value)
    {
        json_t *clean = cleaned(json_incref(value), depth + 1);

        if (text_is_clean(key)) {
            json_object_set_new_nocheck(object, key, clean);
            continue;
        }
        text_clean(name, sizeof name, key, strlen(key));
        json_object_del(object, key);
        json_object_set_new_nocheck(object, name, clean);
    }
}

static json_t *cleaned(json_t *value, unsigned depth)
{
    size_t index;
    json_t *at;

    if (json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value) &&
        text_is_clean(json_string_value(value)))
        return value;
    if (json_is_string(value) || depth > DEPTH_MAX) {
        json_t *clean = json_is_string(value) ? json_text(json_string_value(value)) : json_null();

        json_decref(value);
        return clean;
    }
    if (json_is_object(value))
        object_clean(value, depth);
    json_array_foreach(value, index, at)
    {
        json_array_set_new(value, index, cleaned(json_incref(at), depth + 1));
    }
    return value;
}

json_t *json_texts_clean(json_t *value)
{
    return value ? cleaned(value, 0) : NULL;
}
