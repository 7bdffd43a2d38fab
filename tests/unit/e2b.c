/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the gateway for E2B reads its settings, its clients' envelopes and its guests' entries as they are
 * meant, and refuses all others. Method: tables of texts. What it does with clients, poold and guests is in
 * tests/e2e/e2b.sh. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/landlock.h"
#include "base/util.h"
#include "e2b/guest_command.h"
#include "e2b/rpc.h"
#include "e2b/sandbox.h"
#include "tap_main.h"

static const struct {
    const char *text, *address; /* NULL: refused */
    uint16_t port;
    bool local;
} addresses[] = {
    { "127.0.0.1:3000", "127.0.0.1", 3000, true },
    { "3000", "127.0.0.1", 3000, true },
    { "localhost:0", "127.0.0.1", 0, true },
    { "[::1]:80", "::1", 80, true },
    { "127.1.2.3:1", "127.1.2.3", 1, true },
    { "0.0.0.0:3000", "0.0.0.0", 3000, false },
    { "[::]:3000", "::", 3000, false },
    { "10.1.2.3:65535", "10.1.2.3", 65535, false },
    { "10.1.2.3:65536", NULL, 0, false },
    { "", NULL, 0, false },
    { ":", NULL, 0, false },
    { "127.0.0.1:", NULL, 0, false },
    { "127.0.0.1:-1", NULL, 0, false },
    { "127.0.0.1:80x", NULL, 0, false },
    { "example.org:80", NULL, 0, false },
    { "127.0.0.1.evil:80", NULL, 0, false },
};

START_TEST(addresses_are_read)
{
    struct e2b_settings *settings = calloc(1, sizeof *settings);
    struct err err = { 0 };
    int rc = e2b_address_parse(settings, addresses[_i].text, &err);

    ck_assert_int_eq(rc, addresses[_i].address ? 0 : -EINVAL);
    if (rc == 0) {
        ck_assert_str_eq(settings->address, addresses[_i].address);
        ck_assert_uint_eq(settings->port, addresses[_i].port);
        ck_assert_int_eq(e2b_is_local(settings), addresses[_i].local);
    } else {
        ck_assert_str_ne(err.msg, "");
    }
    free(settings);
}
END_TEST

