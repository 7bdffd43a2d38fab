/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the commands exec and run: a command in a VM that is leased, or in one of its own. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "base/util.h"
#include "cli.h"
#include "exec_config.h"
#include "exec_env.h"
#include "exec_lease.h"
#include "lease.h"
#include "options.h"

/* The options that both have. */
struct exec_options {
    bool interactive, tty, stdin_env;
    const char *cwd, *user;
    uint64_t timeout_ms, kill_after_ms;
    struct option_list env, env_files;
};

static void exec_options_fini(struct exec_options *exec)
{
    option_list_fini(&exec->env);
    option_list_fini(&exec->env_files);
}

#define EXEC_SPECS(o)                                                                                 \
    { "interactive", 'i', OPTION_FLAG, &(o)->interactive, NULL, "pass standard input on" },           \
        { "tty", 't', OPTION_FLAG, &(o)->tty, NULL, "give CMD a terminal" },                          \
        { "env", 'e', OPTION_LIST, &(o)->env, "K=V", "set a variable; K alone: our value of it" },    \
        { "env-file",      0,      OPTION_LIST,                                                       \
          &(o)->env_files, "FILE", "set those of a file, one a line; -e goes before it" },            \
        { "stdin-env", 0, OPTION_FLAG, &(o)->stdin_env, NULL, "set those of our standard input" },    \
        { "user",         'u',                                                                        \
          OPTION_STRING,  &(o)->user,                                                                 \
          "USER[:GROUP]", "run CMD as this user of the guest, by name or number (root)" },            \
        { "workdir", 'w', OPTION_STRING, &(o)->cwd, "DIR", "start CMD in this directory" },           \
        { "timeout", 0, OPTION_DURATION, &(o)->timeout_ms, "TIME", "end CMD after that (exit 124)" }, \
    {                                                                                                 \
        "kill-after", 0, OPTION_DURATION, &(o)->kill_after_ms, "TIME",                                \
            "what CMD has to end itself when SIGTERM comes (default 10s; 0: for ever)"                \
    }

#define KILL_AFTER_MS 10000
#define HOLD_SECONDS 3600u

/* The environment: our terminal's kind, the files, standard input, then -e. */
static int exec_env_make(const struct exec_options *exec, struct exec_env *env, struct err *err)
{
    int rc = exec->tty ? exec_env_add(env, "TERM", err) : 0;

    if (exec->stdin_env && exec->interactive)
        return err_set(err, EINVAL, "--stdin-env and --interactive both want standard input");

    for (size_t i = 0; rc == 0 && i < exec->env_files.count; i++)
        rc = exec_env_add_file(env, exec->env_files.items[i], err);
    if (rc == 0 && exec->stdin_env)
        rc = exec_env_add_stream(env, stdin, "standard input", err);
    for (size_t i = 0; rc == 0 && i < exec->env.count; i++)
        rc = exec_env_add(env, exec->env.items[i], err);
    return rc;
}

/* What is to be run in a lease. */
struct exec_what {
    const struct exec_options *options;
    struct exec_env *env;
    const struct options *words;
    bool whole;             /* with the entry point of the pool's image */
    const char *entrypoint; /* in its place; NULL: none */
};

/* The request, with what the image says of starting its programs. */
static int request_make(struct api *api, const char *lease, const struct exec_what *what,
                        struct exec_config *config, struct exec_request *request, struct err *err)
{
    int rc = exec_config_get(config, api, lease, err);

    if (rc == 0)
        rc = exec_config_apply(config, request, what->env, err);
    if (rc == 0 && what->whole)
        rc = exec_config_command(config, what->entrypoint, request, err);
    return rc;
}

static int exec_in(struct api *api, const char *lease, const struct exec_what *what)
{
    const struct exec_options *exec = what->options;
    struct exec_request request = {
        .argc = what->words->rest_count,
        .argv = what->words->rest,
        .cwd = exec->cwd,
        .user = exec->user,
        .env = what->env,
        .timeout_ms = (uint32_t)exec->timeout_ms,
        .kill_after_ms = (uint32_t)exec->kill_after_ms,
        .interactive = exec->interactive,
        .tty = exec->tty,
    };
    _cleanup_exec_config_ struct exec_config config = { 0 };
    struct err err;
    int exit_code;

    if (request_make(api, lease, what, &config, &request, &err) < 0)
        return cli_fail(&err);
    if (exec_lease_run(api, lease, &request, &exit_code, &err) < 0)
        return cli_fail(&err);
    return exit_code;
}

