/* SPDX-License-Identifier: Apache-2.0 */
/* The command-line parser: a table of options per command, from which --help is made too. */
#ifndef VOLT_CLI_OPTIONS_H
#define VOLT_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli.h"

#define OPTIONS_MAX 48
#define OPTION_POSITIONALS_MAX 4

enum option_kind {
    OPTION_FLAG,     /* bool */
    OPTION_STRING,   /* const char * */
    OPTION_SIZE,     /* uint64_t, bytes: 512, 64K, 128M, 2G */
    OPTION_FS_SIZE,  /* the same, of a file system that is made: from OPTION_FS_SIZE_MIN to _MAX */
    OPTION_DURATION, /* uint64_t, milliseconds: 250ms, 5s, 10m, 1h; a bare number is seconds */
    OPTION_NUMBER,   /* int64_t, 0 to 2^32 - 1 */
    OPTION_LIST,     /* struct option_list: may be given several times */
};

/* Less has no room for its own tables; more is no image. */
#define OPTION_FS_SIZE_MIN (1ull << 20)
#define OPTION_FS_SIZE_MAX (64ull << 30)

/* Zeroed at first; option_list_fini frees it. */
struct option_list {
    size_t count;
    const char **items;
};

void option_list_fini(struct option_list *list);
#define _cleanup_option_list_ __attribute__((cleanup(option_list_fini)))

struct option_spec {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    enum option_kind kind;
    void *value;     /* left as it is when the option is not given */
    const char *arg; /* what the help calls the value; NULL for a flag */
    const char *help;
    enum complete complete; /* what its value may be */
};

struct options {
    const struct option_spec *specs;
    size_t spec_count;
    size_t positional_min, positional_max; /* at most OPTION_POSITIONALS_MAX */
    bool takes_command;    /* what follows "--", or the positionals, is a command of its own; */
    bool may_lack_command; /* if there is one */
    /* Filled by options_parse; everything points into argv. */
    size_t positional_count;
    const char *positionals[OPTION_POSITIONALS_MAX];
    int rest_count; /* with takes_command */
    char **rest;
};

/* For what describes voltctl instead of running it: when this is set, options_parse calls it with a
 * command's options and parses nothing; the command ends with exit code 0. */
extern void (*options_describe)(const struct options *options, const struct cli_command *command);

/* "-m, --memory SIZE", indented where there is no letter. Returns its length. */
int option_left(const struct option_spec *spec, char *ret_left, size_t bytes);

/* Parses argv into options and the values of their specs. True: go on. False: the command ends with
 * *ret_exit, because --help was printed (0) or because of wrong usage, which was reported (125). */
bool options_parse(struct options *options, const struct cli_command *command, int argc,
                   char **argv, int *ret_exit);

/* "250ms", "5s", "10m", "1h", "5" (seconds) to milliseconds. False on anything else and above
 * 2^32 - 1 ms. */
bool duration_parse(const char *text, uint64_t *ret_ms);

#endif
