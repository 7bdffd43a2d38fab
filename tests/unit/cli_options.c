/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: command lines are taken apart as --help says, and wrong ones are refused. Method: tables of
 * command lines and what must come of them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "commands.h"
#include "exec_env.h"
#include "options.h"
#include "tap_main.h"

static const struct cli_command test_command = { "test", "ARGS", "Test", NULL, "test", NULL };

/* Splits at blanks, in place; returns argc. */
static int words_split(char *line, char *argv[16])
{
    int argc = 0;

    for (char *word = strtok(line, " "); word && argc < 15; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    return argc;
}

static const struct {
    const char *line;
    bool takes_command;
    size_t positional_max;
    int exit_code;        /* -1: accepted */
    const char *expected; /* flag|text|size|time|number|list...|positionals...|rest... */
} lines[] = {
    { "x", false, 0, -1, "0|-|0|0|0" },
    { "x -f -t text", false, 0, -1, "1|text|0|0|0" },
    { "x -ft text", false, 0, -1, "1|text|0|0|0" },
    { "x --text=a=b --flag", false, 0, -1, "1|a=b|0|0|0" },
    { "x --size 2M --time 5s --number 7", false, 0, -1, "0|-|2097152|5000|7" },
    { "x -l 1 -l 2", false, 0, -1, "0|-|0|0|0|l1|l2" },
    { "x a -f b", false, 2, -1, "1|-|0|0|0|pa|pb" },
    { "x -- -f b", false, 2, -1, "0|-|0|0|0|p-f|pb" },
    { "x a -f -- cmd -f", true, 1, -1, "1|-|0|0|0|pa|rcmd|r-f" },
    { "x a -f cmd -t", true, 1, -1, "1|-|0|0|0|pa|rcmd|r-t" },
    { "x -- cmd", true, 1, -1, "0|-|0|0|0|rcmd" },
    { "x a -- -- b", true, 1, -1, "0|-|0|0|0|pa|r--|rb" },
    { "x --help", false, 0, 0, NULL },
    { "x -h", true, 1, 0, NULL },
    { "x a", false, 0, 125, NULL },
    { "x a b c", false, 2, 125, NULL },
    { "x a", true, 1, 125, NULL },
    { "x a --", true, 1, 125, NULL },
    { "x --nope", false, 0, 125, NULL },
    { "x -q", false, 0, 125, NULL },
    { "x --text", false, 0, 125, NULL },
    { "x -t", false, 0, 125, NULL },
    { "x --flag=1", false, 0, 125, NULL },
    { "x --size 12Q", false, 0, 125, NULL },
    { "x --size -1", false, 0, 125, NULL },
    { "x --time 5x", false, 0, 125, NULL },
    { "x --number 4294967295", false, 0, -1, "0|-|0|0|4294967295" },
    { "x --number 4294967296", false, 0, 125, NULL },
    { "x --number -1", false, 0, 125, NULL },
};

static void outcome_format(char *out, size_t out_bytes, const struct options *options,
                           const struct option_list *list)
{
    size_t at = strlen(out);

    for (size_t i = 0; i < list->count; i++)
        at += (size_t)snprintf(out + at, out_bytes - at, "|l%s", list->items[i]);
    for (size_t i = 0; i < options->positional_count; i++)
        at += (size_t)snprintf(out + at, out_bytes - at, "|p%s", options->positionals[i]);
    for (int i = 0; i < options->rest_count; i++)
        at += (size_t)snprintf(out + at, out_bytes - at, "|r%s", options->rest[i]);
}

START_TEST(command_lines)
{
    bool flag = false;
    const char *text = "-";
    uint64_t size = 0, time_ms = 0;
    int64_t number = 0;
    _cleanup_option_list_ struct option_list list = { 0 };
    const struct option_spec specs[] = {
        { "flag", 'f', OPTION_FLAG, &flag, NULL, "" },
        { "text", 't', OPTION_STRING, &text, "T", "" },
        { "size", 0, OPTION_SIZE, &size, "S", "" },
        { "time", 0, OPTION_DURATION, &time_ms, "T", "" },
        { "number", 0, OPTION_NUMBER, &number, "N", "" },
        { "list", 'l', OPTION_LIST, &list, "L", "" },
    };
    struct options options = { specs, ARRAY_LEN(specs), .positional_max = lines[_i].positional_max,
                               .takes_command = lines[_i].takes_command };
    char line[256], outcome[512], *argv[16];
    int exit_code = -1;

    snprintf(line, sizeof line, "%s", lines[_i].line);
    int argc = words_split(line, argv);
    if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
        ck_abort();
    bool accepted = options_parse(&options, &test_command, argc, argv, &exit_code);
    ck_assert_msg(accepted == (lines[_i].exit_code < 0), "'%s'", lines[_i].line);
    ck_assert_int_eq(exit_code, lines[_i].exit_code);
    if (!accepted)
        return;
    snprintf(outcome, sizeof outcome, "%d|%s|%ju|%ju|%jd", flag, text, (uintmax_t)size,
             (uintmax_t)time_ms, (intmax_t)number);
    outcome_format(outcome, sizeof outcome, &options, &list);
    ck_assert_str_eq(outcome, lines[_i].expected);
}
END_TEST

START_TEST(a_missing_argument_is_refused)
{
    struct options options = { .positional_min = 1, .positional_max = 1 };
    char name[] = "x", *argv[] = { name, NULL };
    int exit_code = -1;

    if (!freopen("/dev/null", "w", stderr))
        ck_abort();
    ck_assert(!options_parse(&options, &test_command, 1, argv, &exit_code));
    ck_assert_int_eq(exit_code, 125);
}
END_TEST

START_TEST(durations)
{
    static const struct {
        const char *text;
        uint64_t ms; /* UINT64_MAX: refused */
    } cases[] = {
        { "0", 0 },
        { "5", 5000 },
        { "250ms", 250 },
        { "5s", 5000 },
        { "10m", 600000 },
        { "10min", 600000 },
        { "1h", 3600000 },
        { "4294967295ms", UINT32_MAX },
        { "1193h", 4294800000 },
        { "1194h", UINT64_MAX },
        { "4294967296ms", UINT64_MAX },
        { "99999999999999999999", UINT64_MAX },
        { "", UINT64_MAX },
        { "s", UINT64_MAX },
        { "-1s", UINT64_MAX },
        { "+1s", UINT64_MAX },
        { "1.5s", UINT64_MAX },
        { "1 s", UINT64_MAX },
        { "1d", UINT64_MAX },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t ms = UINT64_MAX;

        ck_assert_msg(duration_parse(cases[i].text, &ms) == (cases[i].ms != UINT64_MAX), "'%s'",
                      cases[i].text);
        ck_assert_uint_eq(ms, cases[i].ms);
    }
}
END_TEST

/* ---- Every number that voltctl takes ---- */

static const char *const wrong_numbers[] = {
    "", "-1", "+1", " 1", "1 ", "1x", "0x10", "1e3", "1.5", "nan", "18446744073709551616",
};

/* The specs of the command that was described last: only their names and kinds are looked at. */
static struct option_spec described[OPTIONS_MAX];
static size_t described_count;

static void describe(const struct options *options, const struct cli_command *command)
{
    (void)command;
    described_count = options->spec_count;
    memcpy(described, options->specs, options->spec_count * sizeof *described);
}

/* Whether `command --option=value` ends with wrong usage and a sentence on what the option wants. */
static bool refused(const struct cli_command *command, const char *option, const char *value)
{
    char given[96], name[16] = "x", says[512] = "", wants[96], *argv[] = { name, given, NULL };
    FILE *messages = tmpfile();
    int saved = dup(STDERR_FILENO), exit_code;

    snprintf(given, sizeof given, "--%s=%s", option, value);
    snprintf(wants, sizeof wants, "--%s wants ", option);
    fflush(stderr);
    dup2(fileno(messages), STDERR_FILENO);
    exit_code = command->run(command, 2, argv);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(messages);
    says[fread(says, 1, sizeof says - 1, messages)] = '\0';
    fclose(messages);
    return exit_code == CLI_EXIT_FAILURE && strstr(says, wants);
}

START_TEST(no_command_takes_a_number_for_another)
{
    static const char *const no_fs_sizes[] = { "0", "1", "1023K", "65G", "68719476737" };
    unsigned tried = 0;

    for (size_t c = 0; c < command_count; c++) {
        char name[16] = "x", *argv[] = { name, NULL };

        described_count = 0;
        options_describe = describe;
        commands[c].run(&commands[c], 1, argv);
        options_describe = NULL;
        for (size_t i = 0; i < described_count; i++) {
            const struct option_spec *spec = &described[i];

            if (spec->kind != OPTION_NUMBER && spec->kind != OPTION_SIZE &&
                spec->kind != OPTION_FS_SIZE && spec->kind != OPTION_DURATION)
                continue;
            for (size_t k = 0; k < ARRAY_LEN(no_fs_sizes) && spec->kind == OPTION_FS_SIZE; k++)
                ck_assert_msg(refused(&commands[c], spec->name, no_fs_sizes[k]), "%s --%s '%s'",
                              commands[c].name, spec->name, no_fs_sizes[k]);
            for (size_t k = 0; k < ARRAY_LEN(wrong_numbers); k++)
                ck_assert_msg(refused(&commands[c], spec->name, wrong_numbers[k]), "%s --%s '%s'",
                              commands[c].name, spec->name, wrong_numbers[k]);
            tried++;
        }
    }
    ck_assert_uint_ge(tried, 15);
}
END_TEST

static const struct {
    const char *text; /* of a file */
    const char *made; /* what becomes of it, or what the failure says */
    int rc;
} env_files[] = {
    { "A=1\n\n# no\n  B= two words \nC='q\"'\r\nA=3\nD=\n", "A=3|B= two words |C='q\"'|D=|", 0 },
    { "VOLT_TEST_SET\nVOLT_TEST_UNSET\nlast=line", "VOLT_TEST_SET=x=y|last=line|", 0 },
    { "", "", 0 },
    { "A=1\n=2\n", "line 2: a variable is NAME=VALUE", -EINVAL },
    { "A B=1\n", "line 1: a variable's name has no blanks", -EINVAL },
};

START_TEST(variables_of_a_file)
{
    char path[] = "/tmp/volt-env-XXXXXX", made[256] = "";
    _cleanup_exec_env_ struct exec_env env = { 0 };
    int fd = mkstemp(path);
    struct err err = { 0 };

    setenv("VOLT_TEST_SET", "x=y", 1);
    unsetenv("VOLT_TEST_UNSET");
    ck_assert_int_eq(write(fd, env_files[_i].text, strlen(env_files[_i].text)),
                     (ssize_t)strlen(env_files[_i].text));
    close(fd);
    int rc = exec_env_add_file(&env, path, &err);
    unlink(path);
    ck_assert_int_eq(rc, env_files[_i].rc);
    for (size_t i = 0; rc == 0 && i < env.count; i++)
        strcat(strcat(made, env.items[i]), "|");
    if (rc == 0)
        ck_assert_str_eq(made, env_files[_i].made);
    else
        ck_assert_ptr_nonnull(strstr(err.msg, env_files[_i].made));
}
END_TEST

START_TEST(variables_that_are_not)
{
    _cleanup_exec_env_ struct exec_env env = { 0 };
    struct err err;

    ck_assert_int_eq(exec_env_add_file(&env, "/nonexistent", &err), -ENOENT);
    ck_assert_int_eq(exec_env_add(&env, "=x", &err), -EINVAL);
    ck_assert_int_eq(exec_env_add(&env, "", &err), -EINVAL);
    ck_assert_uint_eq(env.count, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_options");
    TCase *tests = tap_case(suite, "options");

    tcase_add_loop_test(tests, command_lines, 0, ARRAY_LEN(lines));
    tcase_add_test(tests, a_missing_argument_is_refused);
    tcase_add_test(tests, durations);
    tcase_add_test(tests, no_command_takes_a_number_for_another);
    tcase_add_loop_test(tests, variables_of_a_file, 0, ARRAY_LEN(env_files));
    tcase_add_test(tests, variables_that_are_not);
    return tap_main(suite);
}
