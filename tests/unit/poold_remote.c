/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: by TCP, a function is called by its callers and by nobody else, callers get nothing but their
 * functions, and nobody's silence or bodies cost others anything. Method: remote_lab.h. argv: POOLD
 * FAKE_VMM. */
#include <check.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "remote_lab.h"
#include "tap_main.h"

static const struct refusal {
    const char *path, *headers;
    unsigned status;
    const char *says;
} refusals[] = {
    { INVOKE "ok", "", 401, "\"unauthorized\"" },
    { INVOKE "ok", BEARER("wrong-token-of-ci-that-is-longer"), 401, "security token" },
    { INVOKE "ok", BEARER(""), 401, "security token" },
    { INVOKE "ok", BEARER(TOKEN "x"), 401, "security token" },
    { INVOKE "ok", "Authorization: Basic " TOKEN "\r\n", 400, "Bearer TOKEN" },
    { INVOKE "ok", "Authorization: " TOKEN "\r\n", 400, "Bearer TOKEN" },
    { INVOKE "ok", BEARER(TOKEN) BEARER(TOKEN), 400, "there once" },
    { EVENTS, "", 403, "MissingAuthenticationTokenException" },
    { EVENTS, BEARER("wrong-token-of-ci-that-is-longer"), 403, "UnrecognizedClientException" },
    { EVENTS, "Authorization: AWS4-HMAC-SHA256 nonsense\r\n", 400, "IncompleteSignatureException" },
    { EVENTS, "Authorization: AWS4-HMAC-SHA256x\r\n", 400, "IncompleteSignatureException" },
    { "/v1/pools", "", 401, "unauthorized" },
    { "/nothing", "", 401, "unauthorized" },
    { "/2015-03-31/functions/nothing/invocations", "", 403, "MissingAuthenticationToken" },
};

START_TEST(nobody_calls_unknown)
{
    listen_with("");
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        const struct refusal *row = &refusals[i];
        const unsigned status = ask("POST", row->path, row->headers, "{}");

        ck_assert_msg(status == row->status && strstr(remote_answer, row->says), "%zu: %s", i,
                      remote_answer);
    }
    ck_assert_int_eq(calls(), 0);
    ck_assert_uint_eq(ask("POST", INVOKE "ok", BEARER(TOKEN), "{}"), 200);
    ck_assert_uint_eq(ask("POST", INVOKE "ok", "authorization: bearer " TOKEN "\r\n", "{}"), 200);
    ck_assert_int_eq(calls(), 2);
    ck_assert_uint_eq(daemon_log_count(TOKEN), 0);
}
END_TEST

/* What there is on poold's socket, asked for with a good token. */
static const char *const paths[] = {
    "/v1/pools",
    "/v1/leases",
    "/v1/functions",
    "/v1/functions/f",
    "/v1/functions/f/logs",
    "/v1/images",
    "/v1/status",
    "/v1/version",
    "/metrics",
    "/v1/events",
    "/v1/reload",
    "/v1/shutdown",
    "/v1/snapshots",
    "/v1/leases/0000/vsock?port=1024",
};

START_TEST(callers_get_functions_alone)
{
    static const char *const methods[] = { "GET", "POST", "DELETE", "PATCH", "PUT" };

    listen_with("");
    for (size_t i = 0; i < ARRAY_LEN(paths) * ARRAY_LEN(methods); i++) {
        const char *path = paths[i / ARRAY_LEN(methods)];
        const unsigned status = ask(methods[i % ARRAY_LEN(methods)], path, BEARER(TOKEN), "");

        ck_assert_msg(status == 404, "%s: %s", path, remote_answer);
    }
    ck_assert_uint_eq(ask("GET", INVOKE "ok", BEARER(TOKEN), ""), 405);
    /* One that may call another function hears nothing of this one, or of one that is not there. */
    ck_assert_uint_eq(ask("POST", INVOKE "ok", BEARER(LIMITED), "{}"), 403);
    ck_assert_uint_eq(ask("POST", "/v1/functions/none/invoke", BEARER(LIMITED), "{}"), 403);
    ck_assert_uint_eq(ask("POST", EVENTS, BEARER(LIMITED), "{}"), 403);
    ck_assert_ptr_nonnull(strstr(remote_answer, "AccessDeniedException"));
    ck_assert_uint_eq(ask("POST", "/v1/functions/other/invoke", BEARER(LIMITED), "{}"), 404);
    ck_assert_int_eq(calls(), 0);
}
END_TEST

