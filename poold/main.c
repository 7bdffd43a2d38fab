/* SPDX-License-Identifier: Apache-2.0 */
/* Owns poold's main: options in, daemon run, one report of what went wrong. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/process.h"
#include "base/prompt.h"
#include "base/std_fds.h"
#include "base/util.h"
#include "base/version.h"
#include "config.h"
#include "daemon.h"
#include "host/rights.h"
#include "http/access.h"
#include "keep/keeper.h"
#include "remote.h"

/* The configuration and the policy are right: says so. */
static int check_run(const struct config *config, const struct declarations *declarations)
{
    struct access_policy *policy = NULL;
    struct remote_files remote = { 0 };
    struct err err = { 0 };

    if (access_policy_read(config->policy, &policy, &err) == 0 &&
        remote_read(config, &remote, &err) == 0)
        e2b_check(config, &err);
    access_policy_free(policy);
    remote_files_free(&remote);
    if (err.code) {
        fprintf(stderr, "poold: %s\n", err.msg);
        return EX_CONFIG;
    }
    printf("%s%s: no fault found; %zu pools and functions are declared\n", config->file,
           access(config->file, F_OK) == 0 ? "" : " (which is not there)", declarations->count);
    return EX_OK;
}

static int run(const struct config *config, struct declarations *declarations, int argc,
               char **argv)
{
    _cleanup_free_ struct daemon *daemon = malloc(sizeof *daemon);
    struct err err = { 0 };

    if (!daemon) {
        log_error("out of memory");
        return EXIT_FAILURE;
    }
    if (rights_reduce(&err) < 0) {
        log_error("%s", err.msg);
        return EXIT_FAILURE;
    }
    if (daemon_init(daemon, config, declarations, argc, argv, &err) < 0) {
        log_error("%s", err.msg);
        daemon_fini(daemon);
        return EXIT_FAILURE;
    }
    if (config->vms.stop_only)
        daemon_shutdown(daemon);
    else
        log_info("poold %s listens on %s, state in %s", VOLT_VERSION, config->socket,
                 config->state_dir);
    prompt_want(true);
    daemon_run(daemon);
    if (daemon->leaving) {
        /* Nothing is ended or undone: all of it is the next poold's. */
        prompt_stop();
        keep_hand_over(&daemon->vms.keep);
        log_info("left");
        _exit(EX_OK);
    }
    daemon_fini(daemon);
    log_info("stopped");
    return EX_OK;
}

int main(int argc, char **argv)
{
    static struct config config;
    struct declarations declarations;
    struct err err = { 0 };
    int status = EX_OK;

    std_fds_ensure();
    if (argc > 1 && strcmp(argv[1], KEEPER_COMMAND) == 0)
        return keeper_main();
    int rc = config_load(&config, &declarations, argc, argv, &err);

    log_set_level(config.log_level);
    if (rc < 0) {
        fprintf(stderr, "poold: %s\n", err.msg);
        status = rc == -EINVAL ? EX_USAGE : EX_CONFIG;
    } else if (config.show_help) {
        config_print_help(stdout);
    } else if (config.show_version) {
        printf("poold %s\n", VOLT_VERSION);
    } else if (config.check_only) {
        status = check_run(&config, &declarations);
    } else if (!config.vms.stop_only && e2b_check(&config, &err) < 0) {
        fprintf(stderr, "poold: %s\n", err.msg);
        status = EX_CONFIG;
    } else {
        if (config.vms.skip_guest_work)
            log_warn("--unsafe-skip-guest-work: clones are NOT unique, do not use them");
        config.vms.keeper = "/proc/self/exe"; /* see above */
        status = run(&config, &declarations, argc, argv);
    }
    declarations_fini(&declarations);
    return status;
}
