/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a signed request is a call if it is as it was signed, and else is none. Method: remote_lab.h;
 * curl signs, as AWS' clients do; what it sends is caught, changed and sent on. argv: POOLD FAKE_VMM. */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "remote_lab.h"
#include "tap_main.h"

/* What curl signs for this poold, sent to us instead. */
static size_t curl_capture(const char *arguments, char *ret_request, size_t room)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t bytes = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
    char command[1024];
    size_t used = 0;
    const char *body;

    ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    getsockname(listener, (struct sockaddr *)&at, &bytes);
    snprintf(
        command, sizeof command,
        "curl -s -m 60 --connect-to 127.0.0.1:%u:127.0.0.1:%u --aws-sigv4 aws:amz:local:lambda "
        "--user " KEY ":" SECRET " %s >/dev/null &",
        remote_port, ntohs(at.sin_port), arguments);
    ck_assert_int_eq(system(command), 0);
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    do {
        const ssize_t n = recv(fd, ret_request + used, room - 1 - used, 0);

        ck_assert_int_gt(n, 0);
        used += (size_t)n;
        ret_request[used] = '\0';
        body = strstr(ret_request, "\r\n\r\n");
    } while (!body ||
             strlen(body + 4) < strtoul(strstr(ret_request, "Content-Length: ") + 16, NULL, 10));
    close(fd);
    close(listener);
    return used;
}

static unsigned replay(const char *request)
{
    const int fd = tcp_connect_from("127.0.0.1");

    client_write(fd, request);
    return finish(fd);
}

static size_t sign(const char *more, char *ret_request, size_t room)
{
    char arguments[512];

    snprintf(arguments, sizeof arguments,
             "-d '{\"n\": 1}' -H 'Connection: close' %s 'http://127.0.0.1:%u" EVENTS
             "?Qualifier=live'",
             more, remote_port);
    return curl_capture(arguments, ret_request, room);
}

static unsigned curl_status(const char *user, const char *service, const char *more)
{
    char command[1024], line[64] = "";

    snprintf(command, sizeof command,
             "curl -s -m 60 -o '%s/out' -w '%%{http_code}' --aws-sigv4 'aws:amz:local:%s' --user "
             "'%s' %s 'http://127.0.0.1:%u" EVENTS "'",
             daemon_dir, service, user, more, remote_port);
    FILE *in = popen(command, "re");
    ck_assert_ptr_nonnull(fgets(line, sizeof line, in));
    pclose(in);
    snprintf(command, sizeof command, "%s/out", daemon_dir);
    in = fopen(command, "re");
    remote_answer[in ? fread(remote_answer, 1, sizeof remote_answer - 1, in) : 0] = '\0';
    if (in)
        fclose(in);
    return (unsigned)atoi(line);
}

static const struct signed_row {
    const char *user, *service, *more;
    unsigned status;
    const char *says;
} signed_rows[] = {
    { KEY ":" SECRET, "lambda", "-d ok", 200, "\"done\"" },
    { KEY ":" SECRET "x", "lambda", "-d '{}'", 403, "signature we calculated" },
    { KEY "2:" SECRET, "lambda", "-d '{}'", 403, "security token" },
    { KEY ":" SECRET, "s3", "-d '{}'", 403, "correct service" },
    { KEY ":" SECRET, "lambda", "-d '{}' -H 'X-Amz-Security-Token: x'", 403, "security token" },
};

START_TEST(curl_signs)
{
    listen_with("");
    client_expect(204, "DELETE", "/v1/functions/f", NULL);
    client_expect(201, "POST", "/v1/functions",
                  "{\"name\":\"f\",\"handler\":\"x\",\"min\":1,\"max\":2,\"runtime\":\"lambda\","
                  "\"memory\":\"64M\"}");
    client_await("/v1/functions/f", "state", "ready");
    for (size_t i = 0; i < ARRAY_LEN(signed_rows); i++) {
        const struct signed_row *row = &signed_rows[i];
        const unsigned status = curl_status(row->user, row->service, row->more);

        ck_assert_msg(status == row->status && strstr(remote_answer, row->says), "%zu: %u %s", i,
                      status, remote_answer);
    }
}
END_TEST

/* Whether a byte at this place is signed: not in a line of the head that is no signed header. */
static bool is_bound(const char *request, size_t at)
{
    static const char *const names[] = { "Host:", "X-Amz-Date:", "Authorization:",
                                         "X-Amz-Invocation-Type:" };
    const char *line = request + at, *body = strstr(request, "\r\n\r\n");

    if (request + at >= body)
        return request + at >= body + 4;
    while (line > request && line[-1] != '\n')
        line--;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strncasecmp(line, names[i], strlen(names[i])) == 0)
            return true;
    }
    return line == request && request + at < strstr(request, " HTTP/");
}

/* A signed request by whoever holds the wire: each byte of it changed. None of them is a call, but where
 * it means the same as before. */
START_TEST(a_changed_request_is_no_call)
{
    char request[4096], changed[4096];
    unsigned good = 0, tried = 0;

    listen_with("");
    const size_t bytes = sign("-H 'X-Amz-Invocation-Type: DryRun'", request, sizeof request);
    ck_assert_msg(replay(request) == 204, "%s\n%s", request, remote_answer);
    for (size_t i = 0; i < bytes; i++) {
        unsigned status;

        if (!is_bound(request, i) || strchr("\r\n", request[i]))
            continue;
        memcpy(changed, request, bytes + 1);
        changed[i] ^= 1 << i % 5; /* also what it makes of digits and letters */
        status = replay(changed);
        tried++;
        if (status == 204 || status == 202 || status == 200) {
            good++;
            /* A header's name in the other case, and blanks. */
            ck_assert_msg(strcasecmp(request, changed) == 0 || request[i] == ' ', "%zu:\n%s", i,
                          changed);
        }
    }
    ck_assert_uint_gt(tried, 300);
    ck_assert_uint_lt(good, 60);
    ck_assert_int_eq(calls(), 0);
}
END_TEST

/* The same with a header more that would change what it does. */
START_TEST(what_is_added_is_no_call)
{
    char request[4096], changed[8192];

    listen_with("");
    sign("", request, sizeof request);
    const char *end = strstr(request, "\r\n\r\n");
    snprintf(changed, sizeof changed, "%.*s\r\nX-Amz-Invocation-Type: Event%s",
             (int)(end - request), request, end);
    ck_assert_uint_eq(replay(changed), 403);
    ck_assert_ptr_nonnull(strstr(remote_answer, "SignedHeader"));
    ck_assert_int_eq(calls(), 0);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        curl_signs,
        a_changed_request_is_no_call,
        what_is_added_is_no_call,
    };
    Suite *suite = suite_create("poold-signed");
    TCase *tcase = daemon_case(suite, argc, argv);

    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    return tap_main(suite);
}