START_TEST(a_function_gets_no_token)
{
    listen_with("");
    ck_assert_uint_eq(ask("POST", INVOKE "echo", BEARER(TOKEN) "X-Own: yes\r\n", "{}"), 200);
    ck_assert_ptr_nonnull(strstr(remote_answer, "X-Own: yes"));
    ck_assert_ptr_null(strstr(remote_answer, TOKEN));
    ck_assert_ptr_null(strstr(remote_answer, "Authorization"));
}
END_TEST

/* ---- What clients take ---- */

static char *signed_head(const char *key, size_t body_bytes)
{
    static char head[1024];
    char stamp[32];
    const time_t now = time(NULL);

    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", gmtime(&now));
    snprintf(head, sizeof head,
             "POST " EVENTS " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Amz-Date: %s\r\n"
             "Authorization: AWS4-HMAC-SHA256 Credential=%s/%.8s/local/lambda/aws4_request, "
             "SignedHeaders=host;x-amz-date, Signature=%064d\r\nContent-Length: %zu\r\n\r\n",
             stamp, key, stamp, 0, body_bytes);
    return head;
}

/* All but the last byte. Ends early where poold reads no more. */
static int body_hold(const char *address, size_t bytes)
{
    const int fd = tcp_connect_from(address);
    static char block[65536];

    client_write(fd, signed_head(KEY, bytes));
    memset(block, 'x', sizeof block);
    for (size_t left = bytes - 1, take; left > 0; left -= take) {
        take = MIN_OF(left, sizeof block);
        if (send(fd, block, take, MSG_NOSIGNAL) < 0)
            break;
    }
    return fd;
}

START_TEST(bodies_that_nobody_vouches_for)
{
    enum { count = 6, fit = 2, large = 6 << 20 };
    int fds[count];
    unsigned refused = 0, wrong = 0;

    listen_with("");
    for (unsigned i = 0; i < count; i++)
        fds[i] = body_hold("127.0.0.1", large);
    /* Another address has a share of its own. */
    ck_assert_uint_eq(ask_from("127.0.0.2", "POST", INVOKE "ok", BEARER(TOKEN), "{}"), 200);
    for (unsigned i = 0; i < count; i++) {
        client_write(fds[i], "x");
        const unsigned status = finish(fds[i]);
        refused += status == 429;
        wrong += status == 403;
    }
    ck_assert_uint_eq(wrong, fit);
    ck_assert_uint_eq(refused, count - fit);
    const int fd = body_hold("127.0.0.1", large + 2);
    client_write(fd, "x");
    ck_assert_uint_eq(finish(fd), 413);
    ck_assert_int_eq(calls(), 1); /* the other address' */
}
END_TEST

/* Connections that say nothing, or a little at a time, from one address: others are served, and they
 * are closed in time, whatever they drip. */
START_TEST(silent_clients_cost_nobody_else)
{
    enum { count = 1500 };
    static int fds[count];

    listen_with(" --request-timeout-ms 1000");
    for (unsigned i = 0; i < count; i++) {
        fds[i] = tcp_connect_from("127.0.0.3");
        if (i % 2)
            client_write(fds[i], "POST " INVOKE " HTTP/1.1\r\nAuthor");
    }
    ck_assert_uint_eq(ask_from("127.0.0.2", "POST", INVOKE "ok", BEARER(TOKEN), "{}"), 200);
    client_expect(200, "GET", "/v1/status", NULL);
    await_ends(fds, count, 2);
    ck_assert_uint_eq(ask_from("127.0.0.3", "POST", INVOKE "ok", BEARER(TOKEN), "{}"), 200);
}
END_TEST

/* ---- The file of callers ---- */

