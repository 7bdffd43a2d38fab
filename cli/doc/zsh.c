/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the completion for zsh: a list of _arguments for each command. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "commands.h"
#include "doc.h"
#include "options.h"

/* A text between apostrophes in a specification: what ends or means something there is escaped. */
static void put(const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else if (strchr("[]:\\", *text))
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

static const char *action_of(enum complete complete)
{
    /* With a blank before it, an action is called as it is. */
    static const char *const actions[COMPLETE_COUNT] = {
        [COMPLETE_NOTHING] = " ",
        [COMPLETE_FILE] = "_files",
        [COMPLETE_POOL] = " _voltctl_names pools",
        [COMPLETE_LEASE] = " _voltctl_names leases",
        [COMPLETE_IMAGE] = " _voltctl_names images",
        [COMPLETE_SNAPSHOT] = " _voltctl_names snapshots",
        [COMPLETE_VOLUME] = " _voltctl_names volumes",
    };

    return actions[complete];
}

static void describe(const struct options *options, const struct cli_command *command)
{
    printf("    '%s')\n        _arguments -s", command->name);
    for (size_t i = 0; i < options->spec_count; i++) {
        const struct option_spec *spec = &options->specs[i];

        if (spec->letter)
            printf(" \\\n            {-%c,--%s}'[", spec->letter, spec->name);
        else
            printf(" \\\n            '--%s%s[", spec->name, spec->kind == OPTION_FLAG ? "" : "=");
        put(spec->help);
        putchar(']');
        if (spec->kind != OPTION_FLAG) {
            putchar(':');
            put(spec->arg);
            printf(":%s", action_of(spec->complete));
        }
        putchar('\'');
    }
    fputs(" \\\n            '--help[print this]'", stdout);
    if (command->complete == COMPLETE_LEASE && strcmp(command->name, "cp") == 0)
        fputs(" '*:path:_voltctl_paths'", stdout);
    else
        printf(" '*:name:%s'", action_of(command->complete));
    puts(" ;;");
}

static void commands_print(void)
{
    puts("    local -a commands=(");
    for (size_t i = 0; i < command_count; i++) {
        const char *name = commands[i].name, *space = strchr(name, ' ');

        if (!space) {
            printf("        '%s:", name);
            put(commands[i].summary);
            puts("'");
        } else if (i == 0 || strncmp(commands[i - 1].name, name, (size_t)(space - name) + 1) != 0) {
            printf("        '%.*s:commands on %.*ss'\n", (int)(space - name), name,
                   (int)(space - name), name);
        }
    }
    puts("        'help:tell more about a command'\n    )");
}

static void families_print(void)
{
    puts("    case $words[2] in");
    for (size_t i = 0; i < command_count; i++) {
        const char *name = commands[i].name, *space = strchr(name, ' ');
        size_t bytes = space ? (size_t)(space - name) + 1 : 0;
        bool first = space && (i == 0 || strncmp(commands[i - 1].name, name, bytes) != 0);
        bool last =
            space && (i + 1 == command_count || strncmp(commands[i + 1].name, name, bytes) != 0);

        if (first)
            printf("    %.*s)\n        members=(\n", (int)bytes - 1, name);
        if (space) {
            printf("            '%s:", space + 1);
            put(commands[i].summary);
            puts("'");
        }
        if (last)
            puts("        ) ;;");
    }
    puts("    esac");
}

void doc_zsh(void)
{
    puts("#compdef voltctl\n"
         "# Completion of voltctl in zsh. Made by the build from voltctl's own tables.\n"
         "_voltctl_names()\n"
         "{\n"
         "    local -a names=(${(f)\"$(voltctl names $1 2>/dev/null)\"})\n"
         "    compadd -a names\n"
         "}\n"
         "_voltctl_paths()\n"
         "{\n"
         "    _files\n"
         "    local -a names=(${(f)\"$(voltctl names leases 2>/dev/null)\"})\n"
         "    compadd -S: -a names\n"
         "}\n"
         "_voltctl()\n"
         "{\n"
         "    local -a members=()\n"
         "    local name");
    commands_print();
    puts("    if ((CURRENT == 2)); then\n"
         "        _describe command commands\n"
         "        return\n"
         "    fi");
    families_print();
    puts("    if (($#members && CURRENT == 3)); then\n"
         "        _describe command members\n"
         "        return\n"
         "    fi\n"
         "    name=$words[2]\n"
         "    if (($#members)); then\n"
         "        name=\"$words[2] $words[3]\"\n"
         "        shift words\n"
         "        ((CURRENT--))\n"
         "    fi\n"
         "    shift words\n"
         "    ((CURRENT--))\n"
         "    case $name in");
    options_describe = describe;
    doc_describe_all();
    puts("    esac\n"
         "}\n"
         "_voltctl \"$@\"");
}
