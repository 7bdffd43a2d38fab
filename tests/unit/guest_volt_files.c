/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: volt-files does with files what guest_abi.h says, and says why where it can't. Method: each
 * operation in a process of its own in a folder, and what it prints, NULs shown as '|' and times as '-'. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "tap_main.h"

static char base[] = "/tmp/volt-files-XXXXXX";
static char printed[8192], complained[512];
static size_t printed_bytes;

static void base_make(void)
{
    strcpy(base + sizeof base - 7, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    ck_assert_int_eq(chdir(base), 0);
}

static void base_remove(void)
{
    char command[64];

    snprintf(command, sizeof command, "rm -rf %s", base);
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(system(command), 0);
}

static size_t read_all(int fd, char *to, size_t room)
{
    size_t fill = 0;
    ssize_t count;

    while ((count = read(fd, to + fill, room - 1 - fill)) > 0)
        fill += (size_t)count;
    to[fill] = '\0';
    close(fd);
    return fill;
}

/* Runs "OPERATION [PATH [MORE]]" with that input; the exit code. */
static int run(const char *input, const char *operation, const char *path, const char *more)
{
    char *argv[] = { (char[]){ "volt-files" }, (char *)(uintptr_t)operation,
                     (char *)(uintptr_t)path, (char *)(uintptr_t)more, NULL };
    int in[2], out[2], err[2], status, argc = more ? 4 : path ? 3 : 2;

    ck_assert(pipe(in) == 0 && pipe(out) == 0 && pipe(err) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(err[1], 2);
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        _exit(files_main(argc, argv));
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);
    ck_assert_int_eq(write(in[1], input, strlen(input)), (ssize_t)strlen(input));
    close(in[1]);
    printed_bytes = read_all(out[0], printed, sizeof printed);
    read_all(err[0], complained, sizeof complained);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The fields `wanted` of each entry: kind, size, permissions, path below base, target. */
static void entries_are(const char *wanted)
{
    char shown[4096] = "";
    const char *at = printed;

    while (at < printed + printed_bytes) {
        const char *fields[9];

        for (int i = 0; i < 9; i++) {
            fields[i] = at;
            at += strlen(at) + 1;
        }
        ck_assert_int_eq(strncmp(fields[7], base, sizeof base - 1), 0);
        snprintf(shown + strlen(shown), sizeof shown - strlen(shown), "%s %s %o %s %s\n", fields[0],
                 fields[0][0] == 'd' ? "-" : fields[1], atoi(fields[2]),
                 fields[7] + sizeof base - 1, fields[8]);
    }
    ck_assert_str_eq(shown, wanted);
}

START_TEST(files_are_written_and_read)
{
    ck_assert_int_eq(run("some text", "write", "a/b/../b/./c.txt", NULL), 0);
    entries_are("f 9 644 /a/b/c.txt \n");
    ck_assert_int_eq(run("", "read", "a//b/c.txt", NULL), 0);
    ck_assert_mem_eq(printed + printed_bytes - 9, "some text", 9);
    ck_assert_int_eq(run("less", "write", "a/b/c.txt", NULL), 0);
    entries_are("f 4 644 /a/b/c.txt \n");
}
END_TEST

START_TEST(folders_are_listed)
{
    ck_assert_int_eq(run("x", "write", "a/b/c", NULL), 0);
    ck_assert_int_eq(symlink("b", "a/to-b"), 0);
    ck_assert_int_eq(symlink("/no/such", "a/to-nothing"), 0);
    ck_assert_int_eq(mkfifo("a/fifo", 0600), 0);
    ck_assert_int_eq(run("", "list", "a", "1"), 0);
    entries_are(
        "d - 755 /a/b \no 0 600 /a/fifo \nd - 777 /a/to-b b\nl 8 777 /a/to-nothing /no/such\n");
    ck_assert_int_eq(run("", "list", ".", "3"), 0);
    entries_are("d - 755 /a \nd - 755 /a/b \nf 1 644 /a/b/c \no 0 600 /a/fifo \nd - 777 /a/to-b b\n"
                "l 8 777 /a/to-nothing /no/such\n");
}
END_TEST

START_TEST(trees_are_moved_and_removed)
{
    ck_assert_int_eq(run("", "mkdir", "a/b/c", NULL), 0);
    ck_assert_int_eq(run("x", "write", "kept", NULL), 0);
    ck_assert_int_eq(symlink("../../kept", "a/b/link"), 0);
    ck_assert_int_eq(run("", "move", "a/b", "new/place"), 0);
    entries_are("d - 755 /new/place \n");
    ck_assert_int_eq(run("", "remove", "new", NULL), 0);
    ck_assert_uint_eq(printed_bytes, 0);
    ck_assert_int_ne(access("new", F_OK), 0);
    ck_assert_int_eq(access("kept", F_OK), 0);
    ck_assert_int_eq(run("", "remove", "new", NULL), 0);
}
END_TEST

static const struct {
    const char *operation, *path, *more;
    int error;
} refusals[] = {
    { "stat", "none", NULL, 2 },     { "stat", "", NULL, 22 },
    { "read", "none", NULL, 2 },     { "read", ".", NULL, 21 },
    { "read", "fifo", NULL, 22 },    { "write", ".", NULL, 21 },
    { "write", "file/x", NULL, 20 }, { "mkdir", "file", NULL, 17 },
    { "mkdir", "file/x", NULL, 20 }, { "move", "none", "x", 2 },
    { "move", "file", "dir", 21 },   { "list", "file", "1", 20 },
    { "list", "none", "1", 2 },      { "list", ".", "0", 22 },
    { "list", ".", "65", 22 },       { "list", ".", NULL, 22 },
    { "other", ".", NULL, 22 },      { "stat", NULL, NULL, 22 },
    { "watch", "none", "flat", 2 },  { "watch", "file", "flat", 20 },
};

START_TEST(what_cant_be_done_is_said)
{
    char wanted[16];

    ck_assert_int_eq(mkdir("dir", 0755), 0);
    close(open("file", O_CREAT | O_WRONLY, 0600));
    ck_assert_int_eq(mkfifo("fifo", 0600), 0);
    ck_assert_int_eq(run("", refusals[_i].operation, refusals[_i].path, refusals[_i].more), 1);
    int bytes = snprintf(wanted, sizeof wanted, "%d ", refusals[_i].error);
    ck_assert_msg(strncmp(complained, wanted, (size_t)bytes) == 0, "%s %s: '%s'",
                  refusals[_i].operation, refusals[_i].path, complained);
    ck_assert_uint_eq(printed_bytes, 0);
}
END_TEST

START_TEST(paths_that_are_too_long)
{
    static char path[PATH_MAX + 100];

    memset(path, 'a', sizeof path - 1);
    ck_assert_int_eq(run("", "stat", path, NULL), 1);
    ck_assert_int_eq(strncmp(complained, "36 ", 3), 0);
    for (size_t i = 0; i < sizeof path - 1; i += 2)
        path[i] = '/';
    ck_assert_int_eq(run("", "write", path, NULL), 1);
}
END_TEST

START_TEST(home_is_where_HOME_says)
{
    ck_assert_int_eq(setenv("HOME", base, 1), 0);
    ck_assert_int_eq(run("", "mkdir", "~/x", NULL), 0);
    entries_are("d - 755 /x \n");
    ck_assert_int_eq(run("", "stat", "../../../../..", NULL), 0);
    ck_assert_str_eq(printed, "d");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guest_volt_files");
    TCase *tests = tap_case(suite, "volt-files");

    tcase_add_checked_fixture(tests, base_make, base_remove);
    tcase_add_test(tests, files_are_written_and_read);
    tcase_add_test(tests, folders_are_listed);
    tcase_add_test(tests, trees_are_moved_and_removed);
    tcase_add_loop_test(tests, what_cant_be_done_is_said, 0, sizeof refusals / sizeof refusals[0]);
    tcase_add_test(tests, paths_that_are_too_long);
    tcase_add_test(tests, home_is_where_HOME_says);
    return tap_main(suite);
}
