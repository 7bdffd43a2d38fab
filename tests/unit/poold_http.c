/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: poold's HTTP is what docs/api.md and RFC 9110 say: methods, queries, errors, sizes. Method:
 * poold_daemon.h. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"

static const struct {
    unsigned status;
    const char *method, *path, *body, *code;
} bad_requests[] = {
    { 400, "POST", "/v1/pools", "{", "bad_json" },
    { 400, "POST", "/v1/pools", "[]", "bad_request" },
    { 400, "POST", "/v1/pools", "{}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"../x\"}", "bad_name" },
    { 400, "POST", "/v1/pools", "{\"name\":\"-x\"}", "bad_name" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"memory\":\"12X\"}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"memory\":\"1M\"}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"memory\":\"33M\"}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"memory\":\"999999999999T\"}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"vcpus\":0}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"vcpus\":\"1\"}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"min\":-1}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"min\":5,\"max\":4}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"kernel\":\"relative\"}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"kernel\":\"/no/such\"}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"kernel\":\"/dev/null\"}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"surprise\":1}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"name\":\"b\"}", "bad_json" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"cmdline\":\"x\\ny\"}", "bad_request" },
    { 404, "POST", "/v1/leases", "{\"pool\":\"nope\"}", "no_such_pool" },
    { 400, "POST", "/v1/leases", "{\"wait_ms\":\"1\"}", "bad_request" },
    { 400, "POST", "/v1/leases", "{\"ttl_ms\":-1}", "bad_request" },
    { 400, "POST", "/v1/leases", "\xff\xfe", "bad_json" },
    { 404, "GET", "/v1/leases/0123456789abcdef", NULL, "no_such_lease" },
    { 400, "GET", "/v1/leases/abc", NULL, "bad_request" },
    { 404, "GET", "/v1/pools/nope", NULL, "no_such_pool" },
    { 404, "GET", "/v1/snapshots/nope", NULL, "no_such_snapshot" },
    { 400, "GET", "/v1/snapshots/..", NULL, "bad_name" },
    { 404, "GET", "/v2/pools", NULL, "not_found" },
    { 404, "GET", "/", NULL, "not_found" },
    { 404, "GET", "//v1//pools//x//y", NULL, "not_found" },
    { 405, "PUT", "/v1/pools", "{}", "method_not_allowed" },
    { 405, "DELETE", "/v1/status", NULL, "method_not_allowed" },
    { 400, "GET", "/v1/status?x=1", NULL, "bad_request" },
    { 400, "DELETE", "/v1/pools/a?force=1&wait=1", NULL, "bad_request" },
    { 400, "DELETE", "/v1/pools/a?force=1&force=0", NULL, "bad_request" },
    { 400, "DELETE", "/v1/pools/a?force", NULL, "bad_request" },
    { 400, "DELETE", "/v1/pools/a?Force=1", NULL, "bad_request" },
    { 400, "POST", "/v1/images/a?force=1", NULL, "bad_request" },
    { 400, "POST", "/v1/leases/0123456789abcdef/vsock?port=x", NULL, "bad_request" },
    { 400, "POST", "/v1/leases/0123456789abcdef/vsock", NULL, "bad_request" },
};

START_TEST(bad_requests_get_a_code_and_a_sentence)
{
    for (unsigned i = 0; i < ARRAY_LEN(bad_requests); i++) {
        struct client_reply reply;

        client_call(bad_requests[i].method, bad_requests[i].path, bad_requests[i].body, &reply);
        ck_assert_msg(reply.status == bad_requests[i].status, "%s %s %s: %u %s",
                      bad_requests[i].method, bad_requests[i].path, bad_requests[i].body,
                      reply.status, reply.body);
        json_t *object = json_loads(reply.body, 0, NULL);
        json_t *error = json_object_get(object, "error");
        ck_assert_str_eq(json_string_value(json_object_get(error, "code")), bad_requests[i].code);
        ck_assert_uint_gt(json_string_length(json_object_get(error, "message")), 10);
        json_decref(object);
    }
    client_expect(200, "GET", "/v1/pools", NULL);
}
END_TEST

/* The whole reply to a request on a connection of its own that ends with it. */
static void exchange(const char *method, const char *path, char *ret_reply, size_t bytes)
{
    char head[256];
    int fd = client_connect();

    snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: volt\r\nConnection: close\r\n\r\n", method,
             path);
    client_write(fd, head);
    client_await_end(fd, ret_reply, bytes);
    close(fd);
}

