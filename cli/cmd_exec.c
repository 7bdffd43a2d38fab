/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the commands exec and run: a command in a VM that is leased, or in one of its own. */
#include <errno.h>
#include <stdio.h>

#include "base/util.h"
#include "cli.h"
#include "exec_session.h"
#include "lease.h"
#include "options.h"

/* The options that both have. */
struct exec_options {
    bool interactive, tty;
    const char *cwd;
    uint64_t timeout_ms;
    struct option_list env;
};

#define EXEC_SPECS(o)                                                                              \
    { "interactive", 'i', OPTION_FLAG, &(o)->interactive, NULL, "pass standard input on" },        \
        { "tty", 't', OPTION_FLAG, &(o)->tty, NULL, "give CMD a terminal" },                       \
        { "env", 'e', OPTION_LIST, &(o)->env, "K=V", "set a variable; K alone: our value of it" }, \
        { "workdir", 'w', OPTION_STRING, &(o)->cwd, "DIR", "start CMD in this directory" },        \
    {                                                                                              \
        "timeout", 0, OPTION_DURATION, &(o)->timeout_ms, "TIME", "end CMD after that (exit 124)"   \
    }

static int exec_in(struct api *api, const char *lease, const struct exec_options *exec,
                   const struct options *options)
{
    const struct exec_request request = {
        .argc = options->rest_count,
        .argv = options->rest,
        .cwd = exec->cwd,
        .env = exec->env.items,
        .env_count = exec->env.count,
        .timeout_ms = (uint32_t)exec->timeout_ms,
        .interactive = exec->interactive,
        .tty = exec->tty,
    };
    _cleanup_agent_ struct agent *agent = NULL;
    struct err err;
    int exit_code;

    if (agent_open(&agent, api, lease, &err) < 0 ||
        exec_session_run(agent, &request, &exit_code, &err) < 0) {
        err_wrap(&err, "lease %.12s", lease);
        return cli_fail(&err);
    }
    return exit_code;
}

int cmd_exec_run(const struct cli_command *command, int argc, char **argv)
{
    struct exec_options exec = { 0 };
    const struct option_spec specs[] = { EXEC_SPECS(&exec) };
    struct options options = { specs, ARRAY_LEN(specs), .positional_min = 1, .positional_max = 1,
                               .takes_command = true };
    _cleanup_api_ struct api api = { .client.fd = -1 };
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    if (api_init(&api, &err) < 0)
        return cli_fail(&err);
    return exec_in(&api, options.positionals[0], &exec, &options);
}

/* The lease is bound to lease_api's connection, which stays open and unused until CMD is done: if
 * we are killed at any moment, poold sees it end and takes the VM back. */
int cmd_run_run(const struct cli_command *command, int argc, char **argv)
{
    struct exec_options exec = { 0 };
    struct lease_request request = { .wait_ms = 5000, .ttl_set = true, .bind = true };
    const struct option_spec specs[] = {
        EXEC_SPECS(&exec),
        { "wait", 0, OPTION_DURATION, &request.wait_ms, "TIME",
          "queue for a VM that long (default 5s; then exit 75)" },
        { "publish", 'p', OPTION_STRING, &request.publish, "HOST:GUEST[/udp][,...]",
          "forward ports of the host to the VM's, in a pool with --net user" },
    };
    struct options options = { specs, ARRAY_LEN(specs), .positional_max = 1,
                               .takes_command = true };
    _cleanup_api_ struct api lease_api = { .client.fd = -1 };
    _cleanup_api_ struct api exec_api = { .client.fd = -1 };
    _cleanup_json_ json_t *lease = NULL;
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    request.pool = options.positional_count ? options.positionals[0] : NULL;
    if (api_init(&lease_api, &err) < 0 || lease_acquire(&lease_api, &request, &lease, &err) < 0)
        return lease_fail(&err);
    if (api_init(&exec_api, &err) < 0)
        return cli_fail(&err);
    const char *id = api_text_of(lease, "lease");
    exit_code = exec_in(&exec_api, id, &exec, &options);
    if (lease_release(&lease_api, id, &err) < 0 && err.code != API_ERROR_MISSING) {
        err_wrap(&err, "releasing the VM");
        return exit_code ? (cli_fail(&err), exit_code) : cli_fail(&err);
    }
    return exit_code;
}
