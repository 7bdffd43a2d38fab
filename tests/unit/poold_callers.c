/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: whoever calls functions, and whatever these answer, takes no more of poold than a user's share,
 * and a function's answer is taken for no more than it is. Method: poold_daemon.h; functions are
 * fake_function.c's; callers are processes with another uid, so it needs root. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"

#define FUNCTION "/v1/functions/f"
#define INVOKE FUNCTION "/invoke?path=/"
#define EVENTS "/2015-03-31/functions/f/invocations"
#define AS_EVENT "X-Amz-Invocation-Type: Event\r\n"
#define USER 54321
#define CALLS 8 /* at once */
#define LOGS_ROOM (16u << 20)

static void function_make(const char *keys)
{
    char body[512];

    snprintf(body, sizeof body,
             "{\"name\":\"f\",\"handler\":\"x\",\"memory\":\"64M\",\"min\":1,\"max\":%u,"
             "\"timeout_ms\":120000,\"queue_ms\":120000%s}",
             CALLS, keys);
    client_expect(201, "POST", "/v1/functions", body);
    client_await(FUNCTION, "state", "ready");
    daemon_open_to_all();
}

static int call_start(const char *path, const char *headers, const char *body)
{
    const size_t room = strlen(headers) + 256;
    char *head = malloc(room);
    const int fd = client_connect_as(USER, USER);

    snprintf(head, room, "POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n", path,
             headers, strlen(body));
    client_write(fd, head);
    client_write(fd, body);
    free(head);
    return fd;
}

static unsigned call(const char *path, const char *headers, const char *body)
{
    struct client_reply reply;
    const int fd = call_start(path, headers, body);

    client_receive(fd, &reply);
    close(fd);
    return reply.status;
}

static char *text_of(char byte, size_t bytes)
{
    char *text = malloc(bytes + 1);

    memset(text, byte, bytes);
    text[bytes] = '\0';
    return text;
}

START_TEST(events_that_wait_are_their_users)
{
    enum { count = 40, fit = 15 };
    char *body = text_of('x', 1u << 20);
    unsigned taken = 0;
    int busy;

    function_make(",\"concurrency\":1");
    busy = client_send("POST", INVOKE "hang", "");
    for (unsigned i = 0; i < count; i++) {
        const unsigned status = call(EVENTS, AS_EVENT, body);

        ck_assert_msg(status == 202 || status == 429, "%u", status);
        taken += status == 202;
    }
    ck_assert_uint_eq(taken, fit);
    ck_assert_uint_eq(call(EVENTS, AS_EVENT, "small"), 202);
    /* Root's are its own, and what the user's took is free when they are over. */
    client_expect(204, "DELETE", FUNCTION "?force=1", NULL);
    close(busy);
    function_make(",\"concurrency\":1");
    busy = client_send("POST", INVOKE "hang", "");
    ck_assert_uint_eq(call(EVENTS, AS_EVENT, body), 202);
    close(busy);
    free(body);
}
END_TEST

static const struct {
    const char *keys, *path, *body;
} callers[] = {
    { "", INVOKE "large", "" },
    { ",\"runtime\":\"lambda\"", FUNCTION "/invoke", "large" },
};

/* Each has 8 MiB of room in the end, of 16 that its caller may have. */
START_TEST(answers_that_come_are_their_callers)
{
    enum { fit = 2 };
    struct client_reply reply;
    unsigned refused = 0;
    int fds[CALLS];

    function_make(callers[_i].keys);
    for (unsigned i = 0; i < CALLS; i++)
        fds[i] = call_start(callers[_i].path, "", callers[_i].body);
    for (unsigned looks = 0; looks < CLIENT_LOOKS && refused < CALLS - fit; looks++) {
        for (unsigned i = 0; i < CALLS; i++) {
            if (fds[i] < 0 || !client_readable(fds[i]))
                continue;
            client_receive(fds[i], &reply);
            ck_assert_msg(reply.status == 429, "%u: %s", reply.status, reply.body);
            ck_assert_ptr_nonnull(strstr(reply.body, "take too much memory"));
            close_fd(&fds[i]);
            refused++;
        }
        usleep(CLIENT_LOOK_US);
    }
    ck_assert_uint_ge(refused, CALLS - fit);
    for (unsigned i = 0; i < CALLS; i++)
        close_fd(&fds[i]);
    ck_assert_uint_eq(call(INVOKE "ok", "", "ok"), 200);
}
END_TEST

