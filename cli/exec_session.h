/* SPDX-License-Identifier: Apache-2.0 */
/* One command run in a guest, with our own standard streams, signals and terminal as its own. */
#ifndef VOLT_CLI_EXEC_SESSION_H
#define VOLT_CLI_EXEC_SESSION_H

#include "agent.h"
#include "exec_request.h"

/* Runs it to its end. 0 and voltctl's exit code (cli.h), or -errno: -E2BIG when arguments and
 * environment don't fit, -ENOTCONN when the VM ended, -EPROTO, ... */
int exec_session_run(struct agent *agent, const struct exec_request *request, int *ret_exit,
                     struct err *err);

#endif
