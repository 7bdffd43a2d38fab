/* SPDX-License-Identifier: Apache-2.0 */
/* One command run in a guest, with our own standard streams, signals and terminal as its own. */
#ifndef VOLT_CLI_EXEC_SESSION_H
#define VOLT_CLI_EXEC_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent.h"

struct exec_request {
    int argc; /* at least 1 */
    char **argv;
    const char *cwd;        /* NULL: the guest's "/" */
    const char *const *env; /* "K=V", or "K" for our own value of it */
    size_t env_count;
    uint32_t timeout_ms; /* 0: none */
    bool interactive;    /* our standard input is the command's; else /dev/null is */
    bool tty;            /* it gets a terminal, in step with ours if we have one */
};

/* Runs it to its end. 0 and voltctl's exit code (cli.h), or -errno: -E2BIG when arguments and
 * environment don't fit, -ENOTCONN when the VM ended, -EPROTO, ... */
int exec_session_run(struct agent *agent, const struct exec_request *request, int *ret_exit,
                     struct err *err);

#endif
