/* SPDX-License-Identifier: Apache-2.0 */
/* volt-vmm: one VM, or the template that VMs are cloned from. Started and driven by poold. */
#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/arguments.h"
#include "base/std_fds.h"
#include "base/text.h"
#include "base/util.h"
#include "base/version.h"
#include "volt-vmm/program.h"

static const struct program {
    const char *name;
    int (*run)(struct options *options, struct err *err);
} programs[] = {
    { "run", program_run },
    { "template", program_template },
};

static const struct program direct = { "", program_direct };

/* Lines of at most 100 columns, the text of an option from column 18 on. */
static void help_text_print(FILE *out, const char *text)
{
    size_t column = 18;

    while (*text) {
        size_t bytes = strcspn(text, " ");
        bool first = column == 18, fits = column + 1 + bytes <= 100;

        fprintf(out, first ? "" : fits ? " " : "\n%18s", "");
        column = (fits ? column + !first : 18) + bytes;
        fprintf(out, "%.*s", (int)bytes, text);
        text += bytes + (text[bytes] == ' ');
    }
    fputc('\n', out);
}

static void help_print(FILE *out)
{
    struct option_text option;

    for (unsigned i = 0; options_usage[i]; i++)
        fprintf(out, "%s %s\n", i ? "      " : "usage:", options_usage[i]);
    fputs("\nThe first two run one VM without a daemon; poold uses the third.\n\n", out);
    for (size_t i = 0; options_text(i, &option); i++) {
        int bytes = fprintf(out, "  %s %s", option.name, option.argument ? option.argument : "");

        if (bytes > 17)
            fprintf(out, "\n%18s", "");
        else
            fprintf(out, "%*s", 18 - bytes, "");
        help_text_print(out, option.help);
    }
    fputc('\n', out);
    for (unsigned i = 0; options_examples[i]; i++)
        fprintf(out, "%s %s\n", i ? "        " : "example:", options_examples[i]);
}

/* In the C library's place. NOLINTNEXTLINE(bugprone-reserved-identifier): it has that name. */
void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function)
{
    struct err err;

    err_set(&err, EDOM, "%s:%u: %s: '%s' is not so", file, line, function, assertion);
    fprintf(stderr, "volt-vmm: %s\n", err.msg);
    program_report_failure(&err);
    abort();
}

/* Inherited by clones. A hint. */
static void oom_score_set(uint32_t score)
{
    FILE *file = score ? fopen("/proc/self/oom_score_adj", "we") : NULL;

    if (!file)
        return;
    fprintf(file, "%u", score);
    fclose(file);
}

/* Options without a command: one VM, directly. */
static const struct program *find_program(const char *argument)
{
    if (argument[0] == '-')
        return &direct;
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        if (strcmp(argument, programs[i].name) == 0)
            return &programs[i];
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct options options;
    struct err err = { 0 };

    std_fds_ensure();
    /* One heap for all threads: an arena a thread is memory that every clone pays for. */
    mallopt(M_ARENA_MAX, 1);

    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
        help_print(argc < 2 ? stderr : stdout);
        return argc < 2 ? EXIT_BAD_USAGE : 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("volt-vmm " VOLT_VERSION);
        return 0;
    }
    const struct program *program = find_program(argv[1]);
    if (!program) {
        fprintf(stderr, "volt-vmm: unknown command '%s'; see volt-vmm --help\n", argv[1]);
        return EXIT_BAD_USAGE;
    }
    int used = program == &direct ? 1 : 2;
    if (arguments_get(&argc, &argv, used, &err) < 0 ||
        options_parse(&options, argc - used, argv + used, &err) < 0) {
        fprintf(stderr, "volt-vmm: %s\n", err.msg);
        return EXIT_BAD_USAGE;
    }
    program_speaks_on(options.control_fd);
    oom_score_set(options.oom_score_adj);
    sandbox_config_warn(&options.sandbox);
    int status = program->run(&options, &err);
    if (err.code) {
        char said[2 * ERR_MSG_BYTES];

        text_clean(said, sizeof said, err.msg, sizeof err.msg); /* it may quote the VM */
        fprintf(stderr, "volt-vmm: %s\n", said);
        program_report_failure(&err);
    }
    return status;
}