static const struct bad_file {
    const char *text;
    mode_t mode;
    const char *says;
} bad_files[] = {
    { remote_callers, 0640, "chmod 0600" },
    { remote_callers, 0604, "chmod 0600" },
    { "", 0600, "it is not JSON" },
    { "{\"callers\": \"" TOKEN "\"}", 0600, "it must be" },
    { "{\"callers\": [" TOKEN "]}", 0600, "it is not JSON" },
    { "{\"callers\": [{\"name\": \"a\"}]}", 0600, "needs a 'token'" },
    { "{\"callers\": [{\"name\": \"a\", \"token\": \"short\"}]}", 0600, "20 to 256" },
    { "{\"callers\": [{\"name\": \"a\", \"token\": \"" TOKEN " x\"}]}", 0600, "20 to 256" },
    { "{\"callers\": [{\"name\": \"a b\", \"token\": \"" TOKEN "\"}]}", 0600, "'name' must be" },
    { "{\"callers\": [{\"name\": \"a\", \"tokn\": \"" TOKEN "\"}]}", 0600, "nothing else" },
    { "{\"callers\": [{\"name\": \"a\", \"access_key_id\": \"" KEY "\"}]}", 0600, "each other" },
    { "{\"callers\": [{\"name\": \"a\", \"token\": \"" TOKEN "\", \"functions\": []}]}", 0600,
      "1 to 256 names" },
    { "{\"callers\": [{\"name\": \"a\", \"token\": \"" TOKEN "\"}, {\"name\": \"b\", \"token\": "
      "\"" TOKEN "\"}]}",
      0600, "has the token of caller 1" },
    { "{\"callers\": [{\"name\": \"a\", \"token\": \"" TOKEN "\"}, {\"name\": \"a\", \"token\": "
      "\"" LIMITED "\"}]}",
      0600, "has the name of caller 1" },
};

START_TEST(files_of_callers_that_are_wrong)
{
    char path[256], options[512];

    daemon_path("callers", path);
    snprintf(options, sizeof options, "--listen 127.0.0.1:0 --listen-callers %s", path);
    for (size_t i = 0; i < ARRAY_LEN(bad_files); i++) {
        callers_write(bad_files[i].text, bad_files[i].mode);
        check_says(options, EX_CONFIG, bad_files[i].says);
    }
    callers_write(remote_callers, 0600);
    check_says(options, EX_OK, "no fault found");
}
END_TEST

START_TEST(where_it_may_listen)
{
    static const char *const nowhere[] = { "localhost:80",  "127.0.0.1", "127.0.0.1:",
                                           ":9000",         "::1:9000",  "[::1]",
                                           "1.2.3.4:65536", "[1:9000",   "127.0.0.1:9x" };
    char path[256], options[512];

    callers_write(remote_callers, 0600);
    daemon_path("callers", path);
    for (size_t i = 0; i < ARRAY_LEN(nowhere); i++) {
        snprintf(options, sizeof options, "--listen %s --listen-callers %s", nowhere[i], path);
        check_says(options, EX_USAGE, "an address and a port");
    }
    check_says("--listen 127.0.0.1:9000", EX_USAGE, "needs listen-callers");
    snprintf(options, sizeof options, "--listen 0.0.0.0:9000 --listen-callers %s", path);
    check_says(options, EX_USAGE, "listen-plain allows it");
    snprintf(options, sizeof options, "--listen [::]:9000 --listen-callers %s --listen-plain",
             path);
    check_says(options, EX_OK, "no fault");
    snprintf(options, sizeof options, "--listen [::1]:9000 --listen-callers %s", path);
    check_says(options, EX_OK, "no fault");
}
END_TEST

/* A port that another has, files that are not there: a start says so, and ends in good order. */
START_TEST(starts_that_fail)
{
    struct sockaddr_in taken = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t bytes = sizeof taken;
    char path[256], options[512];

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&taken, sizeof taken), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&taken, &bytes), 0);
    callers_write(remote_callers, 0600);
    daemon_path("callers", path);
    snprintf(options, sizeof options, "--listen 127.0.0.1:%u --listen-callers %s",
             ntohs(taken.sin_port), path);
    listen_with(""); /* there is a pool to load */
    kill(daemon_pid, SIGTERM);
    daemon_wait_exit(EX_OK);
    daemon_launch(options);
    daemon_wait_exit(EXIT_FAILURE);
    ck_assert_uint_eq(daemon_log_count("Address already in use"), 1);
    ck_assert_int_eq(unlink(path), 0);
    daemon_launch(options);
    daemon_wait_exit(EXIT_FAILURE);
    ck_assert_uint_eq(daemon_log_count("the file of callers"), 1);
    daemon_vm_processes_await(0, 0);
    close(fd);
    daemon_start("--log-level info");
    client_await("/v1/functions/f", "state", "ready");
}
END_TEST

