/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the family of function commands but invoke. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/util.h"
#include "cli.h"
#include "listing.h"
#include "named.h"
#include "options.h"
#include "pool_options.h"
#include "pool_wait.h"
#include "table.h"

#define FUNCTIONS "/v1/functions/"

static const struct table_column list_columns[] = {
    { "NAME", "name", TABLE_TEXT },
    { "RUNTIME", "runtime", TABLE_TEXT },
    { "STATE", "state", TABLE_TEXT },
    { "PARKED", "parked", TABLE_NUMBER },
    { "ON", "on", TABLE_NUMBER },
    { "QUEUED", "queued", TABLE_NUMBER },
    { "ANSWERED", "results.answered", TABLE_NUMBER },
    { "FAILED", "results.failed", TABLE_NUMBER },
    { "TIMED OUT", "results.timed_out", TABLE_NUMBER },
    { "HANDLER", "handler", TABLE_TEXT },
};
static const struct listing function_listing = { "/v1/functions", "functions", list_columns,
                                                 ARRAY_LEN(list_columns) };

static const struct table_column show_columns[] = {
    { "name", "name", TABLE_TEXT },
    { "state", "state", TABLE_TEXT },
    { "error", "error", TABLE_TEXT },
    { "created", "created", TABLE_TEXT },
    { "runtime", "runtime", TABLE_TEXT },
    { "handler", "handler", TABLE_TEXT },
    { "port", "port", TABLE_NUMBER },
    { "image", "image", TABLE_TEXT },
    { "memory", "memory_bytes", TABLE_BYTES },
    { "calls at once", "concurrency", TABLE_NUMBER },
    { "  may wait", "queue", TABLE_NUMBER },
    { "  so long", "queue_ms", TABLE_MS },
    { "time limit", "timeout_ms", TABLE_MS },
    { "calls a VM", "reuse", TABLE_NUMBER },
    { "min parked", "min", TABLE_NUMBER },
    { "max VMs", "max", TABLE_NUMBER },
    { "parked", "parked", TABLE_NUMBER },
    { "on", "on", TABLE_NUMBER },
    { "queued", "queued", TABLE_NUMBER },
    { "answered", "results.answered", TABLE_NUMBER },
    { "failed", "results.failed", TABLE_NUMBER },
    { "timed out", "results.timed_out", TABLE_NUMBER },
    { "no VM", "results.no_vm", TABLE_NUMBER },
    { "refused", "results.refused", TABLE_NUMBER },
};

/* ---- create ---- */

struct create {
    struct pool_options pool;
    const char *runtime, *handler;
    int64_t port, concurrency, queue, reuse;
    uint64_t queue_ms, timeout_ms; /* 0: not given */
    bool as_json, no_wait;
};

static int create_body(const char *name, const struct create *create, json_t **ret_body,
                       struct err *err)
{
    _cleanup_json_ json_t *body = NULL;
    int rc = pool_options_body(&create->pool, name, &body, err);

    if (rc < 0)
        return rc;
    if (json_object_set_new(body, "handler", json_string(create->handler)) < 0)
        return err_set(err, EINVAL, "--handler is not valid UTF-8");
    if (create->runtime)
        json_object_set_new(body, "runtime", json_string(create->runtime));
    pool_option_number(body, "port", create->port);
    pool_option_number(body, "concurrency", create->concurrency);
    pool_option_number(body, "queue", create->queue);
    pool_option_number(body, "reuse", create->reuse);
    if (create->queue_ms)
        pool_option_number(body, "queue_ms", (int64_t)create->queue_ms);
    if (create->timeout_ms)
        pool_option_number(body, "timeout_ms", (int64_t)create->timeout_ms);
    *ret_body = json_incref(body);
    return 0;
}

/* *ret_function is the caller's. */
static int function_create(const char *name, const struct create *create, json_t **ret_function,
                           struct err *err)
{
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_json_ json_t *body = NULL;
    _cleanup_json_ json_t *made = NULL;
    _cleanup_json_ json_t *pool = NULL;
    char path[API_PATH_BYTES];
    int rc = create_body(name, create, &body, err);

    if (rc == 0)
        rc = api_path(path, err, FUNCTIONS, name, "");
    if (rc == 0)
        rc = api_init(&api, err);
    if (rc == 0)
        rc = api_call(&api, "POST", "/v1/functions", body, API_TIMEOUT_MS, &made, err);
    if (rc == 0 && create->no_wait) {
        *ret_function = json_incref(made);
        return 0;
    }
    if (rc == 0)
        rc = pool_wait(&api, name, &pool, err);
    return rc < 0 ? rc : api_call(&api, "GET", path, NULL, API_TIMEOUT_MS, ret_function, err);
}

