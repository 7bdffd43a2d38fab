/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the commands that move a pool on: drain, undrain, retry. */
#include "cli.h"
#include "named.h"

#define POOLS "/v1/pools/"

int cmd_pool_drain_run(const struct cli_command *command, int argc, char **argv)
{
    const struct named_request request = { "POST", POOLS, "/drain" };

    return named_run(&request, command, argc, argv);
}

int cmd_pool_undrain_run(const struct cli_command *command, int argc, char **argv)
{
    const struct named_request request = { "POST", POOLS, "/undrain" };

    return named_run(&request, command, argc, argv);
}

int cmd_pool_retry_run(const struct cli_command *command, int argc, char **argv)
{
    const struct named_request request = { "POST", POOLS, "/retry" };

    return named_run(&request, command, argc, argv);
}