START_TEST(templates_have_pools)
{
    struct e2b_settings *settings = calloc(1, sizeof *settings);
    struct err err;

    settings->pool = "main";
    ck_assert_int_eq(e2b_template_parse(settings, "python=py,team/node:20=node-20", &err), 0);
    ck_assert_int_eq(e2b_template_parse(settings, "base2=b", &err), 0);
    ck_assert_str_eq(e2b_pool_of(settings, "base"), "main");
    ck_assert_str_eq(e2b_pool_of(settings, "python"), "py");
    ck_assert_str_eq(e2b_pool_of(settings, "team/node:20"), "node-20");
    ck_assert_str_eq(e2b_pool_of(settings, "other"), "other");
    static const char *const bad[] = { "=x",    "x=",    "x",   "a=b,c", "a b=c", "a=b,,",
                                       "a=b\n", "a=b=c", "a=B", "a=b/c", "a=../b" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_int_eq(e2b_template_parse(settings, bad[i], &err), -EINVAL);
    ck_assert_int_eq(e2b_pool_parse(settings, "node-20.1_x", &err), 0);
    ck_assert_str_eq(e2b_pool_of(settings, "base"), "node-20.1_x");
    static const char *const bad_pools[] = { "", "A", "a/b", "../a", "a b", "a\n", "a\"" };
    for (size_t i = 0; i < ARRAY_LEN(bad_pools); i++)
        ck_assert_int_eq(e2b_pool_parse(settings, bad_pools[i], &err), -EINVAL);
    settings->template_count = 0;
    for (unsigned i = 0; i < E2B_TEMPLATES_MAX; i++)
        ck_assert_int_eq(e2b_template_parse(settings, "a=b", &err), 0);
    ck_assert_int_eq(e2b_template_parse(settings, "a=b", &err), -EINVAL);
    free(settings);
}
END_TEST

static const struct {
    const char *text;
    mode_t mode;
    int rc;
    unsigned count;
} key_files[] = {
    { "e2b_1\n\n# none\ne2b_2", 0600, 0, 2 },
    { "e2b_1\r\n", 0400, 0, 1 },
    { "e2b_1\n", 0640, -EPERM, 0 },
    { "e2b_1\n", 0602, -EPERM, 0 },
    { "", 0600, -EINVAL, 0 },
    { "# e2b_1\n", 0600, -EINVAL, 0 },
    { "e2b 1\n", 0600, -EINVAL, 0 },
    { "e2b_\xc3\xa9\n", 0600, -EINVAL, 0 },
};

START_TEST(keys_are_read)
{
    struct e2b_settings *settings = calloc(1, sizeof *settings);
    char path[] = "/tmp/volt-e2b-XXXXXX";
    struct err err;
    int fd = mkstemp(path);

    ck_assert_int_eq(write(fd, key_files[_i].text, strlen(key_files[_i].text)),
                     (ssize_t)strlen(key_files[_i].text));
    ck_assert_int_eq(fchmod(fd, key_files[_i].mode), 0);
    close(fd);
    ck_assert_int_eq(e2b_keys_read(settings, path, &err), key_files[_i].rc);
    if (key_files[_i].rc == 0)
        ck_assert_uint_eq(settings->key_count, key_files[_i].count);
    unlink(path);
    ck_assert_int_eq(e2b_keys_read(settings, path, &err), -ENOENT);
    free(settings);
}
END_TEST

START_TEST(a_key_that_is_too_long)
{
    struct e2b_settings *settings = calloc(1, sizeof *settings);
    char path[] = "/tmp/volt-e2b-XXXXXX", line[4 * E2B_KEY_BYTES];
    struct err err;
    int fd = mkstemp(path);

    memset(line, 'k', sizeof line);
    ck_assert_int_eq(write(fd, line, sizeof line), (ssize_t)sizeof line);
    close(fd);
    ck_assert_int_eq(e2b_keys_read(settings, path, &err), -EINVAL);
    unlink(path);
    free(settings);
}
END_TEST

START_TEST(envelopes)
{
    static const struct {
        const char *data;
        size_t bytes, message_bytes;
        int rc;
    } cases[] = {
        { "\0\0\0\0\2{}", 7, 2, 0 },
        { "\0\0\0\0\0", 5, 0, 0 },
        { "", 0, 0, -EINVAL },
        { "\0\0\0\0", 4, 0, -EINVAL },
        { "\0\0\0\0\2{", 6, 0, -EINVAL },
        { "\0\0\0\0\2{}x", 8, 0, -EINVAL },
        { "\1\0\0\0\2{}", 7, 0, -EINVAL },
        { "\2\0\0\0\2{}", 7, 0, -EINVAL },
        { "\0\xff\xff\xff\xff{}", 7, 0, -EINVAL },
    };
    const char *message;
    size_t bytes;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ck_assert_int_eq(rpc_envelope_parse(cases[i].data, cases[i].bytes, &message, &bytes, &err),
                         cases[i].rc);
        if (cases[i].rc == 0)
            ck_assert_uint_eq(bytes, cases[i].message_bytes);
    }
    char *made = rpc_envelope_end(RPC_NOT_FOUND, "no\n", &bytes);
    ck_assert_int_eq(made[0], RPC_FLAG_END);
    made[0] = 0;
    ck_assert_int_eq(rpc_envelope_parse(made, bytes, &message, &bytes, &err), 0);
    ck_assert_mem_eq(message, "{\"error\":{\"code\":\"not_found\",\"message\":\"no\\\\n\"}}",
                     bytes);
    free(made);
}
END_TEST

START_TEST(bytes_in_json)
{
    static const struct {
        const char *text, *bytes; /* NULL: refused */
    } cases[] = {
        { "", "" },        { "aGk=", "hi" },      { "aGk", "hi" },
        { "aGlp", "hii" }, { "_-8", "\xff\xef" }, { "/+8=", "\xff\xef" },
        { "a", NULL },     { "aGk=aGk=", NULL },  { "a\nGk", NULL },
        { "####", NULL },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *text = json_string(cases[i].text);
        size_t bytes = 0;
        uint8_t *data = rpc_bytes_decode(text, &bytes);

        ck_assert_msg(!data == !cases[i].bytes, "'%s'", cases[i].text);
        if (data) {
            ck_assert_uint_eq(bytes, strlen(cases[i].bytes));
            ck_assert_mem_eq(data, cases[i].bytes, bytes);
        }
        free(data);
        json_decref(text);
    }
    ck_assert_ptr_null(rpc_bytes_decode(NULL, &(size_t){ 0 }));
}
END_TEST

