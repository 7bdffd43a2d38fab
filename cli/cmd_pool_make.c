/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the commands that boot a pool's snapshot: create, replace. */
#include <string.h>

#include "api.h"
#include "base/util.h"
#include "cli.h"
#include "listing.h"
#include "options.h"
#include "pool_options.h"
#include "pool_wait.h"

/* What the command line says. */
struct making {
    bool replaces;
    struct pool_options given;
    bool as_json, no_wait;
};

#define OWN_COUNT 7
#define SPEC_COUNT (POOL_OPTION_COUNT + OWN_COUNT)

static void specs_fill(struct making *making, struct option_spec ret_specs[SPEC_COUNT])
{
    struct pool_options *given = &making->given;
    const struct option_spec own[OWN_COUNT] = {
        { "warmup", 0, OPTION_STRING, &given->warmup, "CMD",
          "run before the snapshot is taken ('" POOL_WARMUP_DEFAULT
          "' without --initrd, --image and --disk; '' for none)" },
        { "service", 0, OPTION_STRING, &given->service, "CMD",
          "started before the snapshot is taken, and goes on in each VM" },
        { "service-port", 0, OPTION_NUMBER, &given->service_port, "PORT",
          "TCP port where it accepts connections; it finds it in PORT" },
        { "service-gate", 0, OPTION_FLAG, &given->service_gate, NULL,
          "instead of a port: it asks for its calls by Lambda's Runtime API" },
        { "service-bell", 0, OPTION_FLAG, &given->service_bell, NULL,
          "instead of a port: it waits for them at the VM's doorbell" },
        { "no-wait", 0, OPTION_FLAG, &making->no_wait, NULL, "do not wait until it is ready" },
        { "json", 0, OPTION_FLAG, &making->as_json, NULL, "print JSON" },
    };

    pool_options_specs(given, ret_specs);
    memcpy(ret_specs + POOL_OPTION_COUNT, own, sizeof own);
}

/* *ret_pool is the caller's (json_decref). */
static int pool_make(const char *name, const struct making *making, json_t **ret_pool,
                     struct err *err)
{
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_json_ json_t *body = NULL;
    _cleanup_json_ json_t *pool = NULL;
    _cleanup_json_ json_t *ready = NULL;
    char path[API_PATH_BYTES] = "/v1/pools";
    int rc = pool_options_body(&making->given, making->replaces ? NULL : name, &body, err);

    if (rc == 0 && making->replaces)
        rc = api_path(path, err, "/v1/pools/", name, "/replace");
    if (rc == 0)
        rc = api_init(&api, err);
    if (rc == 0)
        rc = api_call(&api, "POST", path, body, API_TIMEOUT_MS, &pool, err);
    if (rc == 0 && !making->no_wait)
        rc = making->replaces ? pool_wait_replaced(&api, name, pool, &ready, err)
                              : pool_wait(&api, name, &ready, err);
    if (rc < 0)
        return rc;
    *ret_pool = json_incref(ready ? ready : pool);
    return 0;
}

static int run(struct making *making, const struct cli_command *command, int argc, char **argv)
{
    struct option_spec specs[SPEC_COUNT];
    struct options options = { specs, SPEC_COUNT, .positional_min = 1, .positional_max = 1 };
    _cleanup_json_ json_t *pool = NULL;
    struct err err;
    int exit_code;

    specs_fill(making, specs);
    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    if (pool_make(options.positionals[0], making, &pool, &err) < 0) {
        err_wrap(&err, "pool %s", options.positionals[0]);
        return cli_fail(&err);
    }
    return listing_print_one(&pool_listing, pool, making->as_json);
}

int cmd_pool_create_run(const struct cli_command *command, int argc, char **argv)
{
    struct making making = { .given = POOL_OPTIONS_NONE };

    return run(&making, command, argc, argv);
}

int cmd_pool_replace_run(const struct cli_command *command, int argc, char **argv)
{
    struct making making = { .replaces = true, .given = POOL_OPTIONS_NONE };

    return run(&making, command, argc, argv);
}
