/* SPDX-License-Identifier: Apache-2.0 */
/* volt-gate-doc: run by the build, not installed. Prints volt-gate(8). */
#include <stdio.h>

#include "base/roff.h"
#include "net/gate/gate.h"

int main(void)
{
    roff_begin(stdout, "volt-gate", 8, "holds a VM of poold's to the policy of its network");
    roff_section(stdout, "SYNOPSIS");
    roff_lines(stdout, GATE_PASS_SYNTAX "\n" GATE_RUN_SYNTAX);
    roff_section(stdout, "DESCRIPTION");
    roff_text(stdout,
              "poold(8) starts it, with sockets and files of its own; by hand it does nothing of "
              "use. It has no options but --help.");
    roff_item(
        stdout, GATE_PASS_SYNTAX,
        "The process between the card of a VM whose network is 'user' and passt(1). It drops the "
        "frames that the policy of the pool does not let through, counts them, and has no right "
        "but to go on doing so. It ends with the VM or with poold.");
    roff_item(
        stdout, GATE_RUN_SYNTAX,
        "Becomes COMMAND, which is passt(1), with that uid and gid and less than a program of "
        "that uid may. PROCS_FD is the open cgroup.procs of its control group, SHARES that it "
        "may have a port that another socket has; for either - means no.");
    roff_section(stdout, "EXIT STATUS");
    roff_item(stdout, "0", "The VM or poold has closed its socket.");
    roff_item(stdout, "64", "The command line is wrong.");
    roff_item(stdout, "71", "The system refused what it needs.");
    roff_item(stdout, "76", "What the VM's process sent are no frames.");
    roff_see_also(stdout, "poold(8), poold.conf(5), voltctl(1)");
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
