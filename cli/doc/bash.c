/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the completion for bash: the tables as arrays, and the function that reads them. */
#include <stdio.h>

#include "commands.h"
#include "doc.h"
#include "options.h"

static void describe_options(const struct options *options, const struct cli_command *command)
{
    printf("    [\"%s\"]=\"", command->name);
    for (size_t i = 0; i < options->spec_count; i++) {
        if (options->specs[i].letter)
            printf("-%c ", options->specs[i].letter);
        printf("--%s ", options->specs[i].name);
    }
    puts("--help\"");
}

/* What is behind an option that takes a value. */
static void describe_values(const struct options *options, const struct cli_command *command)
{
    for (size_t i = 0; i < options->spec_count; i++) {
        const struct option_spec *spec = &options->specs[i];
        const char *kind = complete_name(spec->complete);

        if (spec->kind == OPTION_FLAG)
            continue;
        printf("    [\"%s --%s\"]=%s\n", command->name, spec->name, *kind ? kind : "value");
        if (spec->letter)
            printf("    [\"%s -%c\"]=%s\n", command->name, spec->letter, *kind ? kind : "value");
    }
}

static const char function_text[] =
    "\n"
    "# The names of a kind, or files.\n"
    "_voltctl_of_kind()\n"
    "{\n"
    "    case $1 in\n"
    "    file) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$2\") ;;\n"
    "    pools | leases | images | snapshots)\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$(voltctl names \"$1\" 2>/dev/null)\" -- "
    "\"$2\") ;;\n"
    "    esac\n"
    "}\n"
    "\n"
    "_voltctl()\n"
    "{\n"
    "    local current=${COMP_WORDS[COMP_CWORD]} at=1 first command\n"
    "    COMPREPLY=()\n"
    "    [ \"${COMP_WORDS[1]}\" != --socket ] || at=3\n"
    "    first=${COMP_WORDS[at]} command=${COMP_WORDS[at]}\n"
    "    if [ \"$COMP_CWORD\" -lt \"$at\" ]; then\n"
    "        _voltctl_of_kind file \"$current\"\n"
    "        return\n"
    "    fi\n"
    "    if [ \"$COMP_CWORD\" -gt \"$at\" ] && [ -z \"${_voltctl_options[$first]:-}\" ]; then\n"
    "        command=\"$first ${COMP_WORDS[at + 1]}\"\n"
    "        at=$((at + 1))\n"
    "    fi\n"
    "    if [ \"$COMP_CWORD\" = \"$at\" ]; then # a command, or the second word of one\n"
    "        local name words=\n"
    "        for name in \"${!_voltctl_options[@]}\" help; do\n"
    "            if [ \"$command\" = \"$first\" ]; then words+=\" ${name%% *}\"\n"
    "            elif [[ $name == \"$first \"* ]]; then words+=\" ${name#* }\"; fi\n"
    "        done\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\" | sort -u)\n"
    "        return\n"
    "    fi\n"
    "    local value=${_voltctl_values[$command ${COMP_WORDS[COMP_CWORD - 1]}]:-}\n"
    "    if [ -n \"$value\" ]; then\n"
    "        _voltctl_of_kind \"$value\" \"$current\"\n"
    "    elif [[ $current == -* ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"${_voltctl_options[$command]:-}\" -- "
    "\"$current\")\n"
    "    else\n"
    "        _voltctl_of_kind \"${_voltctl_kinds[$command]:-}\" \"$current\"\n"
    "    fi\n"
    "}\n"
    "complete -o default -F _voltctl voltctl";

void doc_bash(void)
{
    puts("# Completion of voltctl in bash. Made by the build from voltctl's own tables.\n"
         "# shellcheck shell=bash\n"
         "declare -gA _voltctl_options=(");
    options_describe = describe_options;
    doc_describe_all();
    puts(")\ndeclare -gA _voltctl_values=(");
    options_describe = describe_values;
    doc_describe_all();
    puts(")\ndeclare -gA _voltctl_kinds=(");
    for (size_t i = 0; i < command_count; i++) {
        if (commands[i].complete != COMPLETE_NOTHING)
            printf("    [\"%s\"]=%s\n", commands[i].name, complete_name(commands[i].complete));
    }
    puts(")");
    puts(function_text);
}
