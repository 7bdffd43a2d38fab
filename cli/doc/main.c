/* SPDX-License-Identifier: Apache-2.0 */
/* voltctl-doc man|bash|zsh|fish: run by the build, not installed. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "commands.h"
#include "doc.h"

void doc_describe_all(void)
{
    for (size_t i = 0; i < command_count; i++) {
        char name[64];
        char *argv[] = { name, NULL };

        snprintf(name, sizeof name, "%s", commands[i].name);
        commands[i].run(&commands[i], 1, argv);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } kinds[] = {
        { "man", doc_man }, { "bash", doc_bash }, { "zsh", doc_zsh }, { "fish", doc_fish }
    };

    for (unsigned i = 0; argc == 2 && i < ARRAY_LEN(kinds); i++) {
        if (strcmp(argv[1], kinds[i].name) == 0) {
            kinds[i].print();
            return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
        }
    }
    fputs("usage: voltctl-doc man|bash|zsh|fish\n", stderr);
    return 64;
}