START_TEST(entries)
{
    static const char good[] = "l\0"
                               "12\0"
                               "511\0"
                               "me\0"
                               "us\0"
                               "1795991412\0"
                               "5\0"
                               "/a/b\n\0"
                               "c";
    size_t bytes = 0;
    json_t *entry = guest_entry_parse((const uint8_t *)good, sizeof good, &bytes);

    ck_assert_uint_eq(bytes, sizeof good);
    ck_assert_str_eq(json_string_value(json_object_get(entry, "name")), "b\\n");
    ck_assert_str_eq(json_string_value(json_object_get(entry, "type")), "FILE_TYPE_SYMLINK");
    ck_assert_str_eq(json_string_value(json_object_get(entry, "size")), "12");
    ck_assert_str_eq(json_string_value(json_object_get(entry, "permissions")), "Lrwxrwxrwx");
    ck_assert_str_eq(json_string_value(json_object_get(entry, "modifiedTime")),
                     "2026-11-29T22:30:12.000000005Z");
    ck_assert_str_eq(json_string_value(json_object_get(entry, "symlinkTarget")), "c");
    json_decref(entry);
    for (size_t cut = 0; cut < sizeof good; cut++)
        ck_assert_ptr_null(guest_entry_parse((const uint8_t *)good, cut, &bytes));
}
END_TEST

START_TEST(texts)
{
    static const struct {
        const char *json;
        bool good;
    } cases[] = {
        { "{}", true },          { "{\"a\": \"b\"}", true }, { "[]", false },
        { "{\"a\": 1}", false }, { "{\"\": \"b\"}", false }, { "{\"a=b\": \"c\"}", false }
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *json = json_loads(cases[i].json, 0, NULL);

        ck_assert_int_eq(sandbox_texts_are_good(json), cases[i].good);
        json_decref(json);
    }
}
END_TEST

/* ---- A guest that means harm ---- */

/* Frames that volt-files' session gets, and what comes of it. */
static const struct {
    const char *frames;
    size_t bytes;
    int rc;
    bool refused;
    const char *says;
} sessions[] = {
#define FRAMES(text) (text), sizeof(text) - 1
#define EXIT(kind, value) "\10\0\0\0\44\0\0\0" kind "\0\0\0" value "\0\0\0"
    { FRAMES(EXIT("\0", "\0")), 0, false, "" },
    { FRAMES("\4\0\0\0\42\0\0\0"
             "13 x" EXIT("\0", "\1")),
      -13, true, "x" },
    { FRAMES("\2\0\0\0\42\0\0\0"
             "no" EXIT("\0", "\1")),
      -EREMOTEIO, true, "no" },
    { FRAMES("\11\0\0\0\42\0\0\0"
             "99999999 " EXIT("\0", "\1")),
      -EREMOTEIO, true, "failed" },
    { FRAMES("\5\0\0\0\42\0\0\0"
             "2 \x1b[m" EXIT("\0", "\1")),
      -ENOENT, true, "\\x1b[m" },
    { FRAMES(EXIT("\3", "\2")), -ENOSYS, true, "replace" },
    { FRAMES(EXIT("\77", "\0")), -EREMOTEIO, true, "failed" },
    { FRAMES("\0\0\0\0\44\0\0\0"), -EPROTO, true, "cut EXIT" },
    { FRAMES("\0\0\0\0\45\0\0\0"), -EPROTO, true, "out of place" },
    { FRAMES("\1\0\0\0\46\0\0\0"
             "x"),
      -EPROTO, true, "cut ERROR" },
    { FRAMES("\6\0\0\0\46\0\0\0"
             "\2\0\0\0"
             "no"),
      -ENOENT, true, "no" },
    { FRAMES("\377\377\377\377\41\0\0\0"), -EPROTO, false, "more than" },
    { FRAMES("\4\0\0\0\43\0\0\0"
             "\377\377\377\377"),
      -ENOTCONN, false, "ended" },
    { FRAMES("\4\0\0\0\41\0\0\0"
             "ab"),
      -ENOTCONN, false, "ended" },
    { FRAMES(""), -ENOTCONN, false, "ended" },
};

START_TEST(what_guests_say_is_checked)
{
    struct guest_files files = { .credit = AGENT_STDIN_CREDIT };
    struct err err = { 0 };
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    files.agent = agent_create(pair[0]);
    ck_assert_int_eq(write(pair[1], sessions[_i].frames, sessions[_i].bytes),
                     (ssize_t)sessions[_i].bytes);
    shutdown(pair[1], SHUT_WR);
    ck_assert_int_eq(guest_files_finish(&files, &err), sessions[_i].rc);
    ck_assert_int_eq(files.refused, sessions[_i].refused);
    ck_assert_ptr_nonnull(strstr(err.msg, sessions[_i].says));
    ck_assert_uint_le(files.credit, AGENT_STDIN_CREDIT);
    guest_files_close(&files);
    close(pair[1]);
}
END_TEST

