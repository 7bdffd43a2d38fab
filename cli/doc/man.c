/* SPDX-License-Identifier: Apache-2.0 */
/* Owns voltctl(1). */
#include <stdio.h>
#include <string.h>

#include "base/roff.h"
#include "base/util.h"
#include "commands.h"
#include "doc.h"
#include "options.h"

static const struct {
    const char *term, *text;
} exit_codes[] = {
    { "0", "It worked." },
    { "1", "doctor, snapshot verify, image verify: something is wrong with what was looked at." },
    { "75", "No VM became free within --wait." },
    { "124", "exec, run: --timeout ran out." },
    { "125", "voltctl failed, or was used wrongly." },
    { "126, 127", "exec, run: the guest can't execute the command, or has none of that name." },
    { "128+N", "exec, run: signal N ended the command." },
}, variables[] = {
    { "VOLT_SOCKET", "The socket of poold, where --socket is not given." },
    { "VOLT_RUN_DIR", "The folder in which poold.sock is, where neither is." },
    { "XDG_RUNTIME_DIR", "Without root, volt/poold.sock is in here, where nothing else is said." },
};

static void describe(const struct options *options, const struct cli_command *command)
{
    char usage[1024];

    roff_subsection(stdout, command->name);
    snprintf(usage, sizeof usage, "voltctl %s %s", command->name, command->args);
    roff_lines(stdout, usage);
    snprintf(usage, sizeof usage, "%s.", command->summary);
    roff_text(stdout, usage);
    if (command->details)
        roff_text(stdout, command->details);
    for (size_t i = 0; i < options->spec_count; i++) {
        char left[64];

        option_left(&options->specs[i], left, sizeof left);
        roff_item(stdout, left + strspn(left, " "), options->specs[i].help);
    }
    roff_text(stdout, "Example:");
    roff_lines(stdout, command->example);
}

void doc_man(void)
{
    roff_begin(stdout, "voltctl", 1, "leases running Linux VMs, and tells poold what to do");
    roff_section(stdout, "SYNOPSIS");
    roff_lines(stdout, "voltctl [--socket PATH] COMMAND ...\nvoltctl help [COMMAND]");
    roff_section(stdout, "DESCRIPTION");
    roff_text(stdout, "poold(8) keeps copies of a booted VM ready. voltctl leases them, runs "
                      "commands in them, copies files, and makes and deletes the pools that they "
                      "are from. It talks to poold over a Unix socket.");
    roff_text(stdout, "Each command has --help, too. A TIME is 250ms, 5s, 10m or 1h, a SIZE 512K, "
                      "128M or 2G. A LEASE may be cut to a prefix of at least 4 characters that no "
                      "other lease has.");
    roff_section(stdout, "COMMANDS");
    options_describe = describe;
    doc_describe_all();
    roff_section(stdout, "EXIT STATUS");
    for (unsigned i = 0; i < ARRAY_LEN(exit_codes); i++)
        roff_item(stdout, exit_codes[i].term, exit_codes[i].text);
    roff_text(stdout, "exec and run otherwise exit as the command in the VM does.");
    roff_section(stdout, "ENVIRONMENT");
    for (unsigned i = 0; i < ARRAY_LEN(variables); i++)
        roff_item(stdout, variables[i].term, variables[i].text);
    roff_see_also(stdout, "poold(8), poold.conf(5), volt-vmm(8), volt-init(8)");
}
