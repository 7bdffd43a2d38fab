/* SPDX-License-Identifier: Apache-2.0 */
/* What every voltctl command shares: the table of commands, exit codes and the way to fail. */
#ifndef VOLT_CLI_H
#define VOLT_CLI_H

#include "base/err.h"
#include "complete.h"

/* Exit codes, the same for every command. A guest command's own code passes through otherwise. */
enum cli_exit {
    CLI_EXIT_OK = 0,
    CLI_EXIT_FINDING = 1,          /* doctor, snapshot verify: something is wrong with what was
                                      looked at, not with the looking */
    CLI_EXIT_NO_VM = 75,           /* no VM became free within --wait */
    CLI_EXIT_TIMEOUT = 124,        /* exec and run: --timeout ran out */
    CLI_EXIT_FAILURE = 125,        /* our own failure, wrong usage included */
    CLI_EXIT_NOT_EXECUTABLE = 126, /* exec and run: the guest can't execute CMD */
    CLI_EXIT_NOT_FOUND = 127,      /* exec and run: the guest has no CMD */
    CLI_EXIT_SIGNAL_BASE = 128,    /* + number of the signal that ended CMD */
};

struct cli_command {
    const char *name;    /* "acquire", or "pool create" for a member of a family */
    const char *args;    /* as in a usage line */
    const char *summary; /* one line */
    const char *details; /* lines for --help behind the options; NULL: none */
    const char *example; /* one or more lines for --help */
    /* argv[0] is the command's own name. Returns the exit code; has reported what failed. */
    int (*run)(const struct cli_command *command, int argc, char **argv);
    enum complete complete; /* what its positionals may be */
};

/* Prints "voltctl: <sentence>" to stderr and returns CLI_EXIT_FAILURE. */
int cli_fail(const struct err *err);
int cli_failf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Writes out what was printed. 0, or -errno of what could not be written, now or before: that is
 * told once. Ends every command, so only those call it that can still undo something. */
int cli_flush(struct err *err);

/* The socket given by the global option --socket, or NULL. Set once by main. */
extern const char *cli_socket_option;

int cmd_acquire_run(const struct cli_command *command, int argc, char **argv);
int cmd_release_run(const struct cli_command *command, int argc, char **argv);
int cmd_renew_run(const struct cli_command *command, int argc, char **argv);
int cmd_ps_run(const struct cli_command *command, int argc, char **argv);
int cmd_exec_run(const struct cli_command *command, int argc, char **argv);
int cmd_run_run(const struct cli_command *command, int argc, char **argv);
int cmd_cp_run(const struct cli_command *command, int argc, char **argv);
int cmd_console_run(const struct cli_command *command, int argc, char **argv);
int cmd_status_run(const struct cli_command *command, int argc, char **argv);
int cmd_version_run(const struct cli_command *command, int argc, char **argv);
int cmd_doctor_run(const struct cli_command *command, int argc, char **argv);
int cmd_events_run(const struct cli_command *command, int argc, char **argv);
int cmd_reload_run(const struct cli_command *command, int argc, char **argv);
int cmd_names_run(const struct cli_command *command, int argc, char **argv);
int cmd_shutdown_run(const struct cli_command *command, int argc, char **argv);
int cmd_pool_create_run(const struct cli_command *command, int argc, char **argv);
int cmd_pool_replace_run(const struct cli_command *command, int argc, char **argv);
int cmd_pool_list_run(const struct cli_command *command, int argc, char **argv);
int cmd_pool_show_run(const struct cli_command *command, int argc, char **argv);
int cmd_pool_scale_run(const struct cli_command *command, int argc, char **argv);
int cmd_pool_drain_run(const struct cli_command *command, int argc, char **argv);
int cmd_pool_undrain_run(const struct cli_command *command, int argc, char **argv);
int cmd_pool_retry_run(const struct cli_command *command, int argc, char **argv);
int cmd_pool_delete_run(const struct cli_command *command, int argc, char **argv);
int cmd_function_create_run(const struct cli_command *command, int argc, char **argv);
int cmd_function_invoke_run(const struct cli_command *command, int argc, char **argv);
int cmd_function_list_run(const struct cli_command *command, int argc, char **argv);
int cmd_function_show_run(const struct cli_command *command, int argc, char **argv);
int cmd_function_delete_run(const struct cli_command *command, int argc, char **argv);
int cmd_function_logs_run(const struct cli_command *command, int argc, char **argv);
int cmd_snapshot_list_run(const struct cli_command *command, int argc, char **argv);
int cmd_snapshot_inspect_run(const struct cli_command *command, int argc, char **argv);
int cmd_image_build_run(const struct cli_command *command, int argc, char **argv);
int cmd_image_list_run(const struct cli_command *command, int argc, char **argv);
int cmd_image_inspect_run(const struct cli_command *command, int argc, char **argv);
int cmd_image_verify_run(const struct cli_command *command, int argc, char **argv);
int cmd_image_delete_run(const struct cli_command *command, int argc, char **argv);
int cmd_volume_create_run(const struct cli_command *command, int argc, char **argv);
int cmd_volume_list_run(const struct cli_command *command, int argc, char **argv);
int cmd_volume_show_run(const struct cli_command *command, int argc, char **argv);
int cmd_volume_delete_run(const struct cli_command *command, int argc, char **argv);
int cmd_gitlab_config_run(const struct cli_command *command, int argc, char **argv);
int cmd_gitlab_prepare_run(const struct cli_command *command, int argc, char **argv);
int cmd_gitlab_run_run(const struct cli_command *command, int argc, char **argv);
int cmd_gitlab_cleanup_run(const struct cli_command *command, int argc, char **argv);
int cmd_snapshot_verify_run(const struct cli_command *command, int argc, char **argv);

#endif
