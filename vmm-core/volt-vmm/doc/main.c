/* SPDX-License-Identifier: Apache-2.0 */
/* volt-vmm-doc: run by the build, not installed. Prints volt-vmm(8) from its table of options. */
#include <stdio.h>

#include "base/roff.h"
#include "volt-vmm/options.h"

int main(void)
{
    struct option_text option;

    roff_begin(stdout, "volt-vmm", 8,
               "runs one VM on KVM, or the template that VMs are cloned from");
    roff_section(stdout, "SYNOPSIS");
    for (unsigned i = 0; options_usage[i]; i++)
        roff_lines(stdout, options_usage[i]);
    roff_section(stdout, "DESCRIPTION");
    roff_text(stdout,
              "volt-vmm boots a Linux kernel in a VM with a serial console, virtio devices for a "
              "disk, a network card and streams, and a doorbell at which the guest stands still "
              "for a snapshot. The process of the VM runs in a sandbox of namespaces, Landlock and "
              "a system call filter, without capabilities. poold(8) starts and drives it by "
              "sockets that it passes along; without poold it runs one VM.");
    roff_section(stdout, "OPTIONS");
    for (size_t i = 0; options_text(i, &option); i++) {
        char term[128], text[768];

        snprintf(term, sizeof term, "%s %s", option.name, option.argument ? option.argument : "");
        snprintf(text, sizeof text, "%s.", option.help);
        roff_item(stdout, term, text);
    }
    roff_section(stdout, "EXIT STATUS");
    roff_item(stdout, "0", "The VM ended, or its snapshot is taken.");
    roff_item(stdout, "64", "The command line is wrong.");
    roff_item(stdout, "70", "It failed; its last line says how.");
    roff_item(stdout, "75",
              "The VM failed, or ended otherwise than by being stopped or powered "
              "off; the last line says how.");
    roff_section(stdout, "EXAMPLE");
    for (unsigned i = 0; options_examples[i]; i++)
        roff_lines(stdout, options_examples[i]);
    roff_see_also(stdout, "poold(8), voltctl(1), volt-init(8)");
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