int cmd_function_create_run(const struct cli_command *command, int argc, char **argv)
{
    struct create create = {
        .pool = POOL_OPTIONS_NONE, .port = -1, .concurrency = -1, .queue = -1, .reuse = -1
    };
    const struct option_spec own[] = {
        { "handler", 0, OPTION_STRING, &create.handler, "CMD",
          "the function: started by /bin/sh -c before the snapshot is taken" },
        { "runtime", 0, OPTION_STRING, &create.runtime, "http|lambda|doorbell",
          "http: it is sent requests at its port; lambda: it asks for events by AWS Lambda's "
          "Runtime API; doorbell: it waits for its calls in user mode, by libvolt_function "
          "(http)" },
        { "port", 0, OPTION_NUMBER, &create.port, "PORT",
          "TCP port where it accepts connections; it finds it in PORT (8080)" },
        { "timeout", 0, OPTION_DURATION, &create.timeout_ms, "TIME",
          "a call's VM is killed that long after it was given it (30s)" },
        { "concurrency", 0, OPTION_NUMBER, &create.concurrency, "N", "calls at once (--max)" },
        { "queue", 0, OPTION_NUMBER, &create.queue, "N", "calls that may wait beside them (64)" },
        { "queue-time", 0, OPTION_DURATION, &create.queue_ms, "TIME",
          "how long one may wait for its VM (30s)" },
        { "reuse", 0, OPTION_NUMBER, &create.reuse, "N", "calls that one VM serves (1)" },
        { "warmup", 0, OPTION_STRING, &create.pool.warmup, "CMD",
          "run before the function starts" },
        { "no-wait", 0, OPTION_FLAG, &create.no_wait, NULL, "do not wait until it is ready" },
        { "json", 0, OPTION_FLAG, &create.as_json, NULL, "print JSON" },
    };
    struct option_spec specs[ARRAY_LEN(own) + POOL_OPTION_COUNT];
    struct options options = { specs, ARRAY_LEN(specs), .positional_min = 1, .positional_max = 1 };
    _cleanup_json_ json_t *function = NULL;
    struct err err;
    int exit_code;

    memcpy(specs, own, sizeof own);
    pool_options_specs(&create.pool, specs + ARRAY_LEN(own));
    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    if (!create.handler)
        return cli_failf("function create: give --handler CMD");
    /* Its start is what warms a VM up. */
    create.pool.warmup = create.pool.warmup ? create.pool.warmup : "";
    if (function_create(options.positionals[0], &create, &function, &err) < 0) {
        err_wrap(&err, "function %s", options.positionals[0]);
        return cli_fail(&err);
    }
    return listing_print_one(&function_listing, function, create.as_json);
}

/* ---- The others ---- */

int cmd_function_list_run(const struct cli_command *command, int argc, char **argv)
{
    return listing_run(&function_listing, command, argc, argv);
}

int cmd_function_show_run(const struct cli_command *command, int argc, char **argv)
{
    const struct named_request request = { "GET", FUNCTIONS, "" };
    _cleanup_json_ json_t *function = NULL;
    int exit_code;

    if (!named_ask(&request, command, argc, argv, &function, &exit_code))
        return exit_code;
    table_print_fields(function, show_columns, ARRAY_LEN(show_columns));
    return CLI_EXIT_OK;
}

int cmd_function_delete_run(const struct cli_command *command, int argc, char **argv)
{
    bool force = false;
    const struct option_spec specs[] = {
        { "force", 'f', OPTION_FLAG, &force, NULL, "even while calls of it are under way" },
    };
    struct options options = { specs, ARRAY_LEN(specs), .positional_min = 1, .positional_max = 1 };
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    const struct named_request request = { "DELETE", FUNCTIONS, force ? "?force=1" : "" };
    return named_call(&request, options.positionals[0], NULL, &err) < 0 ? cli_fail(&err)
                                                                        : CLI_EXIT_OK;
}

/* A line for the call, and what its function wrote. */
static void record_print(json_t *record)
{
    json_t *lines = json_object_get(record, "log"), *line;
    const json_int_t status = api_number_of(record, "status");
    size_t i;

    printf("%s %s %s", api_text_of(record, "began"), api_text_of(record, "invocation"),
           api_text_of(record, "result"));
    if (status > 0)
        printf(" %" JSON_INTEGER_FORMAT, status);
    printf(" %.3f ms\n", (double)api_number_of(record, "run_us") / 1000);
    json_array_foreach(lines, i, line)
    {
        printf("    %s\n", json_string_value(line) ? json_string_value(line) : "");
    }
}

int cmd_function_logs_run(const struct cli_command *command, int argc, char **argv)
{
    const struct named_request request = { "GET", FUNCTIONS, "/logs" };
    _cleanup_json_ json_t *json = NULL;
    json_t *records, *record;
    struct err err;
    int exit_code;
    size_t i;

    if (!named_ask(&request, command, argc, argv, &json, &exit_code))
        return exit_code;
    if (api_get_array(json, "invocations", &records, &err) < 0)
        return cli_fail(&err);
    json_array_foreach(records, i, record)
    {
        record_print(record);
    }
    return CLI_EXIT_OK;
}
