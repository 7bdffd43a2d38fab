/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what `voltctl cp` brings from a guest is called what `docker cp` would call it, replaces what
 * it should and nothing else, and a guest that means harm gets nowhere. Method: a fake poold plays
 * the guest's agent over a folder of the host, with volt-init's own packing, or answers with archives
 * from the table of hostile ones.
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
#include "cli_fake.h"
#include "copy.h"
#include "guest_files.h"
#include "hostile.h"
#include "tap_main.h"
#include "tar_write.h"
#include "watched.h"

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
    run("mkdir -p guest/d/sub guest/ro guest/empty host && echo one >guest/f && echo two "
        ">guest/d/x && "
        "echo three >guest/d/sub/y && ln -s sub/y guest/d/l && ln -s f guest/link && "
        "ln -s d guest/dirlink && ln -s /abs guest/abs && echo r >guest/ro/r && chmod 755 guest/f "
        "&& "
        "chmod 555 guest/ro && touch -d @1000000000 guest/f guest/d");
    ck_assert_int_eq(chdir("host"), 0);
    run("mkdir there there/d there/d/sub dirs && echo old >file && echo old >there/f && "
        "echo old >there/d/x && echo keep >there/d/mine && ln -s there mylink && ln -s file myfile "
        "&& "
        "ln -s nowhere dangling && mkfifo fifo && mkdir ro");
}

static void base_remove(void)
{
    char command[96];

    ck_assert_int_eq(chdir("/"), 0);
    snprintf(command, sizeof command, "chmod -R u+rwx %s && rm -rf %s", base, base);
    run(command);
}

/* ---- The guest ---- */

/* Copies from a guest whose root is "guest". */
static int copy_out_of_folder(const char *from, const char *to, struct err *err)
{
    struct fake fake;
    struct api api;
    char root[96];

    snprintf(root, sizeof root, "%s/guest", base);
    guest_files_start(&fake, root);
    ck_assert_int_eq(api_init(&api, err), 0);
    int rc = copy_from_guest(&api, "cafe", from, to, &options, err);
    api_fini(&api);
    guest_files_stop(&fake);
    return rc;
}

static int copy_out(fake_serve serve, const void *context, const char *from, const char *to,
                    struct err *err)
{
    struct api api;
    struct fake fake;

    fake_start(&fake, serve, context, 1);
    cli_socket_option = fake.path;
    ck_assert_int_eq(api_init(&api, err), 0);
    int rc = copy_from_guest(&api, "cafe", from, to, &options, err);
    api_fini(&api);
    fake_stop(&fake);
    return rc;
}

/* ---- The rules of docker cp ---- */

static const struct {
    const char *from, *to;
    const char *check; /* a shell command in "host"; NULL: it must fail... */
    const char *says;  /* ...and say that */
} rules[] = {
    { "/f", "new", "cmp new ../guest/f && test $(stat -c %a-%Y new) = 755-1000000000", NULL },
    { "/f", "file", "cmp file ../guest/f", NULL },
    { "/f", ".", "cmp f ../guest/f", NULL },
    { "/f", "there", "cmp there/f ../guest/f", NULL },
    { "/f", "there/", "cmp there/f ../guest/f", NULL },
    { "/f", "there/.", "cmp there/f ../guest/f", NULL },
    { "/f", "./there/../there//f", "cmp there/f ../guest/f", NULL },
    { "/f", "mylink", "cmp there/f ../guest/f && test -L mylink", NULL },
    { "/f", "mylink/g", "cmp there/g ../guest/f", NULL },
    { "/f", "myfile", "cmp file ../guest/f && test -L myfile", NULL },
    { "/f", "dangling", "cmp nowhere ../guest/f && test -L dangling", NULL },
    { "/f", "missing/", NULL, "there is no folder" },
    { "/f", "missing/g", NULL, "there is no 'missing'" },
    { "/f", "file/", NULL, "there is no folder" },
    { "/f", "file/g", NULL, "Not a directory" },
    { "/f", "fifo", NULL, "not replaced" },
    { "/f", "/dev/null", NULL, "not replaced" },
    { "/f/.", "there", NULL, "Not a directory" },
    { "/x", "there", "test $(ls there | wc -l) = 2", "No such file" },
    { "/d", "new", "diff -r ../guest/d new && test $(stat -c %a-%Y new) = 755-1000000000", NULL },
    { "/d/", "new", "diff -r ../guest/d new", NULL },
    { "/d", "new/", "diff -r ../guest/d new", NULL },
    { "/d/.", "new", "diff -r ../guest/d new", NULL },
    { "/d", "dirs", "diff -r ../guest/d dirs/d", NULL },
    { "/d/.", "dirs", "diff -r ../guest/d dirs", NULL },
    { "/d", "there", "cat there/d/mine && cmp there/d/x ../guest/d/x && cat there/d/l", NULL },
    { "/d/.", "there/d", "cat there/d/mine && cmp there/d/x ../guest/d/x", NULL },
    { "/d", "mylink", "cat there/d/mine && cmp there/d/x ../guest/d/x", NULL },
    { "/d", "file", NULL, "is a file" },
    { "/d", "fifo", NULL, "not replaced" },
    { "/d", "missing/new", NULL, "there is no 'missing'" },
    { "/link", ".", "test $(readlink link) = f", NULL },
    { "/link", "file", "test $(readlink file) = f", NULL },
    { "/abs", ".", "test $(readlink abs) = /abs", NULL },
    { "/dirlink", "dirs", "test $(readlink dirs/dirlink) = d", NULL },
    { "/dirlink/.", "dirs", "diff -r ../guest/d dirs", NULL },
    { "/ro", "new", "test $(stat -c %a new) = 555 && cat new/r", NULL },
    { "/ro", "ro", "test $(stat -c %a ro/ro) = 555 && cat ro/ro/r", NULL },
    { "/empty", "new", "test -z \"$(ls -A new)\"", NULL },
};

