/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what is taken over of an OCI image's configuration; see config.h. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"

static const struct {
    const char *theirs, *ours;
    bool list;
} keys[] = {
    { "User", "user", false }, { "WorkingDir", "workdir", false },
    { "Env", "env", true },    { "Entrypoint", "entrypoint", true },
    { "Cmd", "cmd", true },
};

static bool is_list_of_texts(const json_t *value)
{
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!json_is_string(json_array_get(value, i)))
            return false;
    }
    return json_is_array(value);
}

/* Absent, null and empty are one. */
static bool says_something(const json_t *value)
{
    return value && !json_is_null(value) &&
           !(json_is_array(value) && json_array_size(value) == 0) &&
           !(json_is_string(value) && json_string_length(value) == 0);
}

int oci_config_take(const json_t *configuration, json_t **ret_config, struct err *err)
{
    const json_t *theirs = json_object_get(configuration, "config");
    json_t *ours = json_object();

    if (!ours)
        return err_set(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        json_t *value = json_object_get(theirs, keys[i].theirs);

        if (!says_something(value))
            continue;
        if (keys[i].list ? !is_list_of_texts(value) : !json_is_string(value)) {
            json_decref(ours);
            return err_set(err, EINVAL, "the image's configuration has a '%s' that is no %s",
                           keys[i].theirs, keys[i].list ? "list of texts" : "text");
        }
        json_object_set(ours, keys[i].ours, value);
    }
    if (json_object_size(ours) == 0) {
        json_decref(ours);
        ours = NULL;
    }
    *ret_config = ours;
    return 0;
}
