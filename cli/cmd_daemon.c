/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the commands about poold itself: status, version, reload, shutdown. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "api.h"
#include "base/util.h"
#include "base/version.h"
#include "cli.h"
#include "options.h"
#include "table.h"
#include "version.h"

#define SHUTDOWN_TIMEOUT_MS 30000u
#define DRAIN_LOOK_MS 250u

static const struct table_column status_columns[] = {
    { "version", "version", TABLE_TEXT },
    { "pid", "pid", TABLE_NUMBER },
    { "uptime", "uptime_ms", TABLE_MS },
    { "kvm", "kvm.kind", TABLE_TEXT },
    { "pools", "pools", TABLE_NUMBER },
    { "leases", "leases", TABLE_NUMBER },
    { "VMs", "vms", TABLE_NUMBER },
    { "run directory", "run_dir", TABLE_TEXT },
    { "state directory", "state_dir", TABLE_TEXT },
    { "log", "log", TABLE_TEXT },
};

int cmd_status_run(const struct cli_command *command, int argc, char **argv)
{
    bool as_json = false;
    const struct option_spec specs[] = {
        { "json", 0, OPTION_FLAG, &as_json, NULL, "print JSON" },
    };
    struct options options = { specs, ARRAY_LEN(specs) };
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_json_ json_t *json = NULL;
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    if (api_init(&api, &err) < 0 ||
        api_call(&api, "GET", "/v1/status", NULL, API_TIMEOUT_MS, &json, &err) < 0)
        return cli_fail(&err);
    if (as_json)
        return api_print_json(json);
    printf("%-15s  %s\n", "socket", api.client.socket_path);
    table_print_fields(json, status_columns, ARRAY_LEN(status_columns));
    return CLI_EXIT_OK;
}

/* Works without poold: then only the client's own version is told. */
int cmd_version_run(const struct cli_command *command, int argc, char **argv)
{
    bool as_json = false;
    const struct option_spec specs[] = {
        { "json", 0, OPTION_FLAG, &as_json, NULL, "print JSON" },
    };
    struct options options = { specs, ARRAY_LEN(specs) };
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_json_ json_t *daemon = NULL;
    _cleanup_json_ json_t *json = NULL;
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    bool running = api_init(&api, &err) == 0 &&
                   api_call(&api, "GET", "/v1/version", NULL, API_TIMEOUT_MS, &daemon, &err) == 0;
    if (as_json) {
        json = json_pack("{s:{s:s,s:s},s:O?}", "voltctl", "version", VOLT_VERSION, "commit",
                         CLI_COMMIT, "poold", running ? daemon : NULL);
        return api_print_json(json);
    }
    printf("voltctl  %s (%s)\n", VOLT_VERSION, CLI_COMMIT);
    printf("poold    %s\n", running ? api_text_of(daemon, "version") : err.msg);
    return CLI_EXIT_OK;
}

int cmd_reload_run(const struct cli_command *command, int argc, char **argv)
{
    bool as_json = false;
    const struct option_spec specs[] = {
        { "json", 0, OPTION_FLAG, &as_json, NULL, "print JSON" },
    };
    struct options options = { specs, ARRAY_LEN(specs) };
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_json_ json_t *json = NULL;
    json_t *note;
    size_t i;
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    if (api_init(&api, &err) < 0 ||
        api_call(&api, "POST", "/v1/reload", NULL, API_TIMEOUT_MS, &json, &err) < 0)
        return cli_fail(&err);
    if (as_json)
        return api_print_json(json);
    json_array_foreach(json_object_get(json, "notes"), i, note) puts(json_string_value(note));
    return CLI_EXIT_OK;
}

/* A pidfd of the process that listens on the other end of a connection, or -errno. */
static int peer_open(int fd)
{
    struct ucred peer;
    socklen_t bytes = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0)
        return -errno;
    int pid_fd = (int)syscall(SYS_pidfd_open, peer.pid, 0);
    return pid_fd < 0 ? -errno : pid_fd;
}

/* Until poold (a pidfd, or -1) has ended or can't be asked any more, which comes just before: says how
 * many leases it waits for, whenever that changes. */
static void drain_await(struct api *api, int daemon)
{
    json_int_t told = -1;
    bool goes_on = true;

    while (goes_on) {
        _cleanup_json_ json_t *status = NULL;
        struct err err;

        goes_on = api_call(api, "GET", "/v1/status", NULL, API_TIMEOUT_MS, &status, &err) == 0 &&
                  strcmp(api_text_of(status, "state"), "draining") == 0;
        json_int_t leases = api_number_of(status, "leases");
        if (goes_on && leases != told)
            fprintf(stderr, "voltctl: %" JSON_INTEGER_FORMAT " lease%s left\n", leases,
                    leases == 1 ? " is" : "s are");
        told = leases;
        if (daemon < 0)
            usleep(DRAIN_LOOK_MS * 1000);
        else if (client_wait_readable(daemon, now_ns() + DRAIN_LOOK_MS * NS_PER_MS) == 0)
            return;
    }
}

/* Asks poold to end, and waits until it has. */
static int shutdown_ask(struct api *api, bool drain, uint64_t grace_ms, struct err *err)
{
    _cleanup_close_ int daemon = peer_open(api->client.fd);
    _cleanup_json_ json_t *body = NULL;

    if (drain)
        body = json_pack("{s:b, s:I}", "drain", 1, "grace_ms", (json_int_t)grace_ms);
    int rc = api_call(api, "POST", "/v1/shutdown", body, API_TIMEOUT_MS, NULL, err);
    if (rc < 0)
        return rc;
    if (drain)
        drain_await(api, daemon);
    /* A pidfd is readable once its process has ended. */
    uint64_t deadline_ns = now_ns() + SHUTDOWN_TIMEOUT_MS * NS_PER_MS;
    if (daemon >= 0 && client_wait_readable(daemon, deadline_ns) == -ETIMEDOUT)
        return err_set(err, ETIMEDOUT, "poold was asked to stop and still runs after %u s",
                       SHUTDOWN_TIMEOUT_MS / 1000);
    return 0;
}

int cmd_shutdown_run(const struct cli_command *command, int argc, char **argv)
{
    uint64_t grace_ms = UINT64_MAX;
    bool drain = false;
    const struct option_spec specs[] = {
        { "drain", 0, OPTION_FLAG, &drain, NULL,
          "give no new leases, and wait for those that are out" },
        { "grace", 0, OPTION_DURATION, &grace_ms, "TIME",
          "with --drain: no longer than that (default: as long as they last)" },
    };
    struct options options = { specs, ARRAY_LEN(specs) };
    _cleanup_api_ struct api api = { .client.fd = -1 };
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    if (grace_ms != UINT64_MAX && !drain)
        return cli_failf("shutdown: --grace is the time of --drain");
    /* No time at all is no drain. */
    if (api_init(&api, &err) < 0 ||
        shutdown_ask(&api, drain && grace_ms > 0, grace_ms == UINT64_MAX ? 0 : grace_ms, &err) < 0)
        return cli_fail(&err);
    return CLI_EXIT_OK;
}