/* Whoever calls it. */
START_TEST(a_runtime_posts_one_body_at_a_time)
{
    struct client_reply reply;

    function_make(",\"runtime\":\"lambda\"");
    client_call("POST", FUNCTION "/invoke", "both", &reply);
    ck_assert_msg(reply.status == 502, "%u: %s", reply.status, reply.body);
    ck_assert_ptr_nonnull(strstr(reply.body, "too much memory"));
}
END_TEST

static unsigned daemon_peak_kib(void)
{
    char path[64], line[256];
    unsigned kib = 0;

    snprintf(path, sizeof path, "/proc/%d/status", (int)daemon_pid);
    FILE *in = fopen(path, "re");
    ck_assert_ptr_nonnull(in);
    while (fgets(line, sizeof line, in))
        sscanf(line, "VmHWM: %u", &kib);
    fclose(in);
    ck_assert_uint_gt(kib, 0);
    return kib;
}

static int logs_ask(void)
{
    const int fd = client_connect_as(USER, USER);

    client_write(fd, "GET " FUNCTION "/logs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    return fd;
}

static void logs_receive(int fd, char *text)
{
    client_await_end(fd, text, LOGS_ROOM);
    close(fd);
}

/* What costs most: lines without anything in them. A sanitizer keeps what was freed. */
START_TEST(logs_take_little)
{
    enum { calls = 128, lines = 16384, requests = 20 };
    int fds[requests];
    char *text = malloc(LOGS_ROOM);

    function_make("");
    for (unsigned i = 0; i < calls; i++)
        ck_assert_uint_eq(call(INVOKE "lines16384", "", ""), 200);
    logs_receive(logs_ask(), text);
    ck_assert_uint_gt(strlen(text), (size_t)calls * lines * strlen("\"\","));
    for (unsigned i = 0; i < requests; i++)
        fds[i] = logs_ask();
    client_expect(200, "GET", "/v1/status", NULL);
    for (unsigned i = 0; i < requests; i++) {
        logs_receive(fds[i], text);
        ck_assert_msg(strncmp(text, "HTTP/1.1 200 ", 13) == 0 ||
                          strncmp(text, "HTTP/1.1 429 ", 13) == 0,
                      "%.100s", text);
    }
#ifndef __SANITIZE_ADDRESS__
    ck_assert_uint_lt(daemon_peak_kib(), 96 * 1024);
#else
    (void)daemon_peak_kib;
#endif
    free(text);
}
END_TEST

/* Of a head that finds no room in the reply, poold says so. */
START_TEST(no_answer_is_lost_for_its_head)
{
    static const unsigned sizes[] = { 0, 7000, 9000, 16000 };
    char text[32768], path[64], headers[16384];

    function_make("");
    for (unsigned i = 0; i < ARRAY_LEN(sizes) * ARRAY_LEN(sizes); i++) {
        const unsigned asked = MIN_OF(sizes[i / ARRAY_LEN(sizes)], 14000u);
        const unsigned answered = sizes[i % ARRAY_LEN(sizes)];
        char *filler = text_of('x', asked);

        snprintf(path, sizeof path, INVOKE "head%u", answered);
        snprintf(headers, sizeof headers, "Connection: close\r\nX-Long: %s\r\n", filler);
        const int fd = call_start(path, headers, "");
        client_await_end(fd, text, sizeof text);
        ck_assert_msg(
            strncmp(text, asked + answered < 15000 ? "HTTP/1.1 200 " : "HTTP/1.1 502 ", 13) == 0,
            "%u and %u bytes: '%.100s'", asked, answered, text);
        close(fd);
        free(filler);
    }
}
END_TEST

/* The same of the log that clients of AWS Lambda get with their answer. */
START_TEST(nor_for_its_log)
{
    static const unsigned sizes[] = { 0, 14000 }, statuses[] = { 200, 413 };
    char headers[14400], text[16384];

    function_make(",\"runtime\":\"lambda\"");
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
        char *filler = text_of('x', sizes[i]);

        snprintf(headers, sizeof headers,
                 "Connection: close\r\nX-Amz-Log-Type: Tail\r\nX-Long: %s\r\n", filler);
        const int fd = call_start(EVENTS, headers, "lines");
        client_await_end(fd, text, sizeof text);
        ck_assert_msg(strtoul(text + strlen("HTTP/1.1 "), NULL, 10) == statuses[i], "%.100s", text);
        close(fd);
        free(filler);
    }
}
END_TEST

