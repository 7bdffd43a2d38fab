/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the commands that list: see listing.h. */
#include "listing.h"

#include <stdio.h>

#include "api.h"
#include "base/util.h"
#include "options.h"

static int path_make(const struct listing *listing, char ret_path[API_PATH_BYTES], struct err *err)
{
    char before[128];

    snprintf(ret_path, API_PATH_BYTES, "%s", listing->path);
    if (!listing->query || !*listing->query_value)
        return 0;
    snprintf(before, sizeof before, "%s?%s=", listing->path, listing->query);
    return api_path(ret_path, err, before, *listing->query_value, "");
}

int listing_run(const struct listing *listing, const struct cli_command *command, int argc,
                char **argv)
{
    bool as_json = false;
    struct option_spec specs[OPTIONS_MAX] = {
        { "json", 0, OPTION_FLAG, &as_json, NULL, "print JSON" },
    };
    struct options options = { specs, 1 + listing->spec_count };
    char path[API_PATH_BYTES];
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_json_ json_t *json = NULL;
    json_t *array;
    struct err err;
    int exit_code;

    for (size_t i = 0; i < listing->spec_count; i++)
        specs[1 + i] = listing->specs[i];
    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    if (path_make(listing, path, &err) < 0 || api_init(&api, &err) < 0 ||
        api_call(&api, "GET", path, NULL, API_TIMEOUT_MS, &json, &err) < 0 ||
        api_get_array(json, listing->key, &array, &err) < 0)
        return cli_fail(&err);
    if (as_json)
        return api_print_json(json);
    table_print(array, listing->columns, listing->column_count);
    return CLI_EXIT_OK;
}

int listing_print_one(const struct listing *listing, json_t *object, bool as_json)
{
    if (as_json)
        return api_print_json(object);
    _cleanup_json_ json_t *row = json_pack("[O]", object);
    table_print(row, listing->columns, listing->column_count);
    return CLI_EXIT_OK;
}