/* Also on a connection that was there before. */
START_TEST(a_reload_changes_callers)
{
    static struct client_reply reply;
    static const char request[] =
        "POST " INVOKE "ok HTTP/1.1\r\nHost: x\r\n" BEARER(TOKEN) "Content-Length: 0\r\n\r\n";
    int fd;

    listen_with("");
    fd = tcp_connect_from("127.0.0.1");
    client_write(fd, request);
    client_receive(fd, &reply);
    ck_assert_uint_eq(reply.status, 200);
    callers_write("{\"callers\": nonsense", 0600);
    client_expect(400, "POST", "/v1/reload", NULL);
    client_write(fd, request);
    client_receive(fd, &reply);
    ck_assert_uint_eq(reply.status, 200);
    callers_write("{\"callers\": [{\"name\": \"ci\", \"token\": \"" TOKEN "-of-tomorrow\"}]}",
                  0600);
    client_expect(200, "POST", "/v1/reload", NULL);
    client_write(fd, request);
    client_receive(fd, &reply);
    ck_assert_uint_eq(reply.status, 401);
    close(fd);
    ck_assert_uint_eq(ask("POST", INVOKE "ok", BEARER(TOKEN "-of-tomorrow"), ""), 200);
}
END_TEST

/* Half heads and bodies whose client is gone, and calls under way when poold ends. */
START_TEST(clients_that_leave)
{
    static const char *const parts[] = {
        "",
        "POST",
        "POST " INVOKE "ok HTTP/1.1\r\n",
        "POST " INVOKE "ok HTTP/1.1\r\n" BEARER(TOKEN),
        "POST " INVOKE "ok HTTP/1.1\r\nHost: x\r\n" BEARER(TOKEN) "Content-Length: 9\r\n\r\nx",
        "POST " INVOKE "ok HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "GET http://x/ HTTP/1.1\r\n\r\n",
        "POST /"
        "%00"
        " HTTP/1.1\r\nHost: x\r\n" BEARER(TOKEN) "\r\n",
    };
    int fd;

    listen_with("");
    for (unsigned i = 0; i < 4 * ARRAY_LEN(parts); i++) {
        fd = tcp_connect_from("127.0.0.1");
        client_write(fd, parts[i % ARRAY_LEN(parts)]);
        if (i % 8 == 0)
            usleep(CLIENT_LOOK_US);
        close(fd);
    }
    fd = body_hold("127.0.0.1", 100000);
    close(fd);
    ck_assert_uint_eq(ask("POST", INVOKE "ok", BEARER(TOKEN), "{}"), 200);
    fd = tcp_connect_from("127.0.0.1");
    client_write(fd, "POST " INVOKE "hang HTTP/1.1\r\nHost: x\r\n" BEARER(TOKEN) "\r\n");
    for (unsigned i = 0; i < CLIENT_LOOKS && calls() < 2; i++)
        usleep(CLIENT_LOOK_US);
    daemon_restart("--log-level debug"); /* ends in good order, and listens no more */
    client_await_end(fd, NULL, 0);
    close(fd);
}
END_TEST

/* Sends a request and its end at once, and reads the answer: its connection is over then. */
START_TEST(who_sends_no_more_is_closed)
{
    static const char *const tokens[] = { "", BEARER(TOKEN) };
    char request[1024];

    listen_with("");
    for (unsigned i = 0; i < 40; i++) {
        const int fd = tcp_connect_from("127.0.0.1");

        snprintf(request, sizeof request, "POST /v1/nothing HTTP/1.1\r\nHost: x\r\n%s%s\r\n",
                 tokens[i % 2], "Content-Length: 0\r\n");
        client_write(fd, request);
        shutdown(fd, SHUT_WR);
        ck_assert_uint_eq(finish(fd), i % 2 ? 404 : 401);
    }
    /* Several at once are all answered. */
    const int fd = tcp_connect_from("127.0.0.1");
    char many[4096] = "";
    unsigned answers = 0;

    for (unsigned i = 0; i < 20; i++)
        strcat(many, request);
    client_write(fd, many);
    shutdown(fd, SHUT_WR);
    finish(fd);
    for (const char *at = remote_answer; (at = strstr(at, "HTTP/1.1 404")); at++)
        answers++;
    ck_assert_uint_eq(answers, 20);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        nobody_calls_unknown,
        callers_get_functions_alone,
        a_function_gets_no_token,
        bodies_that_nobody_vouches_for,
        silent_clients_cost_nobody_else,
        files_of_callers_that_are_wrong,
        where_it_may_listen,
        starts_that_fail,
        a_reload_changes_callers,
        clients_that_leave,
        who_sends_no_more_is_closed,
    };
    Suite *suite = suite_create("poold-remote");
    TCase *tcase = daemon_case(suite, argc, argv);

    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    return tap_main(suite);
}
