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
#include "hostile.h"
#include "tap_main.h"
#include "tar_write.h"
#include "watched.h"

static char base[64];

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

static void get_answer(int fd, const char *path)
{
    static struct tar_writer writer;
    uint8_t data[AGENT_PAYLOAD_MAX];
    struct fail fail;
    ssize_t bytes = tar_writer_init(&writer, path, &fail);

    while (bytes >= 0 && (bytes = tar_writer_read(&writer, data, sizeof data, &fail)) > 0)
        fake_frame(fd, AGENT_DATA, data, (size_t)bytes);
    if (bytes == 0) {
        fake_frame(fd, AGENT_DONE, NULL, 0);
        return;
    }
    uint32_t code = (uint32_t)fail.code;
    memcpy(data, &code, sizeof code);
    memcpy(data + sizeof code, fail.sentence, strlen(fail.sentence));
    fake_frame(fd, AGENT_ERROR, data, sizeof code + strlen(fail.sentence));
}

static void serve_get(int fd, unsigned n, const void *context)
{
    char request[AGENT_PAYLOAD_MAX + 1], path[sizeof request + 80];
    size_t bytes;

    (void)n, (void)context;
    fake_accept_agent(fd);
    fake_check(fake_read_frame(fd, (uint8_t *)request, &bytes) == AGENT_GET);
    request[bytes] = '\0';
    snprintf(path, sizeof path, "%s/guest%s", base, request);
    get_answer(fd, path);
}

static int copy_out(fake_serve serve, const void *context, const char *from, const char *to,
                    struct err *err)
{
    struct api api;
    struct fake fake;

    fake_start(&fake, serve, context, 1);
    cli_socket_option = fake.path;
    ck_assert_int_eq(api_init(&api, err), 0);
    int rc = copy_from_guest(&api, "cafe", from, to, err);
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
    int rc = copy_out(serve_get, NULL, rules[_i].from, rules[_i].to, &err);

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

START_TEST(a_source_without_a_name_is_refused)
{
    struct api api = { .client.fd = -1 };
    struct err err;

    ck_assert_int_eq(copy_from_guest(&api, "cafe", "/d/..", "new", &err), -EINVAL);
}
END_TEST

/* ---- What came out of a VM before ---- */

START_TEST(a_link_of_a_guests_is_not_followed)
{
    struct err err;

    run("mkdir victim && ln -sfn $PWD/victim ../guest/bin && ln -sfn $PWD/victim/new ../guest/g && "
        "mkdir ../guest/tree && ln -s $PWD/victim ../guest/tree/bin");
    ck_assert_int_eq(copy_out(serve_get, NULL, "/bin", "bin", &err), 0);
    ck_assert_int_eq(copy_out(serve_get, NULL, "/g", "g", &err), 0);
    ck_assert_int_eq(copy_out(serve_get, NULL, "/tree", "tree", &err), 0);
    run("rm ../guest/bin ../guest/g && mkdir ../guest/bin && echo evil >../guest/bin/ls && "
        "echo evil >../guest/g");
    static const char *const targets[] = { "bin", "bin/", "tree/bin", "tree/bin/", "tree/bin/new" };
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        ck_assert_int_lt(copy_out(serve_get, NULL, "/bin", targets[i], &err), 0);
        ck_assert_msg(strstr(err.msg, "came out of a VM") != NULL, "%s", err.msg);
        ck_assert_int_lt(copy_out(serve_get, NULL, "/bin/.", targets[i], &err), 0);
    }
    ck_assert_int_eq(copy_out(serve_get, NULL, "/g", "g", &err), 0); /* takes the link's place */
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
    fake_check(tar_writer_init(&writer, path, &fail) == 0);
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
    tcase_add_test(tests, a_source_without_a_name_is_refused);
    tcase_add_test(tests, a_link_of_a_guests_is_not_followed);
    tcase_add_loop_test(tests, a_copy_that_breaks_off_leaves_nothing_new, 0, 8);
    tcase_add_loop_test(tests, a_signal_leaves_nothing_either, 0, 3);
    tcase_add_test(tests, a_hostile_guest_gets_nowhere);
    return tap_main(suite);
}