START_TEST(callers_get_no_vm)
{
    function_make("");
    ck_assert_uint_eq(call("/v1/leases", "", "{\"pool\":\"f\"}"), 403);
    ck_assert_uint_eq(call(INVOKE "ok", "", "ok"), 200);
    client_expect(201, "POST", "/v1/leases", "{\"pool\":\"f\",\"wait_ms\":60000}");
}
END_TEST

/* Events that fail at once, on one connection. The log has 20 lines of them in a second. */
START_TEST(who_calls_on_and_on_leaves_room_in_the_log)
{
    enum { events = 1000, lines = 20 };
    struct client_reply reply;
    uint64_t began, seconds;
    int fd;

    daemon_faults_set("boot_crash");
    client_expect(201, "POST", "/v1/functions", "{\"name\":\"f\",\"handler\":\"x\"}");
    client_await(FUNCTION, "state", "failed");
    daemon_open_to_all();
    fd = client_connect_as(USER, USER);
    began = now_ns();
    for (unsigned i = 0; i < events; i++) {
        client_write(fd, "POST " EVENTS " HTTP/1.1\r\nHost: x\r\n" AS_EVENT
                         "Content-Length: 0\r\n\r\n");
        client_receive(fd, &reply);
        ck_assert_uint_eq(reply.status, 202);
    }
    close(fd);
    daemon_await_log("is given up", 1);
    seconds = (now_ns() - began) / NS_PER_S + 2; /* begun, each of them */
    ck_assert_uint_le(daemon_log_count("is given up"), lines * seconds);
}
END_TEST

START_TEST(a_functions_call_has_one_id)
{
    char text[4096];
    const char *at;
    int fd;

    function_make("");
    fd = call_start(INVOKE "forged", "Connection: close\r\n", "");
    client_await_end(fd, text, sizeof text);
    close(fd);
    ck_assert_ptr_null(strstr(text, "forged"));
    at = strstr(text, "X-Volt-Invocation: ");
    ck_assert_msg(at && !strstr(at + 1, "X-Volt-Invocation: "), "%s", text);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        events_that_wait_are_their_users,
        a_runtime_posts_one_body_at_a_time,
        logs_take_little,
        no_answer_is_lost_for_its_head,
        nor_for_its_log,
        callers_get_no_vm,
        who_calls_on_and_on_leaves_room_in_the_log,
        a_functions_call_has_one_id,
    };
    Suite *suite = suite_create("poold-callers");
    TCase *tcase = daemon_case(suite, argc, argv);

    if (geteuid() != 0) {
        puts("1..0 # SKIP other users' processes need root");
        return 0;
    }
    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    tcase_add_loop_test(tcase, answers_that_come_are_their_callers, 0, ARRAY_LEN(callers));
    return tap_main(suite);
}
