/* SPDX-License-Identifier: Apache-2.0 */
/* The console shell's built-in commands. */
#ifndef GUEST_SHELL_COMMANDS_H
#define GUEST_SHELL_COMMANDS_H

struct shell_command {
    const char *name;
    const char *usage;
    const char *help;
    void (*run)(char **words); /* NULL-terminated; words[0] is the name */
};

/* Ends with an entry without name. */
extern const struct shell_command shell_commands[];

#endif
