/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the pool commands that show, size and delete pools. */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/util.h"
#include "cli.h"
#include "listing.h"
#include "named.h"
#include "options.h"
#include "pool_options.h"
#include "table.h"

#define POOLS "/v1/pools/"

static const struct table_column pool_columns[] = {
    { "NAME", "name", TABLE_TEXT },
    { "STATE", "state", TABLE_TEXT },
    { "MEMORY", "memory_bytes", TABLE_BYTES },
    { "VCPUS", "vcpus", TABLE_NUMBER },
    { "MIN", "min", TABLE_NUMBER },
    { "MAX", "max", TABLE_NUMBER },
    { "PARKED", "slots.parked", TABLE_NUMBER },
    { "LEASED", "slots.leased", TABLE_NUMBER },
    { "WAITING", "waiting", TABLE_NUMBER },
    { "ACQUIRES", "acquires", TABLE_NUMBER },
    { "BOOT", "cold_boot_ms", TABLE_MS },
    { "SNAPSHOT", "snapshot_ms", TABLE_MS },
};
const struct listing pool_listing = { "/v1/pools", "pools", pool_columns, ARRAY_LEN(pool_columns) };

static const struct table_column show_columns[] = {
    { "name", "name", TABLE_TEXT },
    { "state", "state", TABLE_TEXT },
    { "error", "error", TABLE_TEXT },
    { "created", "created", TABLE_TEXT },
    { "memory", "memory_bytes", TABLE_BYTES },
    { "vCPUs", "vcpus", TABLE_NUMBER },
    { "kernel", "kernel", TABLE_TEXT },
    { "initrd", "initrd", TABLE_TEXT },
    { "command line", "cmdline", TABLE_TEXT },
    { "warm-up", "warmup", TABLE_TEXT },
    { "service", "service", TABLE_TEXT },
    { "its port", "service_port", TABLE_NUMBER },
    { "image", "image", TABLE_TEXT },
    { "disk", "disk", TABLE_TEXT },
    { "network", "net", TABLE_TEXT },
    { "allowed", "net_allow", TABLE_TEXT },
    { "denied", "net_deny", TABLE_TEXT },
    { "snapshot", "snapshot", TABLE_TEXT },
    { "cold boot", "cold_boot_ms", TABLE_MS },
    { "snapshot took", "snapshot_ms", TABLE_MS },
    { "replaced", "generation", TABLE_NUMBER },
    { "replacement", "replacement.state", TABLE_TEXT },
    { "  its error", "replacement.error", TABLE_TEXT },
    { "min parked", "min", TABLE_NUMBER },
    { "shells wanted", "shells", TABLE_NUMBER },
    { "max VMs", "max", TABLE_NUMBER },
    { "preparing", "slots.preparing", TABLE_NUMBER },
    { "shells", "slots.shell", TABLE_NUMBER },
    { "parked", "slots.parked", TABLE_NUMBER },
    { "leased", "slots.leased", TABLE_NUMBER },
    { "stopping", "slots.stopping", TABLE_NUMBER },
    { "acquires", "acquires", TABLE_NUMBER },
    { "  with none parked", "missed", TABLE_NUMBER },
    { "waiting", "waiting", TABLE_NUMBER },
    { "refill pauses", "backoff_ms", TABLE_MS },
};

int cmd_pool_list_run(const struct cli_command *command, int argc, char **argv)
{
    return listing_run(&pool_listing, command, argc, argv);
}

static void failures_print(json_t *pool)
{
    const char *reason;
    json_t *count;

    json_object_foreach(json_object_get(pool, "failures"), reason, count)
    {
        if (json_integer_value(count) > 0)
            printf("failed: %-10s  %" JSON_INTEGER_FORMAT "\n", reason, json_integer_value(count));
    }
}

int cmd_pool_show_run(const struct cli_command *command, int argc, char **argv)
{
    const struct named_request request = { "GET", POOLS, "" };
    _cleanup_json_ json_t *pool = NULL;
    int exit_code;

    if (!named_ask(&request, command, argc, argv, &pool, &exit_code))
        return exit_code;
    table_print_fields(pool, show_columns, ARRAY_LEN(show_columns));
    failures_print(pool);
    return CLI_EXIT_OK;
}

int cmd_pool_scale_run(const struct cli_command *command, int argc, char **argv)
{
    int64_t min = -1, max = -1, shells = -1;
    const struct option_spec specs[] = {
        { "min", 0, OPTION_NUMBER, &min, "N", "VMs kept parked" },
        { "max", 0, OPTION_NUMBER, &max, "N", "VMs in all" },
        { "shells", 0, OPTION_NUMBER, &shells, "N", "processes kept ready without state" },
    };
    struct options options = { specs, ARRAY_LEN(specs), .positional_min = 1, .positional_max = 1 };
    _cleanup_json_ json_t *body = json_object();
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    if (min < 0 && max < 0 && shells < 0)
        return cli_failf("pool scale: give at least one of --min, --max and --shells");
    pool_option_number(body, "min", min);
    pool_option_number(body, "max", max);
    pool_option_number(body, "shells", shells);
    const struct named_request request = { "PATCH", POOLS, "", .body = body };
    return named_call(&request, options.positionals[0], NULL, &err) < 0 ? cli_fail(&err)
                                                                        : CLI_EXIT_OK;
}

int cmd_pool_delete_run(const struct cli_command *command, int argc, char **argv)
{
    bool force = false;
    const struct option_spec specs[] = {
        { "force", 'f', OPTION_FLAG, &force, NULL, "even while VMs of it are leased" },
    };
    struct options options = { specs, ARRAY_LEN(specs), .positional_min = 1, .positional_max = 1 };
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    const struct named_request request = { "DELETE", POOLS, force ? "?force=1" : "" };
    return named_call(&request, options.positionals[0], NULL, &err) < 0 ? cli_fail(&err)
                                                                        : CLI_EXIT_OK;
}