/* One that prints for ever. */
START_TEST(what_guests_print_is_bounded)
{
    static const struct agent_frame head = { .payload_bytes = AGENT_PAYLOAD_MAX,
                                             .type = AGENT_STDOUT };
    static char payload[AGENT_PAYLOAD_MAX];
    struct guest_files files = { .credit = AGENT_STDIN_CREDIT };
    struct err err = { 0 };
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    files.agent = agent_create(pair[0]);
    pid_t pid = fork();
    while (pid == 0)
        if (send(pair[1], &head, sizeof head, MSG_NOSIGNAL) < 0 ||
            send(pair[1], payload, sizeof payload, MSG_NOSIGNAL) < 0)
            _exit(0);
    close(pair[1]);
    ck_assert_int_eq(guest_files_finish(&files, &err), -E2BIG);
    ck_assert_uint_le(files.bytes, GUEST_FILES_OUTPUT_MAX);
    guest_files_close(&files);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

#define OWN_FILE "/tmp/volt-e2b-own"

/* What an owner may do to a file without opening it, and a user to its other processes. Calls by
 * number: not all headers have them. */
static const struct {
    const char *name;
    long call, arguments[5];
} owners_calls[] = {
    { "chmod", 90, { (long)OWN_FILE, 0666 } },
    { "fchmodat", 268, { -100, (long)OWN_FILE, 0666 } },
    { "fchmodat2", 452, { -100, (long)OWN_FILE, 0666, 0 } },
    { "utime", 132, { (long)OWN_FILE, 0 } },
    { "utimes", 235, { (long)OWN_FILE, 0 } },
    { "futimesat", 261, { -100, (long)OWN_FILE, 0 } },
    { "utimensat", 280, { -100, (long)OWN_FILE, 0, 0 } },
    { "inotify_add_watch", 254, { 0, (long)OWN_FILE, 2 } },
};

/* What is left to a process that is confined: a bit for each thing that goes right. */
static int confined_try(void)
{
    char *const argv[] = { (char[]){ "/bin/true" }, NULL };
    const pid_t parent = getppid();
    struct rlimit limit;
    struct err err;
    int left = 0;

    if (dup2(inotify_init1(IN_CLOEXEC), 0) < 0 || e2b_confine(&err) < 0)
        return 1;
    left |= open("/etc/passwd", O_RDONLY) >= 0 ? 2 : 0;
    left |= open("/tmp/volt-e2b-none", O_WRONLY | O_CREAT, 0600) >= 0 ? 4 : 0;
    execve(argv[0], argv, NULL);
    left |= kill(parent, 0) == 0 || syscall(SYS_tgkill, parent, parent, 0) == 0 ? 8 : 0;
    left |= prlimit(parent, RLIMIT_CORE, NULL, &limit) == 0 ? 8 : 0;
    left |= setpriority(PRIO_PROCESS, (id_t)parent, 0) == 0 ? 8 : 0;
    left |= fork() >= 0 ? 16 : 0;
    left |= socket(AF_UNIX, SOCK_STREAM, 0) < 0 || raise(SIGCHLD) != 0 ? 32 : 0; /* that it needs */
    for (size_t i = 0; i < ARRAY_LEN(owners_calls); i++) {
        const long *at = owners_calls[i].arguments;

        if (syscall(owners_calls[i].call, at[0], at[1], at[2], at[3], at[4]) < 0)
            continue;
        fprintf(stderr, "%s is left\n", owners_calls[i].name);
        left |= 64;
    }
    return left;
}

START_TEST(nothing_is_left_of_the_host)
{
    const int fd = open(OWN_FILE, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(confined_try());
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    /* Without Landlock in the kernel, files are left. */
    ck_assert_int_eq(WEXITSTATUS(status), landlock_abi() > 0 ? 0 : 2 | 4);
    unlink("/tmp/volt-e2b-none");
    unlink(OWN_FILE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("e2b");
    TCase *tests = tap_case(suite, "the gateway for E2B");

    tcase_add_loop_test(tests, addresses_are_read, 0, ARRAY_LEN(addresses));
    tcase_add_test(tests, templates_have_pools);
    tcase_add_loop_test(tests, keys_are_read, 0, ARRAY_LEN(key_files));
    tcase_add_test(tests, a_key_that_is_too_long);
    tcase_add_test(tests, envelopes);
    tcase_add_test(tests, bytes_in_json);
    tcase_add_test(tests, entries);
    tcase_add_test(tests, texts);
    tcase_add_loop_test(tests, what_guests_say_is_checked, 0, ARRAY_LEN(sessions));
    tcase_add_test(tests, what_guests_print_is_bounded);
    tcase_add_test(tests, nothing_is_left_of_the_host);
    return tap_main(suite);
}
