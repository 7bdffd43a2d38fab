/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the completion for fish: a `complete` line for each command and option. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "commands.h"
#include "doc.h"
#include "options.h"

/* A text between apostrophes. */
static void put(const char *text)
{
    putchar('\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    putchar('\'');
}

/* What a value is completed with. */
static void put_kind(enum complete complete)
{
    if (complete == COMPLETE_FILE)
        fputs(" -F", stdout);
    else if (complete != COMPLETE_NOTHING)
        printf(" -a '(voltctl names %s 2>/dev/null)'", complete_name(complete));
}

static void describe(const struct options *options, const struct cli_command *command)
{
    const char *space = strchr(command->name, ' ');

    for (size_t i = 0; i < options->spec_count; i++) {
        const struct option_spec *spec = &options->specs[i];

        printf("complete -c voltctl -n '__voltctl_is %s'", command->name);
        if (spec->letter)
            printf(" -s %c", spec->letter);
        printf(" -l %s", spec->name);
        if (spec->kind != OPTION_FLAG) {
            fputs(spec->complete == COMPLETE_FILE ? " -r" : " -x", stdout);
            put_kind(spec->complete);
        }
        fputs(" -d ", stdout);
        put(spec->help);
        putchar('\n');
    }
    if (command->complete != COMPLETE_NOTHING) {
        printf("complete -c voltctl -n '__voltctl_is %s'", command->name);
        put_kind(command->complete);
        putchar('\n');
    }
    if (strcmp(command->name, "cp") == 0)
        puts("complete -c voltctl -n '__voltctl_is cp' -F");
    if (space)
        printf("complete -c voltctl -n '__voltctl_family %.*s' -a %s -d ",
               (int)(space - command->name), command->name, space + 1);
    else
        printf("complete -c voltctl -n __voltctl_none -a %s -d ", command->name);
    put(command->summary);
    putchar('\n');
}

void doc_fish(void)
{
    puts("# Completion of voltctl in fish. Made by the build from voltctl's own tables.\n"
         "function __voltctl_words # those before the cursor that are no options\n"
         "    string match -v -- '-*' (commandline -opc)[2..]\n"
         "end\n"
         "function __voltctl_none\n"
         "    test (count (__voltctl_words)) = 0\n"
         "end\n"
         "function __voltctl_family\n"
         "    test \"$(__voltctl_words)\" = \"$argv\"\n"
         "end\n"
         "function __voltctl_is\n"
         "    set -l words (__voltctl_words)\n"
         "    test \"$words[1..$(count $argv)]\" = \"$argv\"\n"
         "end\n"
         "complete -c voltctl -f\n"
         "complete -c voltctl -n __voltctl_none -l socket -r -d 'the socket of poold'");
    for (size_t i = 0; i < command_count; i++) {
        const char *name = commands[i].name, *space = strchr(name, ' ');

        if (space &&
            (i == 0 || strncmp(commands[i - 1].name, name, (size_t)(space - name) + 1) != 0))
            printf("complete -c voltctl -n __voltctl_none -a %.*s -d 'commands on %.*ss'\n",
                   (int)(space - name), name, (int)(space - name), name);
    }
    options_describe = describe;
    doc_describe_all();
}