START_TEST(names_are_those_of_docker_cp)
{
    struct err err = { 0 };
    int rc = copy_out_of_folder(rules[_i].from, rules[_i].to, &err);

    if (rules[_i].says) {
        ck_assert_int_lt(rc, 0);
        ck_assert_msg(strstr(err.msg, rules[_i].says) != NULL, "it says: %s", err.msg);
    } else {
        ck_assert_msg(rc == 0, "%s to %s: %s", rules[_i].from, rules[_i].to, err.msg);
    }
    if (rules[_i].check)
        run(rules[_i].check);
    run("test -z \"$(find . -name '.volt-cp*')\" && test -p fifo && test -c /dev/null");
}
END_TEST

/* ---- What a tar can carry ---- */

START_TEST(what_a_tree_has_comes_out)
{
    struct err err;

    run("cd ../guest && mkdir -p rich/sub && truncate -s 40M rich/empty && "
        "truncate -s 9000M rich/huge && printf end | dd of=rich/huge bs=1M seek=8000 conv=notrunc "
        "status=none && printf x >rich/a && ln rich/a rich/sub/b && ln -s a rich/l && "
        "setfattr -n user.one -v 1 rich/a && setfattr -n user.dir -v 2 rich/sub && "
        "touch -d '2001-02-03 04:05:06.123456789' rich/a rich/sub && chmod 444 rich/a && "
        "mkfifo rich/fifo && chmod 4755 rich/empty");
    ck_assert_msg(copy_out_of_folder("/rich", "new", &err) == 0, "%s", err.msg);
    run("cd new && test ! -e fifo && test a -ef sub/b && test $(stat -c %a empty) = 755 && "
        "test $(du -k huge | cut -f1) -le 64 && test $(du -k empty | cut -f1) -le 4 && "
        "cmp -n 2000 -i 8388607000 huge ../../guest/rich/huge && "
        "for f in a sub; do test \"$(stat -c '%a %y %s' $f)\" = "
        "\"$(stat -c '%a %y %s' ../../guest/rich/$f)\" || exit 1; done && "
        "test $(getfattr --only-values -n user.one a) = 1 && "
        "test $(getfattr --only-values -n user.dir sub) = 2");
}
END_TEST

START_TEST(owners_come_out_only_when_they_are_asked_for)
{
    struct err err;

    if (geteuid() != 0) {
        printf("# skipped: only root gives files away\n");
        return;
    }
    run("cd ../guest && mkdir own && printf x >own/a && ln -s a own/l && "
        "setcap cap_net_raw+ep own/a && chown 12:34 own/a own && chown -h 56:78 own/l && "
        "setcap cap_net_raw+ep own/a && chmod 4777 own/a");
    ck_assert_msg(copy_out_of_folder("/own", "mine", &err) == 0, "%s", err.msg);
    run("cd mine && test \"$(stat -c %u:%g:%a . a l | tr '\\n' ' ')\" = '0:0:755 0:0:755 0:0:777 ' "
        "&& test -z \"$(getcap a)\"");
    options.owners = true;
    ck_assert_msg(copy_out_of_folder("/own", "theirs", &err) == 0, "%s", err.msg);
    ck_assert_msg(copy_out_of_folder("/own/a", "alone", &err) == 0, "%s", err.msg);
    options.owners = false;
    run("cd theirs && test \"$(stat -c %u:%g:%a . a l ../alone | tr '\\n' ' ')\" = "
        "'12:34:755 12:34:777 56:78:777 12:34:777 ' && test -z \"$(getcap a)\"");
}
END_TEST

