/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: `voltctl exec` speaks the agent's protocol rightly, and a guest that does not is a clear
 * error. Method: a fake poold plays the guest's agent, well-behaved and not.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"
#include "cli.h"
#include "cli_fake.h"
#include "exec_session.h"
#include "tap_main.h"

/* Runs one session against `serve`, with stdin from stdin_fd if that is not -1. Standard output and
 * error go to *ret_out. Returns what exec_session_run does. */
static int session_run(fake_serve serve, const void *context, int stdin_fd, uint32_t timeout_ms,
                       int *ret_exit, int ret_out[2], struct err *err)
{
    char *argv[] = { strdup("cmd"), strdup("an arg"), NULL };
    const char *items[] = { "K=first", "K=V", "VOLT_TEST_SET", "VOLT_TEST_UNSET" };
    _cleanup_exec_env_ struct exec_env env = { 0 };
    const struct exec_request request = { .argc = 2,
                                          .argv = argv,
                                          .cwd = "/dir",
                                          .env = &env,
                                          .timeout_ms = timeout_ms,
                                          .interactive = stdin_fd >= 0 };
    struct fake fake;
    struct api api;
    struct agent *agent = NULL;
    int saved[3];

    setenv("VOLT_TEST_SET", "1", 1);
    unsetenv("VOLT_TEST_UNSET");
    for (size_t i = 0; i < ARRAY_LEN(items); i++)
        ck_assert_int_eq(exec_env_add(&env, items[i], err), 0);
    fake_start(&fake, serve, context, 1);
    cli_socket_option = fake.path;
    ck_assert_int_eq(api_init(&api, err), 0);
    for (int fd = 0; fd < 3; fd++)
        saved[fd] = dup(fd);
    for (int i = 0; i < 2; i++) {
        ret_out[i] = memfd_create("out", MFD_CLOEXEC);
        dup2(ret_out[i], 1 + i);
    }
    if (stdin_fd >= 0)
        dup2(stdin_fd, 0);
    int rc = agent_open(&agent, &api, "cafe", err);
    if (rc == 0)
        rc = exec_session_run(agent, &request, ret_exit, err);
    for (int fd = 0; fd < 3; fd++) {
        dup2(saved[fd], fd);
        close(saved[fd]);
    }
    agent_close(agent);
    api_fini(&api);
    fake_stop(&fake);
    free(argv[0]);
    free(argv[1]);
    return rc;
}

/* Takes the EXEC frame and checks all of it. */
static void exec_take(int fd, uint32_t flags)
{
    static const char strings[] = "/dir\0cmd\0an arg\0K=V\0VOLT_TEST_SET=1";
    uint8_t payload[AGENT_PAYLOAD_MAX];
    struct agent_exec exec;
    size_t bytes;

    fake_check(fake_read_frame(fd, payload, &bytes) == AGENT_EXEC);
    fake_check(bytes == sizeof exec + sizeof strings);
    memcpy(&exec, payload, sizeof exec);
    fake_check(exec.flags == flags && exec.argc == 2 && exec.envc == 2);
    fake_check(memcmp(payload + sizeof exec, strings, sizeof strings) == 0);
}

static void exit_send(int fd, uint32_t kind, uint32_t value)
{
    struct agent_exit result = { kind, value };

    fake_frame(fd, AGENT_EXIT, &result, sizeof result);
}

static const struct agent_exit_case {
    uint32_t kind, value;
    int exit_code;
} exits[] = {
    { AGENT_EXIT_CODE, 0, 0 },
    { AGENT_EXIT_CODE, 42, 42 },
    { AGENT_EXIT_SIGNAL, SIGKILL, 137 },
    { AGENT_EXIT_TIMEOUT, SIGTERM, 124 },
    { AGENT_EXIT_NOT_FOUND, ENOENT, 127 },
    { AGENT_EXIT_NOT_EXECUTABLE, EACCES, 126 },
};

static void serve_exit(int fd, unsigned n, const void *context)
{
    const struct agent_exit_case *exit_case = context;

    (void)n;
    fake_accept_agent(fd);
    exec_take(fd, 0);
    fake_frame(fd, AGENT_STDOUT, "to out", 6);
    fake_frame(fd, AGENT_STDERR, "to err|", 7);
    exit_send(fd, exit_case->kind, exit_case->value);
}

START_TEST(output_and_exit_codes_come_through)
{
    struct err err;
    int exit_code, out[2];
    char text[64] = "";

    ck_assert_int_eq(session_run(serve_exit, &exits[_i], -1, 0, &exit_code, out, &err), 0);
    ck_assert_int_eq(exit_code, exits[_i].exit_code);
    ck_assert_int_eq(pread(out[0], text, sizeof text, 0), 6);
    ck_assert_mem_eq(text, "to out", 6);
    ck_assert_int_ge(pread(out[1], text, sizeof text - 1, 0), 7);
    ck_assert_mem_eq(text, "to err|", 7);
}
END_TEST

