/* SPDX-License-Identifier: Apache-2.0 */
/* Owns `voltctl names`: what there is of a kind, a name a line, for shells and scripts. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/util.h"
#include "cli.h"
#include "options.h"

static const struct kind {
    const char *name, *path, *array, *member;
} kinds[COMPLETE_COUNT] = {
    [COMPLETE_NOTHING] = { "", NULL, NULL, NULL },
    [COMPLETE_FILE] = { "file", NULL, NULL, NULL },
    [COMPLETE_POOL] = { "pools", "/v1/pools", "pools", "name" },
    [COMPLETE_LEASE] = { "leases", "/v1/leases", "leases", "lease" },
    [COMPLETE_IMAGE] = { "images", "/v1/images", "images", "name" },
    [COMPLETE_SNAPSHOT] = { "snapshots", "/v1/snapshots", "snapshots", "name" },
    [COMPLETE_VOLUME] = { "volumes", "/v1/volumes", "volumes", "name" },
};

const char *complete_name(enum complete complete)
{
    return kinds[complete].name;
}

static const struct kind *kind_find(const char *name)
{
    for (unsigned i = 0; i < COMPLETE_COUNT; i++) {
        if (kinds[i].path && strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    }
    return NULL;
}

static int names_print(const struct kind *kind, struct err *err)
{
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_json_ json_t *json = NULL;
    json_t *array, *object;
    size_t i;

    if (api_init(&api, err) < 0 ||
        api_call(&api, "GET", kind->path, NULL, API_TIMEOUT_MS, &json, err) < 0 ||
        api_get_array(json, kind->array, &array, err) < 0)
        return -err->code;
    json_array_foreach(array, i, object)
    {
        const char *name;

        if (api_get_string(object, kind->member, &name, err) < 0)
            return -err->code;
        puts(name);
    }
    return 0;
}

int cmd_names_run(const struct cli_command *command, int argc, char **argv)
{
    struct options options = { .positional_min = 1, .positional_max = 1 };
    const struct kind *kind;
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    kind = kind_find(options.positionals[0]);
    if (!kind)
        return cli_failf("names: there are pools, leases, images, snapshots and volumes, not '%s'",
                         options.positionals[0]);
    return names_print(kind, &err) < 0 ? cli_fail(&err) : CLI_EXIT_OK;
}