int cmd_exec_run(const struct cli_command *command, int argc, char **argv)
{
    __attribute__((cleanup(exec_options_fini))) struct exec_options exec = { .kill_after_ms =
                                                                                 KILL_AFTER_MS };
    _cleanup_exec_env_ struct exec_env env = { 0 };
    const struct option_spec specs[] = { EXEC_SPECS(&exec) };
    struct options options = { specs, ARRAY_LEN(specs), .positional_min = 1, .positional_max = 1,
                               .takes_command = true };
    _cleanup_api_ struct api api = { .client.fd = -1 };
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    if (exec_env_make(&exec, &env, &err) < 0 || api_init(&api, &err) < 0)
        return cli_fail(&err);
    const struct exec_what what = { .options = &exec, .env = &env, .words = &options };
    return exec_in(&api, options.positionals[0], &what);
}

/* Until SIGINT, SIGTERM or SIGHUP; at most an hour, as nobody may be there. The signals of the
 * command's session are blocked no more, but were handed to it, so that none is pending. */
static void vm_hold(const char *lease)
{
    const struct timespec most = { .tv_sec = HOLD_SECONDS };
    sigset_t ends, before;

    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    sigprocmask(SIG_BLOCK, &ends, &before);
    fprintf(stderr,
            "voltctl: the VM is held for %u minutes: 'voltctl exec -it %.12s -- sh' looks into it, "
            "Ctrl-C throws it away\n",
            HOLD_SECONDS / 60, lease);
    sigtimedwait(&ends, NULL, &most);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

/* The lease is bound to lease_api's connection, which stays open and unused until all is done: if
 * we are killed at any moment, poold sees it end and takes the VM back. */
int cmd_run_run(const struct cli_command *command, int argc, char **argv)
{
    __attribute__((cleanup(exec_options_fini))) struct exec_options exec = { .kill_after_ms =
                                                                                 KILL_AFTER_MS };
    _cleanup_exec_env_ struct exec_env env = { 0 };
    _cleanup_lease_request_ struct lease_request request = { .wait_ms = 5000,
                                                             .ttl_set = true,
                                                             .bind = true };
    bool hold = false;
    const char *entrypoint = NULL;
    const struct option_spec specs[] = {
        EXEC_SPECS(&exec),
        { "wait", 0, OPTION_DURATION, &request.wait_ms, "TIME",
          "queue for a VM that long (default 5s; then exit 75)" },
        { "publish", 'p', OPTION_STRING, &request.publish, "[ADDR:]HOST:GUEST[/udp][,...]",
          "forward ports of the host to the VM's, in a pool with --net user" },
        LEASE_LABEL_SPEC(&request),
        VOLUME_SPECS(&request.volumes),
        { "hold", 0, OPTION_FLAG, &hold, NULL,
          "when CMD fails, keep the VM for a look into it, until Ctrl-C" },
        { "entrypoint", 0, OPTION_STRING, &entrypoint, "PROGRAM",
          "instead of the entry point and command of the pool's image ('': none)" },
    };
    struct options options = { specs, ARRAY_LEN(specs), .positional_max = 1, .takes_command = true,
                               .may_lack_command = true };
    _cleanup_api_ struct api lease_api = { .client.fd = -1 };
    _cleanup_api_ struct api exec_api = { .client.fd = -1 };
    _cleanup_json_ json_t *lease = NULL;
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    request.pool = options.positional_count ? options.positionals[0] : NULL;
    if (exec_env_make(&exec, &env, &err) < 0)
        return cli_fail(&err);
    if (api_init(&lease_api, &err) < 0 || lease_acquire(&lease_api, &request, &lease, &err) < 0)
        return lease_fail(&err);
    if (api_init(&exec_api, &err) < 0)
        return cli_fail(&err);
    const char *id = api_text_of(lease, "lease");
    const struct exec_what what = { &exec, &env, &options, true, entrypoint };
    exit_code = exec_in(&exec_api, id, &what);
    if (hold && exit_code != CLI_EXIT_OK)
        vm_hold(id);
    /* Of a command that failed nothing is kept. */
    const bool writes = volumes_write(&request.volumes), discard = writes && exit_code;
    if (lease_release(&exec_api, id, discard, &err) < 0 &&
        ((writes && !discard) || err.code != API_ERROR_MISSING)) {
        err_wrap(&err, "releasing the VM");
        return exit_code ? (cli_fail(&err), exit_code) : cli_fail(&err);
    }
    return exit_code;
}
