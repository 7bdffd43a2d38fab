/* SPDX-License-Identifier: Apache-2.0 */
/* Owns how commands are made to describe themselves; see doc.h. */
#include "doc.h"

#include <stdio.h>

#include "commands.h"

void doc_describe_all(void)
{
    for (size_t i = 0; i < command_count; i++) {
        char name[64];
        char *argv[] = { name, NULL };

        snprintf(name, sizeof name, "%s", commands[i].name);
        commands[i].run(&commands[i], 1, argv);
    }
}