#define MUCH_FRAMES 256u

static void serve_much(int fd, unsigned n, const void *context)
{
    uint8_t block[AGENT_PAYLOAD_MAX];

    (void)n, (void)context;
    fake_accept_agent(fd);
    exec_take(fd, 0);
    for (unsigned i = 0; i < MUCH_FRAMES; i++) {
        memset(block, (int)i, sizeof block);
        fake_frame(fd, AGENT_STDOUT, block, sizeof block);
    }
    exit_send(fd, AGENT_EXIT_CODE, 0);
}

START_TEST(much_output_comes_whole_and_in_order)
{
    struct err err;
    int exit_code, out[2];
    uint8_t byte;

    ck_assert_int_eq(session_run(serve_much, NULL, -1, 0, &exit_code, out, &err), 0);
    ck_assert_int_eq(lseek(out[0], 0, SEEK_END), MUCH_FRAMES * AGENT_PAYLOAD_MAX);
    for (unsigned i = 0; i < MUCH_FRAMES; i++) {
        ck_assert_int_eq(pread(out[0], &byte, 1, (off_t)i * AGENT_PAYLOAD_MAX + 77), 1);
        ck_assert_uint_eq(byte, i & 0xff);
    }
}
END_TEST

#define STDIN_BYTES (3u * AGENT_STDIN_CREDIT + 1000)

/* Grants credit in odd portions and counts that none of it is overdrawn. */
static void serve_stdin(int fd, unsigned n, const void *context)
{
    uint8_t payload[AGENT_PAYLOAD_MAX];
    size_t bytes, got = 0, granted = AGENT_STDIN_CREDIT;
    unsigned type;

    (void)n, (void)context;
    fake_accept_agent(fd);
    exec_take(fd, AGENT_EXEC_STDIN);
    while ((type = fake_read_frame(fd, payload, &bytes)) == AGENT_STDIN) {
        const uint32_t more = 7001;

        for (size_t i = 0; i < bytes; i++)
            fake_check(payload[i] == (uint8_t)((got + i) * 31));
        got += bytes;
        fake_check(got <= granted);
        if (granted - got < 100) {
            granted += more;
            fake_frame(fd, AGENT_CREDIT, &more, sizeof more);
        }
    }
    fake_check(type == AGENT_EOF && got == STDIN_BYTES);
    exit_send(fd, AGENT_EXIT_CODE, 0);
}

START_TEST(stdin_keeps_to_the_credit)
{
    struct err err;
    int exit_code, out[2], in = memfd_create("in", MFD_CLOEXEC);
    uint8_t *data = malloc(STDIN_BYTES);

    for (size_t i = 0; i < STDIN_BYTES; i++)
        data[i] = (uint8_t)(i * 31);
    ck_assert_int_eq(pwrite(in, data, STDIN_BYTES, 0), STDIN_BYTES);
    ck_assert_int_eq(session_run(serve_stdin, NULL, in, 0, &exit_code, out, &err), 0);
    ck_assert_int_eq(exit_code, 0);
    free(data);
}
END_TEST

/* Sends us the signal once the command is asked for, and wants it back as a frame. */
static void serve_signal(int fd, unsigned n, const void *context)
{
    uint8_t payload[AGENT_PAYLOAD_MAX];
    uint32_t number;
    size_t bytes;

    (void)n, (void)context;
    fake_accept_agent(fd);
    exec_take(fd, 0);
    kill(getppid(), SIGTERM);
    fake_check(fake_read_frame(fd, payload, &bytes) == AGENT_SIGNAL && bytes == sizeof number);
    memcpy(&number, payload, sizeof number);
    fake_check(number == SIGTERM);
    exit_send(fd, AGENT_EXIT_SIGNAL, SIGTERM);
}

START_TEST(signals_are_the_commands)
{
    struct err err;
    int exit_code, out[2];

    ck_assert_int_eq(session_run(serve_signal, NULL, -1, 0, &exit_code, out, &err), 0);
    ck_assert_int_eq(exit_code, 128 + SIGTERM);
}
END_TEST

/* ---- A guest that misbehaves ---- */

struct raw_frames {
    const char *data;
    size_t bytes;
    int rc;
    const char *says;
};

