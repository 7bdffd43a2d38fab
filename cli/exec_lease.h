/* SPDX-License-Identifier: Apache-2.0 */
/* A command in a VM that is leased, from the first frame to its exit code. */
#ifndef VOLT_CLI_EXEC_LEASE_H
#define VOLT_CLI_EXEC_LEASE_H

#include "api.h"
#include "exec_request.h"

/* Runs it over api's connection, which is a stream from then on and of no other use. 0 with the exit
 * code as voltctl tells it (cli.h): the command's own, 128+N, 124, 126, 127. Else -errno, with a
 * sentence that names the lease, and says how it ended if it has. */
int exec_lease_run(struct api *api, const char *lease, const struct exec_request *request,
                   int *ret_exit, struct err *err);

/* The same, started as the maker of the pool's image has said (exec_config.h): user, directory and
 * variables, where the request has none of its own. `env` is the request's. */
int exec_lease_run_in_image(struct api *api, const char *lease, struct exec_request *request,
                            struct exec_env *env, int *ret_exit, struct err *err);

#endif
