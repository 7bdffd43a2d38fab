/* SPDX-License-Identifier: Apache-2.0 */
/* voltctl: finds the command that was named and runs it. */

#include "commands.h"

int main(int argc, char **argv)
{
    return commands_main(argc, argv);
}