START_TEST(a_link_is_followed_when_it_is_asked_for)
{
    struct err err;

    options.follow = true;
    ck_assert_msg(copy_out_of_folder("/link", "file", &err) == 0, "%s", err.msg);
    ck_assert_msg(copy_out_of_folder("/dirlink", "dirs", &err) == 0, "%s", err.msg);
    options.follow = false;
    ck_assert_msg(copy_out_of_folder("/dirlink/", "there", &err) == 0, "%s", err.msg);
    run("cmp file ../guest/f && test ! -L file && diff -r dirs/dirlink ../guest/d && "
        "diff -r there/dirlink ../guest/d");
    ck_assert_int_lt(copy_out_of_folder("/link/", "there", &err), 0);
}
END_TEST

START_TEST(a_stream_goes_to_standard_output)
{
    int saved = dup(STDOUT_FILENO), fd = open("stream", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    struct err err;

    ck_assert_int_ge(dup2(fd, STDOUT_FILENO), 0);
    int rc = copy_out_of_folder("/d", "-", &err);
    int missing_rc = copy_out_of_folder("/missing", "-", &err);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(fd);
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(missing_rc, -ENOENT);
    run("tar -xf stream -C dirs && diff -r ../guest/d dirs/d");
}
END_TEST

START_TEST(a_source_without_a_name_is_refused)
{
    struct api api = { .client.fd = -1 };
    struct err err;

    ck_assert_int_eq(copy_from_guest(&api, "cafe", "/d/..", "new", &options, &err), -EINVAL);
}
END_TEST

/* ---- What came out of a VM before ---- */

START_TEST(a_link_of_a_guests_is_not_followed)
{
    struct err err;

    run("mkdir victim && ln -sfn $PWD/victim ../guest/bin && ln -sfn $PWD/victim/new ../guest/g && "
        "mkdir ../guest/tree && ln -s $PWD/victim ../guest/tree/bin");
    ck_assert_int_eq(copy_out_of_folder("/bin", "bin", &err), 0);
    ck_assert_int_eq(copy_out_of_folder("/g", "g", &err), 0);
    ck_assert_int_eq(copy_out_of_folder("/tree", "tree", &err), 0);
    run("rm ../guest/bin ../guest/g && mkdir ../guest/bin && echo evil >../guest/bin/ls && "
        "echo evil >../guest/g");
    static const char *const targets[] = { "bin", "bin/", "tree/bin", "tree/bin/", "tree/bin/new" };
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        ck_assert_int_lt(copy_out_of_folder("/bin", targets[i], &err), 0);
        ck_assert_msg(strstr(err.msg, "came out of a VM") != NULL, "%s", err.msg);
        ck_assert_int_lt(copy_out_of_folder("/bin/.", targets[i], &err), 0);
    }
    ck_assert_int_eq(copy_out_of_folder("/g", "g", &err), 0); /* takes the link's place */
    run("test \"$(cat g)\" = evil && test ! -L g && test -z \"$(ls victim)\"");
}
END_TEST

/* ---- Copies that break off ---- */

struct broken {
    size_t bytes;   /* of the stream that come */
    bool with_done; /* and then the guest says that this was all */
};

static void serve_broken(int fd, unsigned n, const void *context)
{
    const struct broken *broken = context;
    static struct tar_writer writer;
    static uint8_t data[MIB(1)];
    struct fail fail;
    char path[96];
    size_t bytes;

    (void)n;
    snprintf(path, sizeof path, "%s/guest/d", base);
    fake_accept_agent(fd);
    fake_check(fake_read_frame(fd, data, &bytes) == AGENT_GET);
    fake_check(tar_writer_init(&writer, path, false, &fail) == 0);
    ssize_t got = tar_writer_read(&writer, data, broken->bytes, &fail);
    fake_check(got > 0);
    fake_frame(fd, AGENT_DATA, data, (size_t)got);
    if (broken->with_done)
        fake_frame(fd, AGENT_DONE, NULL, 0);
}

