/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what an image says of starting its programs; see exec_config.h. */
#include "exec_config.h"

#include <errno.h>
#include <stdlib.h>

#include "base/util.h"

#define TIMEOUT_MS 30000u

int exec_config_get(struct exec_config *config, struct api *api, const char *lease, struct err *err)
{
    char path[API_PATH_BYTES];
    int rc = api_path(path, err, "/v1/leases/", lease, "/config");

    if (rc == 0)
        rc = api_call(api, "GET", path, NULL, TIMEOUT_MS, &config->json, err);
    if (rc == 0 && !json_is_object(config->json))
        rc = err_set(err, EPROTO, "poold's answer has no configuration of the image");
    return rc;
}

/* A text that is there and not empty, else NULL. */
static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text && *text ? text : NULL;
}

int exec_config_apply(const struct exec_config *config, struct exec_request *request,
                      struct exec_env *env, struct err *err)
{
    const json_t *variables = json_object_get(config->json, "env");
    int rc = 0;

    if (!request->user)
        request->user = text_of(config->json, "user");
    if (!request->cwd)
        request->cwd = text_of(config->json, "workdir");
    for (size_t i = 0; rc == 0 && i < json_array_size(variables); i++) {
        const char *item = json_string_value(json_array_get(variables, i));

        rc = item ? exec_env_default(env, item, err) : 0;
    }
    return rc;
}

static void words_add(struct exec_config *config, const json_t *words)
{
    for (size_t i = 0; i < json_array_size(words); i++) {
        const char *word = json_string_value(json_array_get(words, i));

        if (word)
            config->argv[config->argc++] = (char *)(uintptr_t)word;
    }
}

int exec_config_command(struct exec_config *config, const char *entrypoint,
                        struct exec_request *request, struct err *err)
{
    const json_t *first = json_object_get(config->json, "entrypoint");
    const json_t *rest = json_object_get(config->json, "cmd");

    config->argv =
        calloc(json_array_size(first) + json_array_size(rest) + (size_t)request->argc + 2,
               sizeof *config->argv);
    if (!config->argv)
        return err_set(err, ENOMEM, "out of memory");
    if (!entrypoint)
        words_add(config, first);
    else if (*entrypoint)
        config->argv[config->argc++] = (char *)(uintptr_t)entrypoint;
    for (int i = 0; i < request->argc; i++)
        config->argv[config->argc++] = request->argv[i];
    if (request->argc == 0 && !entrypoint)
        words_add(config, rest);
    if (config->argc == 0)
        return err_set(err, EINVAL,
                       "there is no command to run, and the pool's image has none; put it behind "
                       "'--': voltctl run POOL -- CMD");
    request->argv = config->argv;
    request->argc = config->argc;
    return 0;
}

void exec_config_fini(struct exec_config *config)
{
    json_decref(config->json);
    free(config->argv);
    *config = (struct exec_config){ 0 };
}
