/* SPDX-License-Identifier: Apache-2.0 */
/* The table of all commands, and the choice of one by the command line. */
#ifndef VOLT_CLI_COMMANDS_H
#define VOLT_CLI_COMMANDS_H

#include <stddef.h>

#include "cli.h"

extern const struct cli_command commands[];
extern const size_t command_count;

/* All of voltctl. Returns the exit code. */
int commands_main(int argc, char **argv);

#endif
