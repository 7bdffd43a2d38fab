/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what `voltctl cp` brings into a guest is called what `docker cp` would call it, has all that a
 * tar can carry, and replaces what it should and nothing else. Method: a fake poold plays the guest's
 * agent over a folder of the host, with volt-init's own unpacking.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "cli.h"
#include "copy.h"
#include "guest_files.h"
#include "interrupt.h"
#include "tap_main.h"

static char base[64];
static struct copy_options options;

static void run(const char *command)
{
    ck_assert_msg(system(command) == 0, "failed: %s", command);
}

/* "guest" is the guest's root, "host" where the user is. */
static void base_make(void)
{
    strcpy(base, "/tmp/volt-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    ck_assert_int_eq(chdir(base), 0);
    umask(022);
    signal(SIGPIPE, SIG_IGN);
    options = (struct copy_options){ 0 };
    run("mkdir -p host/d/sub host/empty guest && cd host && echo one >f && echo two >d/x && "
        "echo three >d/sub/y && ln -s sub/y d/l && ln -s f link && ln -s d dirlink && "
        "ln -s /abs abs && chmod 640 f && chmod 710 d && touch -d @1000000000 f d && mkfifo fifo "
        "&& "
        "mkdir -p v/var/run/a && touch v/var/run/a/x");
    run("cd guest && mkdir -p there/d/sub dirs run var && echo old >file && echo old >there/f && "
        "echo keep >there/d/mine && ln -s there glink && ln -s file gfile && ln -s nowhere "
        "dangling "
        "&& ln -s /there/d absolute && ln -s loop loop && mkfifo fifo && ln -s /run var/run");
    ck_assert_int_eq(chdir("host"), 0);
}

static void base_remove(void)
{
    char command[96];

    ck_assert_int_eq(chdir("/"), 0);
    snprintf(command, sizeof command, "chmod -R u+rwx %s && rm -rf %s", base, base);
    run(command);
}

static int copy_in(const char *from, const char *to, struct err *err)
{
    struct fake fake;
    struct api api;
    char root[96];

    snprintf(root, sizeof root, "%s/guest", base);
    guest_files_start(&fake, root);
    ck_assert_int_eq(api_init(&api, err), 0);
    int rc = copy_to_guest(&api, "cafe", from, to, &options, err);
    api_fini(&api);
    guest_files_stop(&fake);
    return rc;
}

/* ---- The rules of docker cp ---- */

static const struct {
    const char *from, *to;
    const char *check; /* a shell command in "guest"; NULL: it must fail... */
    const char *says;  /* ...and say that */
} rules[] = {
    { "f", "/new", "cmp new ../host/f && test $(stat -c %a-%Y new) = 640-1000000000", NULL },
    { "f", "/file", "cmp file ../host/f", NULL },
    { "f", "/", "cmp f ../host/f", NULL },
    { "f", "/there", "cmp there/f ../host/f", NULL },
    { "f", "/there/", "cmp there/f ../host/f", NULL },
    { "f", "/there/.", "cmp there/f ../host/f", NULL },
    { "./../host//f", "/there", "cmp there/f ../host/f", NULL },
    { "f", "/glink", "cmp there/f ../host/f && test -L glink", NULL },
    { "f", "/glink/g", "cmp there/g ../host/f", NULL },
    { "f", "/absolute", "cmp there/d/f ../host/f && test -L absolute", NULL },
    { "f", "/gfile", "cmp file ../host/f && test -L gfile", NULL },
    { "f", "/dangling", "cmp nowhere ../host/f && test -L dangling", NULL },
    { "f", "/loop", NULL, "symbolic links" },
    { "f", "/missing/", NULL, "there is no folder" },
    { "f", "/file/", NULL, "there is no folder" },
    { "f", "/fifo", NULL, "not replaced" },
    { "f/.", "/there", NULL, "not a folder" },
    { "f/", "/there", NULL, "not a folder" },
    { "x", "/there", NULL, "No such file" },
    { "fifo", "/there", NULL, "not copied" },
    { "/dev/null", "/there", NULL, "not copied" },
    { "d", "/new", "diff -r ../host/d new && test $(stat -c %a-%Y new) = 710-1000000000", NULL },
    { "d/", "/new", "diff -r ../host/d new && test $(stat -c %a-%Y new) = 710-1000000000", NULL },
    { "d", "/new/", "diff -r ../host/d new && test $(stat -c %a-%Y new) = 710-1000000000", NULL },
    { "d/.", "/new", "diff -r ../host/d new && test $(stat -c %a-%Y new) = 710-1000000000", NULL },
    { "d", "/ne/w\n&,", "diff -r ../host/d ne/w*", NULL },
    { "d", "/dangling", "diff -r ../host/d nowhere && test -L dangling", NULL },
    { "d", "/d2/..", NULL, "" },
    { "d", "/dirs", "diff -r ../host/d dirs/d && test $(stat -c %Y dirs/d) = 1000000000", NULL },
    { "d/.", "/dirs", "diff -r ../host/d dirs", NULL },
    { "d", "/there", "cat there/d/mine && cmp there/d/x ../host/d/x && cat there/d/l", NULL },
    { "d", "/glink", "cat there/d/mine && cmp there/d/x ../host/d/x", NULL },
    { "d/sub/..", "/dirs", "diff -r ../host/d dirs/d", NULL },
    { "d", "/file", NULL, "is a file" },
    { "d", "/fifo", NULL, "not replaced" },
    { "link", "/", "test $(readlink link) = f", NULL },
    { "link", "/file", "test $(readlink file) = f", NULL },
    { "abs", "/", "test $(readlink abs) = /abs", NULL },
    { "dirlink", "/dirs", "test $(readlink dirs/dirlink) = d", NULL },
    { "dirlink/", "/dirs", "diff -r ../host/d dirs/dirlink", NULL },
    { "dirlink/.", "/dirs", "diff -r ../host/d dirs", NULL },
    { "empty", "/new", "test -z \"$(ls -A new)\"", NULL },
    { "v/.", "/", "test -f run/a/x && test -L var/run", NULL },
    { "v/var/run", "/var", NULL, "leads out of the target" },
};

START_TEST(names_are_those_of_docker_cp)
{
    char command[256];
    struct err err = { 0 };
    int rc = copy_in(rules[_i].from, rules[_i].to, &err);

    if (rules[_i].says) {
        ck_assert_int_lt(rc, 0);
        ck_assert_msg(strstr(err.msg, rules[_i].says) != NULL, "it says: %s", err.msg);
    } else {
        ck_assert_msg(rc == 0, "%s to %s: %s", rules[_i].from, rules[_i].to, err.msg);
        snprintf(command, sizeof command, "cd ../guest && %s", rules[_i].check);
        run(command);
    }
    run("cd ../guest && test -z \"$(find . -name '.volt-cp*')\" && test -p fifo && test -c "
        "/dev/null");
}
END_TEST

/* ---- What a tar can carry ---- */

START_TEST(what_a_tree_has_comes_in)
{
    struct err err;

    run("mkdir -p rich/sub && truncate -s 40M rich/empty && "
        "truncate -s 9000M rich/huge && printf end | dd of=rich/huge bs=1M seek=8000 conv=notrunc "
        "status=none && printf x >rich/a && ln rich/a rich/sub/b && ln -s a rich/l && "
        "setfattr -n user.one -v 1 rich/a && setfattr -n user.dir -v 2 rich/sub && "
        "touch -d '2001-02-03 04:05:06.123456789' rich/a rich/sub && chmod 444 rich/a && "
        "mkfifo rich/fifo && chmod 4755 rich/empty && long=$(printf 'n%.0s' $(seq 200)) && "
        "mkdir -p rich/$long/$long && printf 'l\\xff' >rich/$long/$long/$(printf "
        "'n\\xc3\\xa4\\xff') && "
        "python3 -c 'import socket as s; s.socket(s.AF_UNIX).bind(\"rich/socket\")'");
    ck_assert_msg(copy_in("rich", "/new", &err) == 0, "%s", err.msg);
    ck_assert_msg(copy_in("rich", "/new", &err) == 0, "%s", err.msg); /* under its name */
    run("rm rich/fifo rich/socket; cd ../guest/new && mv rich .. && diff -r . ../../host/rich && "
        "cd ../rich && "
        "test ! -e fifo && test ! -e socket && test a -ef sub/b && test $(stat -c %a empty) = 755 "
        "&& "
        "test $(du -k huge | cut -f1) -le 64 && test $(du -k empty | cut -f1) -le 4 && "
        "cmp -n 2000 -i 8388607000 huge ../../host/rich/huge && "
        "for f in a sub; do test \"$(stat -c '%a %y %s' $f)\" = "
        "\"$(stat -c '%a %y %s' ../../host/rich/$f)\" || exit 1; done && "
        "test $(getfattr --only-values -n user.one a) = 1 && "
        "test $(getfattr --only-values -n user.dir sub) = 2");
}
END_TEST

START_TEST(owners_go_in_only_when_they_are_asked_for)
{
    struct err err;

    if (geteuid() != 0) {
        printf("# skipped: only root gives files away\n");
        return;
    }
    run("mkdir own && printf x >own/a && ln -s a own/l && chown 12:34 own/a own && "
        "chown -h 56:78 own/l && setcap cap_net_raw+ep own/a && printf s >own/s && "
        "chmod 6755 own/s");
    ck_assert_msg(copy_in("own", "/there", &err) == 0, "%s", err.msg);
    run("cd ../guest/there/own && test \"$(stat -c %u:%g:%a . a l s | tr '\\n' ' ')\" = "
        "'0:0:755 0:0:644 0:0:777 0:0:755 ' && getcap a | grep -q net_raw");
    options.owners = true;
    ck_assert_msg(copy_in("own", "/dirs", &err) == 0, "%s", err.msg);
    run("cd ../guest/dirs/own && test \"$(stat -c %u:%g:%a . a l s | tr '\\n' ' ')\" = "
        "'12:34:755 12:34:644 56:78:777 0:0:6755 ' && getcap a | grep -q net_raw");
}
END_TEST

START_TEST(a_link_is_followed_when_it_is_asked_for)
{
    struct err err;

    options.follow = true;
    ck_assert_msg(copy_in("link", "/there", &err) == 0, "%s", err.msg);
    ck_assert_msg(copy_in("dirlink", "/dirs", &err) == 0, "%s", err.msg);
    run("cd ../guest && cmp there/link ../host/f && test ! -L there/link && "
        "diff -r dirs/dirlink ../host/d");
}
END_TEST

/* ---- Streams ---- */

/* Copies "-" with that on standard input. */
static int stream_in(const char *command, const char *to, struct err *err)
{
    int saved = dup(STDIN_FILENO);
    FILE *pipe = popen(command, "re");

    ck_assert_ptr_nonnull(pipe);
    ck_assert_int_ge(dup2(fileno(pipe), STDIN_FILENO), 0);
    int rc = copy_in("-", to, err);
    dup2(saved, STDIN_FILENO);
    close(saved);
    pclose(pipe);
    return rc;
}

START_TEST(a_stream_comes_from_standard_input)
{
    struct err err;

    ck_assert_msg(stream_in("tar -c d f", "/dirs", &err) == 0, "%s", err.msg);
    run("cd ../guest && diff -r dirs/d ../host/d && cmp dirs/f ../host/f");
    ck_assert_int_lt(stream_in("tar -c d", "/missing", &err), 0);
    ck_assert_int_lt(stream_in("tar -c d", "/file", &err), 0);
    ck_assert_int_lt(stream_in("tar -cz d", "/dirs", &err), 0);
    ck_assert_msg(strstr(err.msg, "zcat") != NULL, "%s", err.msg);
    ck_assert_int_lt(stream_in("true", "/dirs", &err), 0);
    ck_assert_int_lt(stream_in("tar -c f | head -c 514", "/there", &err), 0);
    ck_assert_int_lt(stream_in("head -c 2000 /dev/urandom", "/there", &err), 0);
    run("test \"$(cat ../guest/there/f)\" = old");
}
END_TEST

START_TEST(a_stream_of_somebodys_brings_no_rights)
{
    struct err err;

    if (geteuid() != 0) {
        printf("# skipped: only root gives files away\n");
        return;
    }
    run("mkdir own && printf x >own/a && chown 12:34 own/a && chmod 6755 own/a && printf y >own/b "
        "&& "
        "setcap cap_net_raw+ep own/b && mknod own/null c 1 3");
    static const char tar[] = "tar -c --format=posix --xattrs --xattrs-include='*' own";
    ck_assert_msg(stream_in(tar, "/dirs", &err) == 0, "%s", err.msg);
    run("cd ../guest/dirs/own && test $(stat -c %u:%g:%a a) = 0:0:755 && test -z \"$(getcap b)\" "
        "&& "
        "test ! -e null");
    options.owners = true;
    ck_assert_msg(stream_in(tar, "/there", &err) == 0, "%s", err.msg);
    run("cd ../guest/there/own && test $(stat -c %u:%g:%a a) = 12:34:6755 && "
        "getcap b | grep -q net_raw");
}
END_TEST

/* ---- Copies that break off ---- */

START_TEST(what_a_copy_that_breaks_off_left_is_told)
{
    struct err err;

    run("mkdir many && for i in $(seq 100 149); do echo $i >many/$i; done && mkdir -p "
        "../guest/dirs/many && mkfifo ../guest/dirs/many/149 && mkdir ../guest/dirs/many/100");
    ck_assert_int_lt(copy_in("many", "/dirs", &err), 0);
    ck_assert_msg(strstr(err.msg, "files and folders had been copied by then") ||
                      strstr(err.msg, "there is a") || strstr(err.msg, "directory"),
                  "%s", err.msg);
    run("test -p ../guest/dirs/many/149 && test -d ../guest/dirs/many/100");
}
END_TEST

START_TEST(what_can_not_be_read_is_told_and_all_else_copied)
{
    struct err err;
    int status;

    if (geteuid() != 0) {
        printf("# skipped: the test makes a file of root's\n");
        return;
    }
    run("mkdir some && echo a >some/a && echo s >some/secret && echo z >some/z && "
        "chmod 600 some/secret && chmod 755 .. ../guest && chown -R 65534 ../guest/dirs some && "
        "chown 0 some/secret");
    pid_t pid = fork();
    if (pid == 0) {
        if (setgid(65534) < 0 || setuid(65534) < 0)
            _exit(3);
        int rc = copy_in("some", "/dirs", &err);
        _exit(rc < 0 && strstr(err.msg, "all else is copied") ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    run("cd ../guest/dirs/some && test \"$(cat a)\" = a && test \"$(cat z)\" = z && "
        "test ! -e secret");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_copy_in");
    TCase *tests = tap_case(suite, "copies into a guest");

    tcase_add_checked_fixture(tests, base_make, base_remove);
    tcase_add_loop_test(tests, names_are_those_of_docker_cp, 0, ARRAY_LEN(rules));
    tcase_add_test(tests, what_a_tree_has_comes_in);
    tcase_add_test(tests, owners_go_in_only_when_they_are_asked_for);
    tcase_add_test(tests, a_link_is_followed_when_it_is_asked_for);
    tcase_add_test(tests, a_stream_comes_from_standard_input);
    tcase_add_test(tests, a_stream_of_somebodys_brings_no_rights);
    tcase_add_test(tests, what_a_copy_that_breaks_off_left_is_told);
    tcase_add_test(tests, what_can_not_be_read_is_told_and_all_else_copied);
    return tap_main(suite);
}