START_TEST(a_copy_that_breaks_off_leaves_nothing_new)
{
    const struct broken broken = { 1024 + 100 + (size_t)_i / 2 * 512, _i % 2 };
    struct err err;

    ck_assert_int_lt(copy_out(serve_broken, &broken, "/d", "new", &err), 0);
    ck_assert_int_lt(access("new", F_OK), 0);
    run("echo old >f1 && test -z \"$(find . -name '.volt-cp*')\"");
    ck_assert_int_lt(copy_out(serve_broken, &broken, "/d", "there", &err), 0);
    run("test \"$(cat there/d/mine)\" = keep && test -z \"$(find . -name '.volt-cp*')\"");
    ck_assert_msg(_i < 4 || strstr(err.msg, "had been copied to there by then") != NULL, "%s",
                  err.msg);
}
END_TEST

/* Sends the beginning, and then nothing until the client is gone. */
static void serve_stalled(int fd, unsigned n, const void *context)
{
    static const struct broken begun = { 2048, false };
    char byte;

    (void)context;
    serve_broken(fd, n, &begun);
    while (read(fd, &byte, 1) > 0)
        ;
}

START_TEST(a_signal_leaves_nothing_either)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    struct err err;
    int status;

    pid_t pid = fork();
    if (pid == 0)
        _exit(copy_out(serve_stalled, NULL, "/d", "new", &err) == -EINTR ? 0 : 1);
    while (system("test -n \"$(find . -path './.volt-cp*/x')\"") != 0)
        usleep(10000);
    ck_assert_int_eq(kill(pid, signals[_i]), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    run("test ! -e new && test -z \"$(find . -name '.volt-cp*')\"");
}
END_TEST

/* ---- Guests that mean harm ---- */

struct attack {
    size_t index;
    struct hostile_place place;
};

static void serve_hostile(int fd, unsigned n, const void *context)
{
    const struct attack *attack = context;
    static uint8_t archive[HOSTILE_BYTES_MAX];
    size_t bytes, all = hostile_build(attack->index, &attack->place, archive);
    uint8_t request[AGENT_PAYLOAD_MAX];

    (void)n;
    fake_accept_agent(fd);
    fake_check(fake_read_frame(fd, request, &bytes) == AGENT_GET);
    for (size_t at = 0; at < all; at += AGENT_PAYLOAD_MAX)
        fake_frame(fd, AGENT_DATA, archive + at, MIN_OF(all - at, AGENT_PAYLOAD_MAX));
    fake_frame(fd, AGENT_DONE, NULL, 0);
}

START_TEST(a_hostile_guest_gets_nowhere)
{
    static const char *const sources[] = { "/top", "/top/." };
    struct watched watched;
    struct attack attack = { .place = { "top", watched.victim } };
    struct err err;

    watched_make(&watched);
    char *before = watched_print(&watched);
    for (attack.index = 0; attack.index < hostile_count; attack.index++) {
        for (unsigned i = 0; i < 4; i++) { /* twice each: the second finds what the first left */
            char to[128];

            snprintf(to, sizeof to, "%s%s", watched.target, i % 2 ? "/new" : "");
            copy_out(serve_hostile, &attack, sources[i / 2], to, &err);
            copy_out(serve_hostile, &attack, sources[i / 2], to, &err);
            char *after = watched_print(&watched);
            ck_assert_msg(strcmp(before, after) == 0, "'%s' got out:\n%s",
                          hostile_title(attack.index), after);
            free(after);
            watched_target_reset(&watched);
        }
    }
    free(before);
    watched_remove(&watched);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_copy");
    TCase *tests = tap_case(suite, "copies from a guest");

    tcase_add_checked_fixture(tests, base_make, base_remove);
    tcase_add_loop_test(tests, names_are_those_of_docker_cp, 0, ARRAY_LEN(rules));
    tcase_add_test(tests, what_a_tree_has_comes_out);
    tcase_add_test(tests, owners_come_out_only_when_they_are_asked_for);
    tcase_add_test(tests, a_link_is_followed_when_it_is_asked_for);
    tcase_add_test(tests, a_stream_goes_to_standard_output);
    tcase_add_test(tests, a_source_without_a_name_is_refused);
    tcase_add_test(tests, a_link_of_a_guests_is_not_followed);
    tcase_add_loop_test(tests, a_copy_that_breaks_off_leaves_nothing_new, 0, 8);
    tcase_add_loop_test(tests, a_signal_leaves_nothing_either, 0, 3);
    tcase_add_test(tests, a_hostile_guest_gets_nowhere);
    return tap_main(suite);
}
