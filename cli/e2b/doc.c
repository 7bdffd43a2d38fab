/* SPDX-License-Identifier: Apache-2.0 */
/* volt-e2b-doc: run by the build, not installed. Prints volt-e2b(8). */
#include "base/roff.h"
#include "e2b/help.h"

int main(void)
{
    roff_begin(stdout, "volt-e2b", 8, "serves poold's VMs to clients of E2B");
    roff_section(stdout, "SYNOPSIS");
    roff_lines(stdout, "volt-e2b [OPTION...]");
    roff_section(stdout, "DESCRIPTION");
    roff_text(stdout,
              "A gateway by which programs that were made for E2B's sandboxes use VMs of poold(8): "
              "it serves E2B's API of sandboxes and that of the daemon in each of them, at one "
              "address, and is a client of poold's socket. A sandbox is a lease; all of them end "
              "with the gateway. poold starts it by itself when it is told where (--e2b).");
    roff_section(stdout, "OPTIONS");
    roff_lines(stdout, E2B_OPTIONS);
    roff_section(stdout, "EXIT STATUS");
    roff_item(stdout, "0", "It was told to end.");
    roff_item(stdout, "64", "The command line is wrong, or names a file that can't be used.");
    roff_item(stdout, "71", "It can't listen there.");
    roff_item(stdout, "78",
              "Certificate or key are not usable, or the kernel refuses what it needs.");
    roff_section(stdout, "EXAMPLES");
    roff_lines(stdout, E2B_EXAMPLES);
    roff_see_also(stdout, "poold(8), poold.conf(5), voltctl(1)");
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
