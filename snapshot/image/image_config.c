/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the checking of images' configurations; see image_config.h. */
#include "snapshot/image/image_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "snapshot/manifest_table.h"

static bool is_text(const json_t *value)
{
    return manifest_text(value);
}

static bool is_list(const json_t *value)
{
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!is_text(json_array_get(value, i)))
            return false;
    }
    return json_is_array(value);
}

static bool is_env(const json_t *value)
{
    if (!is_list(value))
        return false;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *text = manifest_text(json_array_get(value, i));

        if (*text == '=' || !strchr(text, '='))
            return false;
    }
    return true;
}

static const struct {
    const char *key;
    bool (*is)(const json_t *value);
    const char *expected;
} keys[] = {
    { "user", is_text, "a text" },
    { "workdir", is_text, "a text" },
    { "env", is_env, "a list of texts NAME=VALUE" },
    { "entrypoint", is_list, "a list of texts" },
    { "cmd", is_list, "a list of texts" },
};

static int check(json_t *config, struct err *err)
{
    const char *key;
    json_t *value;

    if (!json_is_object(config))
        return err_set(err, EINVAL, "an image's configuration is an object");
    json_object_foreach(config, key, value)
    {
        size_t i = 0;

        while (i < ARRAY_LEN(keys) && strcmp(keys[i].key, key) != 0)
            i++;
        if (i == ARRAY_LEN(keys))
            return err_set(err, EINVAL, "an image's configuration has no '%.40s'", key);
        if (!keys[i].is(value))
            return err_set(err, EINVAL, "%s: expected %s", key, keys[i].expected);
    }
    return 0;
}

int image_config_format(const json_t *config, char **ret_text, struct err *err)
{
    int rc = check((json_t *)(uintptr_t)config, err);

    if (rc < 0)
        return rc;
    _cleanup_free_ char *text = json_dumps(config, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text)
        return err_set(err, ENOMEM, "out of memory");
    if (strlen(text) > IMAGE_CONFIG_BYTES_MAX)
        return err_set(err, E2BIG, "an image's configuration has at most %u bytes",
                       IMAGE_CONFIG_BYTES_MAX);
    *ret_text = take_pointer(&text);
    return 0;
}

int image_config_parse(const char *text, size_t len, char **ret_text, struct err *err)
{
    json_error_t error;
    json_t *config = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);

    if (!config)
        return err_set(err, EINVAL, "an image's configuration is no JSON: %.80s", error.text);
    int rc = image_config_format(config, ret_text, err);
    json_decref(config);
    return rc;
}
