/* SPDX-License-Identifier: Apache-2.0 */
/* Run by the build: the commands of the console's shell, as volt-init(8) has them. */
#include <stdio.h>

#include "shell_commands.h"

int main(void)
{
    for (const struct shell_command *command = shell_commands; command->name; command++)
        printf(".TP\n\\fB%s\\fR\n%s.\n", command->usage, command->help);
    return 0;
}
