/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the commands on one object by its name; see named.h. */
#include "named.h"

#include <stdio.h>

#include "api.h"
#include "base/util.h"
#include "options.h"

int named_call(const struct named_request *request, const char *name, json_t **ret_json,
               struct err *err)
{
    _cleanup_api_ struct api api = { .client.fd = -1 };
    char path[API_PATH_BYTES];
    int rc = api_path(path, err, request->family, name, request->after);

    if (rc == 0)
        rc = api_init(&api, err);
    return rc < 0 ? rc
                  : api_call(&api, request->method, path, request->body,
                             request->timeout_ms ? request->timeout_ms : API_TIMEOUT_MS, ret_json,
                             err);
}

int named_run(const struct named_request *request, const struct cli_command *command, int argc,
              char **argv)
{
    struct options options = { .positional_min = 1, .positional_max = 1 };
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    return named_call(request, options.positionals[0], NULL, &err) < 0 ? cli_fail(&err)
                                                                       : CLI_EXIT_OK;
}

struct answer {
    const char *name;
    bool as_json;
    json_t *json;
};

/* `NAME [--json]` and the request. False: *ret_exit_code is the command's. */
static bool ask(const struct named_request *request, const struct cli_command *command, int argc,
                char **argv, struct answer *ret, int *ret_exit_code)
{
    const struct option_spec specs[] = {
        { "json", 0, OPTION_FLAG, &ret->as_json, NULL, "print JSON" },
    };
    struct options options = { specs, ARRAY_LEN(specs), .positional_min = 1, .positional_max = 1 };
    struct err err;

    *ret = (struct answer){ 0 };
    if (!options_parse(&options, command, argc, argv, ret_exit_code))
        return false;
    ret->name = options.positionals[0];
    if (named_call(request, ret->name, &ret->json, &err) == 0)
        return true;
    *ret_exit_code = cli_fail(&err);
    return false;
}

bool named_ask(const struct named_request *request, const struct cli_command *command, int argc,
               char **argv, json_t **ret_json, int *ret_exit_code)
{
    struct answer answer;

    if (!ask(request, command, argc, argv, &answer, ret_exit_code))
        return false;
    *ret_json = answer.json;
    if (answer.as_json)
        *ret_exit_code = api_print_json(answer.json);
    return !answer.as_json;
}

int named_verify(const struct named_request *request, const struct cli_command *command, int argc,
                 char **argv, const char *unit,
                 void (*print_damage)(const char *name, json_t *json))
{
    struct answer answer;
    int exit_code;

    if (!ask(request, command, argc, argv, &answer, &exit_code))
        return exit_code;
    _cleanup_json_ json_t *json = answer.json;
    bool ok = json_is_true(json_object_get(json, "ok"));
    if (answer.as_json && api_print_json(json) != CLI_EXIT_OK)
        return CLI_EXIT_FAILURE;
    if (!answer.as_json && ok)
        printf("%s: every %s is right (%" JSON_INTEGER_FORMAT " bytes in %" JSON_INTEGER_FORMAT
               " ms)\n",
               answer.name, unit, api_number_of(json, "checked_bytes"),
               api_number_of(json, "elapsed_ms"));
    else if (!answer.as_json)
        print_damage(answer.name, json);
    return ok ? CLI_EXIT_OK : CLI_EXIT_FINDING;
}