START_TEST(a_head_is_a_get_without_its_body)
{
    static const char *const paths[] = { "/v1/status", "/v1/pools", "/v1/pools/nope", "/metrics" };
    char head[65536], get[65536];

    for (unsigned i = 0; i < ARRAY_LEN(paths); i++) {
        exchange("HEAD", paths[i], head, sizeof head);
        exchange("GET", paths[i], get, sizeof get);
        const char *body = strstr(get, "\r\n\r\n") + 4;
        ck_assert_uint_gt(strlen(body), 10);
        ck_assert_msg(strlen(head) == (size_t)(body - get), "%s", head);
        ck_assert_mem_eq(head, get, strlen("HTTP/1.1 200"));
        ck_assert_ptr_nonnull(strstr(head, "Content-Length: "));
    }
}
END_TEST

START_TEST(a_method_that_is_not_allowed_tells_those_that_are)
{
    static const struct {
        const char *method, *path, *allow;
    } rows[] = {
        { "PUT", "/v1/pools", "GET, HEAD, POST" },
        { "POST", "/v1/pools/x", "GET, HEAD, PATCH, DELETE" },
        { "HEAD", "/v1/shutdown", "POST" },
        { "OPTIONS", "/v1/leases/x/console", "POST, GET, HEAD" },
    };
    char reply[4096], allow[64];

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        exchange(rows[i].method, rows[i].path, reply, sizeof reply);
        snprintf(allow, sizeof allow, "Allow: %s\r\n", rows[i].allow);
        ck_assert_msg(strstr(reply, allow) && strncmp(reply, "HTTP/1.1 405 ", 13) == 0, "%s",
                      reply);
    }
}
END_TEST

static const struct {
    const char *value;
    bool forced;
} forces[] = {
    { "1", true },  { "true", true },   { "yes", true },
    { "0", false }, { "false", false }, { "no", false },
};

START_TEST(force_is_yes_or_no)
{
    char path[64];

    daemon_pool_create("{\"name\":\"default\",\"min\":0}");
    client_expect(201, "POST", "/v1/leases", NULL);
    client_expect(400, "DELETE", "/v1/pools/default?force=maybe", NULL);
    snprintf(path, sizeof path, "/v1/pools/default?force=%s", forces[_i].value);
    client_expect(forces[_i].forced ? 204 : 409, "DELETE", path, NULL);
}
END_TEST

START_TEST(bodies_have_a_limit)
{
    char *body = malloc(70000);
    struct client_reply reply;

    memset(body, ' ', 69999);
    body[69999] = '\0';
    client_call("POST", "/v1/leases", body, &reply);
    ck_assert_uint_eq(reply.status, 413);
    /* Where no body would be taken, that is what is said. */
    client_call("POST", "/v1/volumes/a/b", body, &reply);
    ck_assert_uint_eq(reply.status, 404);
    client_call("PUT", "/v1/leases", body, &reply);
    ck_assert_uint_eq(reply.status, 405);
    free(body);
}
END_TEST

START_TEST(heads_have_a_limit)
{
    char head[20000], reply[64] = "";
    int fd = client_connect();
    struct pollfd polled = { .fd = fd, .events = POLLIN };

    memset(head, 'a', sizeof head);
    memcpy(head, "GET /v1/status HTTP/1.1\r\nX: ", 28);
    ck_assert_int_eq(send(fd, head, sizeof head, MSG_NOSIGNAL), sizeof head);
    ck_assert_msg(poll(&polled, 1, CLIENT_WAIT_MS) == 1, "it is not told");
    ck_assert_int_gt(recv(fd, reply, sizeof reply - 1, 0), 12);
    ck_assert_msg(strncmp(reply, "HTTP/1.1 431 ", 13) == 0, "%s", reply);
    close(fd);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        bad_requests_get_a_code_and_a_sentence,
        a_head_is_a_get_without_its_body,
        a_method_that_is_not_allowed_tells_those_that_are,
        bodies_have_a_limit,
        heads_have_a_limit,
    };
    Suite *suite = suite_create("poold-http");
    TCase *tcase = daemon_case(suite, argc, argv);

    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    tcase_add_loop_test(tcase, force_is_yes_or_no, 0, (int)ARRAY_LEN(forces));
    return tap_main(suite);
}
