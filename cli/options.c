/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the parsing of command lines and the text of --help; see options.h. */
#include "options.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "base/util.h"

void (*options_describe)(const struct options *options, const struct cli_command *command);

int option_left(const struct option_spec *spec, char *ret_left, size_t bytes)
{
    return snprintf(ret_left, bytes, "%c%c%s--%s%s%s", spec->letter ? '-' : ' ',
                    spec->letter ? spec->letter : ' ', spec->letter ? ", " : "  ", spec->name,
                    spec->arg ? " " : "", spec->arg ? spec->arg : "");
}

static void help_print(const struct options *options, const struct cli_command *command)
{
    char left[64];
    int width = 0;

    printf("Usage: voltctl %s%s%s\n%s.\n\nOptions:\n", command->name, *command->args ? " " : "",
           command->args, command->summary);
    for (size_t i = 0; i < options->spec_count; i++)
        width = MAX_OF(width, option_left(&options->specs[i], left, sizeof left));
    for (size_t i = 0; i < options->spec_count; i++) {
        option_left(&options->specs[i], left, sizeof left);
        printf("  %-*s  %s\n", width, left, options->specs[i].help);
    }
    printf("  %-*s  %s\n", width, "-h, --help", "print this");
    if (command->details)
        printf("\n%s\n", command->details);
    printf("\nExample:\n  %s\n", command->example);
}

bool duration_parse(const char *text, uint64_t *ret_ms)
{
    static const struct {
        const char *suffix;
        uint64_t ms;
    } units[] = { { "", 1000 },   { "ms", 1 },      { "s", 1000 },
                  { "m", 60000 }, { "min", 60000 }, { "h", 3600000 } };
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    unsigned long long count = strtoull(text, &end, 10);
    if (errno)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strcmp(end, units[i].suffix) == 0) {
            if (count > UINT32_MAX / units[i].ms)
                return false;
            *ret_ms = count * units[i].ms;
            return true;
        }
    }
    return false;
}

static bool number_parse(const char *text, int64_t *ret_number)
{
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno || *end || number > UINT32_MAX)
        return false;
    *ret_number = (int64_t)number;
    return true;
}

void option_list_fini(struct option_list *list)
{
    free(list->items);
    *list = (struct option_list){ 0 };
}

static bool list_append(struct option_list *list, const char *item)
{
    const char **items = realloc(list->items, (list->count + 1) * sizeof *items);

    if (!items)
        return false;
    items[list->count++] = item;
    list->items = items;
    return true;
}

/* What a value of each kind must look like, for the error message. */
static const char *const kind_wants[] = {
    [OPTION_FLAG] = "nothing",
    [OPTION_STRING] = "a text",
    [OPTION_SIZE] = "a size such as 512K, 128M or 2G",
    [OPTION_FS_SIZE] = "a size from 1M to 64G",
    [OPTION_DURATION] = "a time such as 250ms, 5s, 10m or 1h, at most 1193h",
    [OPTION_NUMBER] = "a number from 0 to 4294967295",
    [OPTION_LIST] = "less of it: out of memory",
};

static bool fs_size_parse(const char *text, uint64_t *ret_bytes)
{
    uint64_t bytes;

    if (!parse_size(text, &bytes) || bytes < OPTION_FS_SIZE_MIN || bytes > OPTION_FS_SIZE_MAX)
        return false;
    *ret_bytes = bytes;
    return true;
}

static bool value_store(const struct option_spec *spec, const char *text)
{
    switch (spec->kind) {
    case OPTION_FLAG:
        *(bool *)spec->value = true;
        return true;
    case OPTION_STRING:
        *(const char **)spec->value = text;
        return true;
    case OPTION_SIZE:
        return parse_size(text, spec->value);
    case OPTION_FS_SIZE:
        return fs_size_parse(text, spec->value);
    case OPTION_DURATION:
        return duration_parse(text, spec->value);
    case OPTION_NUMBER:
        return number_parse(text, spec->value);
    case OPTION_LIST:
        return list_append(spec->value, text);
    }
    return false;
}

/* What getopt_long wants to know, made from the specs. */
struct getopt_tables {
    struct option longs[OPTIONS_MAX + 2];
    char shorts[2 * OPTIONS_MAX + 8];
};

#define VALUE_OF_SPEC 1000 /* long option i of the table is reported as this + i */