#define FRAMES(text) text, sizeof(text) - 1
static const struct raw_frames rude[] = {
    { FRAMES(""), -ENOTCONN, "the VM ended" },
    { FRAMES("\x05\0\0\0\x21\0\0"), -ENOTCONN, "the VM ended" },
    { FRAMES("\x05\0\0\0\x21\0\0\0ab"), -ENOTCONN, "the VM ended" },
    { FRAMES("\x01\0\x01\0\x21\0\0\0"), -EPROTO, "65537 bytes" },
    { FRAMES("\xff\xff\xff\xff\x21\0\0\0"), -EPROTO, "4294967295 bytes" },
    { FRAMES("\x04\0\0\0\x24\0\0\0\0\0\0\0"), -EPROTO, "EXIT frame of 4" },
    { FRAMES("\x08\0\0\0\x24\0\0\0\x63\0\0\0\0\0\0\0"), -EPROTO, "unknown kind of exit (99)" },
    { FRAMES("\x03\0\0\0\x23\0\0\0abc"), -EPROTO, "CREDIT frame of 3" },
    { FRAMES("\x04\0\0\0\x23\0\0\0\xff\xff\xff\xff"), -EPROTO, "more credit" },
    { FRAMES("\0\0\0\0\x20\0\0\0"), -EPROTO, "out of place (type 32)" },
    { FRAMES("\0\0\0\0\xc8\0\0\0"), -EPROTO, "out of place (type 200)" },
    { FRAMES("\x02\0\0\0\x26\0\0\0ab"), -EPROTO, "cut ERROR" },
    { FRAMES("\x08\0\0\0\x26\0\0\0\x0c\0\0\0a\033[m"), -ENOMEM, "says: a?[m" },
    { FRAMES("\x06\0\0\0\x26\0\0\0\xff\xff\xff\xffhi"), -EREMOTEIO, "says: hi" },
};

static void serve_raw(int fd, unsigned n, const void *context)
{
    const struct raw_frames *frames = context;

    (void)n;
    fake_accept_agent(fd);
    exec_take(fd, 0);
    fake_write(fd, frames->data, frames->bytes);
}

START_TEST(wrong_frames_are_a_clear_error)
{
    struct err err = { 0 };
    int exit_code, out[2];

    int rc = session_run(serve_raw, &rude[_i], -1, 0, &exit_code, out, &err);
    ck_assert_msg(rc == rude[_i].rc, "rc %d, wanted %d: %s", rc, rude[_i].rc, err.msg);
    ck_assert_msg(strstr(err.msg, rude[_i].says), "'%s' lacks '%s'", err.msg, rude[_i].says);
}
END_TEST

static void serve_no_ok(int fd, unsigned n, const void *context)
{
    char request[4096];

    (void)n;
    fake_check(fake_read_request(fd, request, sizeof request) > 0);
    fake_print(fd, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                   "Upgrade: volt-vsock\r\n\r\n");
    fake_print(fd, context);
}

START_TEST(a_guest_that_does_not_accept_is_told)
{
    static const struct {
        const char *says;
        int rc;
    } cases[] = { { "", -ECONNREFUSED },
                  { "OK 10", -ECONNREFUSED },
                  { "NO 1024\n", -EPROTO },
                  { "OK 1024 and so on and so on and so on and so on", -EPROTO } };
    struct err err = { 0 };
    int exit_code, out[2];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int rc = session_run(serve_no_ok, cases[i].says, -1, 0, &exit_code, out, &err);

        ck_assert_msg(rc == cases[i].rc, "'%s': rc %d: %s", cases[i].says, rc, err.msg);
    }
}
END_TEST

START_TEST(too_long_a_command_is_refused_before_it_is_sent)
{
    static char huge[AGENT_REQUEST_MAX];
    char *argv[] = { huge, NULL };
    const struct exec_env env = { 0 };
    const struct exec_request request = { .argc = 1, .argv = argv, .env = &env };
    struct err err;
    int fds[2], exit_code;

    memset(huge, 'x', sizeof huge - 1);
    ck_assert_int_eq(pipe(fds), 0);
    struct agent *agent = agent_create(fds[1]);
    ck_assert_int_eq(exec_session_run(agent, &request, &exit_code, &err), -E2BIG);
    agent_close(agent);
    close(fds[0]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_agent");
    TCase *tests = tap_case(suite, "agent");

    tcase_add_loop_test(tests, output_and_exit_codes_come_through, 0, ARRAY_LEN(exits));
    tcase_add_test(tests, much_output_comes_whole_and_in_order);
    tcase_add_test(tests, stdin_keeps_to_the_credit);
    tcase_add_test(tests, signals_are_the_commands);
    tcase_add_loop_test(tests, wrong_frames_are_a_clear_error, 0, ARRAY_LEN(rude));
    tcase_add_test(tests, a_guest_that_does_not_accept_is_told);
    tcase_add_test(tests, too_long_a_command_is_refused_before_it_is_sent);
    return tap_main(suite);
}
