/* SPDX-License-Identifier: Apache-2.0 */
/* voltctl: finds the command that was named and runs it. */

#include "base/std_fds.h"
#include "commands.h"

int main(int argc, char **argv)
{
    std_fds_ensure();
    return commands_main(argc, argv);
}