static void tables_make(const struct options *options, struct getopt_tables *tables)
{
    size_t at = 0;

    assert(options->spec_count <= OPTIONS_MAX);
    /* '+': stop at the first positional, as what follows may be a command with its own options.
     * ':': tell a missing value from an unknown option. */
    tables->shorts[at++] = '+';
    tables->shorts[at++] = ':';
    tables->shorts[at++] = 'h';
    for (size_t i = 0; i < options->spec_count; i++) {
        const struct option_spec *spec = &options->specs[i];
        bool takes_value = spec->kind != OPTION_FLAG;

        tables->longs[i] =
            (struct option){ spec->name, takes_value ? required_argument : no_argument, NULL,
                             VALUE_OF_SPEC + (int)i };
        if (spec->letter) {
            tables->shorts[at++] = spec->letter;
            if (takes_value)
                tables->shorts[at++] = ':';
        }
    }
    tables->shorts[at] = '\0';
    tables->longs[options->spec_count] = (struct option){ "help", no_argument, NULL, 'h' };
    tables->longs[options->spec_count + 1] = (struct option){ NULL, 0, NULL, 0 };
}

static const struct option_spec *spec_find(const struct options *options, int found)
{
    if (found >= VALUE_OF_SPEC)
        return &options->specs[found - VALUE_OF_SPEC];
    for (size_t i = 0; i < options->spec_count; i++) {
        if (options->specs[i].letter == found)
            return &options->specs[i];
    }
    return NULL;
}

static int usage_fail(const struct cli_command *command, const char *what, const char *detail)
{
    return cli_failf("%s: %s '%s'; see 'voltctl %s --help'", command->name, what, detail,
                     command->name);
}

static int unknown_option(const struct options *options, const struct cli_command *command,
                          const char *given)
{
    struct nearest nearest = { .given = given + strspn(given, "-") };

    for (size_t i = 0; i < options->spec_count; i++)
        nearest_try(&nearest, options->specs[i].name);
    if (strncmp(given, "--", 2) != 0 || !nearest.best)
        return usage_fail(command, "unknown option", given);
    return cli_failf("%s: unknown option '%s'; did you mean --%s?", command->name, given,
                     nearest.best);
}

/* Handles one result of getopt_long. True: go on. */
static bool option_handle(struct options *options, const struct cli_command *command, int found,
                          const char *given, int *ret_exit)
{
    const struct option_spec *spec = spec_find(options, found);

    if (found == 'h') {
        help_print(options, command);
        *ret_exit = CLI_EXIT_OK;
        return false;
    }
    if (found == ':') {
        *ret_exit = usage_fail(command, "no value behind", given);
        return false;
    }
    if (!spec) {
        *ret_exit = unknown_option(options, command, given);
        return false;
    }
    if (!value_store(spec, optarg)) {
        *ret_exit = cli_failf("%s: --%s wants %s, not '%s'", command->name, spec->name,
                              kind_wants[spec->kind], optarg);
        return false;
    }
    return true;
}

static bool counts_check(const struct options *options, const struct cli_command *command,
                         int *ret_exit)
{
    if (options->positional_count < options->positional_min) {
        *ret_exit = cli_failf("%s: an argument is missing; usage: voltctl %s %s", command->name,
                              command->name, command->args);
        return false;
    }
    if (options->rest_count > 0 && !options->takes_command) {
        *ret_exit = usage_fail(command, "unexpected argument", options->rest[0]);
        return false;
    }
    if (options->rest_count == 0 && options->takes_command && !options->may_lack_command) {
        *ret_exit = cli_failf("%s: there is no command to run; put it behind '--': voltctl %s %s",
                              command->name, command->name, command->args);
        return false;
    }
    return true;
}

bool options_parse(struct options *options, const struct cli_command *command, int argc,
                   char **argv, int *ret_exit)
{
    struct getopt_tables tables;
    bool dashes = false;

    if (options_describe) {
        options_describe(options, command);
        *ret_exit = CLI_EXIT_OK;
        return false;
    }
    tables_make(options, &tables);
    options->positional_count = 0;
    opterr = 0;
    optind = 0; /* glibc: start afresh */
    for (;;) {
        const char *given = argv[optind > 0 ? optind : 1];
        int found = getopt_long(argc, argv, tables.shorts, tables.longs, NULL);

        if (found >= 0) {
            if (!option_handle(options, command, found, given, ret_exit))
                return false;
            continue;
        }
        dashes = dashes || (optind > 1 && given && strcmp(given, "--") == 0);
        if (optind >= argc || options->positional_count == options->positional_max ||
            (dashes && options->takes_command))
            break;
        options->positionals[options->positional_count++] = argv[optind++];
        if (dashes)
            break; /* getopt_long would take what follows for options again */
    }
    while (dashes && !options->takes_command && optind < argc &&
           options->positional_count < options->positional_max)
        options->positionals[options->positional_count++] = argv[optind++];
    options->rest_count = argc - optind;
    options->rest = argv + optind;
    return counts_check(options, command, ret_exit);
}
