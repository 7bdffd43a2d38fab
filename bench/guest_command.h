/* SPDX-License-Identifier: Apache-2.0 */
/* Commands in a leased VM, run by its agent over a stream as voltctl does it. One thread. */
#ifndef VOLT_BENCH_GUEST_COMMAND_H
#define VOLT_BENCH_GUEST_COMMAND_H

#include "cli/agent.h"

#define COMMAND_ARGS_MAX 4u
#define COMMAND_LINE_BYTES 256u

/* Connects to the agent and asks for it. argv: NULL-terminated, at most COMMAND_ARGS_MAX; flags:
 * AGENT_EXEC_*. *ret_agent is the caller's; closing it before its end kills the command. */
int command_start(struct agent **ret_agent, struct api *api, const char *lease,
                  const char *const *argv, uint32_t flags, struct err *err);

/* Waits for its end, whatever it says until then: 0 when it exits with 0. */
int command_end(struct agent *agent, struct err *err);

/* Waits for a line of its standard output, which must come in one frame; without its end. */
int command_read_line(struct agent *agent, char ret_line[COMMAND_LINE_BYTES], struct err *err);

/* Start to end on a connection of its own; *ret_ns: from the request for the connection to EXIT. */
int command_run(struct api *api, const char *lease, const char *const *argv, uint32_t flags,
                uint64_t *ret_ns, struct err *err);

/* Makes a program of this host's file, at most AGENT_STDIN_CREDIT bytes, in the VM. */
int command_install(struct api *api, const char *lease, const char *host_path,
                    const char *guest_path, struct err *err);

#endif
