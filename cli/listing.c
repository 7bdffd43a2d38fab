/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the commands that list: see listing.h. */
#include "listing.h"

#include "api.h"
#include "base/util.h"
#include "options.h"

int listing_run(const struct listing *listing, const struct cli_command *command, int argc,
                char **argv)
{
    bool as_json = false;
    const struct option_spec specs[] = {
        { "json", 0, OPTION_FLAG, &as_json, NULL, "print JSON" },
    };
    struct options options = { specs, ARRAY_LEN(specs) };
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_json_ json_t *json = NULL;
    json_t *array;
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    if (api_init(&api, &err) < 0 ||
        api_call(&api, "GET", listing->path, NULL, API_TIMEOUT_MS, &json, &err) < 0 ||
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
