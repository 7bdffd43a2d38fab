/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: whatever listens on poold's socket, voltctl's client gives the right answer or one clear
 * error. Method: a fake poold answers with what is right, what is wrong, and with right answers cut
 * or altered at every byte.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api.h"
#include "base/util.h"
#include "cli.h"
#include "cli_fake.h"
#include "tap_main.h"

#define PATIENCE_MS 60000

static void api_connect(struct api *api, const struct fake *fake)
{
    struct err err;

    cli_socket_option = fake->path;
    ck_assert_int_eq(api_init(api, &err), 0);
}

/* ---- What is right ---- */

static void serve_pools(int fd, unsigned n, const void *context)
{
    char request[4096];

    (void)n, (void)context;
    fake_check(fake_read_request(fd, request, sizeof request) > 0);
    fake_check(strncmp(request, "GET /v1/pools HTTP/1.1\r\n", 24) == 0);
    fake_answer(fd, "200 OK", "{\"pools\": []}");
    fake_check(fake_read_request(fd, request, sizeof request) > 0);
    fake_check(strncmp(request, "POST /v1/leases HTTP/1.1\r\n", 26) == 0);
    fake_check(strstr(request, "\r\n\r\n{\"wait_ms\":7}") != NULL);
    fake_print(fd, "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "5\r\n{\"lea\r\n9\r\nse\":\"ab\"}\r\n0\r\n\r\n");
    fake_check(fake_read_request(fd, request, sizeof request) > 0);
    fake_print(fd, "HTTP/1.1 204 No Content\r\n\r\n");
    fake_check(fake_read_request(fd, request, sizeof request) == 0);
}

START_TEST(a_connection_serves_many_requests)
{
    struct fake fake;
    struct api api;
    struct err err;
    json_t *json, *pools;
    const char *lease;

    fake_start(&fake, serve_pools, NULL, 1);
    api_connect(&api, &fake);
    ck_assert_int_eq(api_call(&api, "GET", "/v1/pools", NULL, PATIENCE_MS, &json, &err), 0);
    ck_assert_int_eq(api_get_array(json, "pools", &pools, &err), 0);
    ck_assert_int_eq(api_get_array(json, "leases", &pools, &err), -EPROTO);
    json_decref(json);
    json_t *body = json_pack("{s:i}", "wait_ms", 7);
    ck_assert_int_eq(api_call(&api, "POST", "/v1/leases", body, PATIENCE_MS, &json, &err), 0);
    ck_assert_int_eq(api_get_string(json, "lease", &lease, &err), 0);
    ck_assert_str_eq(lease, "ab");
    json_decref(json);
    json_decref(body);
    ck_assert_int_eq(api_call(&api, "DELETE", "/v1/leases/ab", NULL, PATIENCE_MS, &json, &err), 0);
    ck_assert_ptr_null(json);
    api_fini(&api);
    fake_stop(&fake);
}
END_TEST

/* The first connection ends after one answer, as a server that is tired of idle clients does. */
static void serve_one_each(int fd, unsigned n, const void *context)
{
    char request[4096];

    (void)n, (void)context;
    fake_check(fake_read_request(fd, request, sizeof request) > 0);
    fake_answer(fd, "200 OK", "{}");
}

START_TEST(a_get_is_sent_again_when_the_connection_was_closed)
{
    struct fake fake;
    struct api api;
    struct err err;
    json_t *json;

    fake_start(&fake, serve_one_each, NULL, 2);
    api_connect(&api, &fake);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(api_call(&api, "GET", "/v1/status", NULL, PATIENCE_MS, &json, &err), 0);
        json_decref(json);
    }
    api_fini(&api);
    fake_stop(&fake);
}
END_TEST

START_TEST(a_post_is_never_sent_twice)
{
    struct fake fake;
    struct api api;
    struct err err;

    fake_start(&fake, serve_one_each, NULL, 1);
    api_connect(&api, &fake);
    ck_assert_int_eq(api_call(&api, "POST", "/v1/leases", NULL, PATIENCE_MS, NULL, &err), 0);
    ck_assert_int_lt(api_call(&api, "POST", "/v1/leases", NULL, PATIENCE_MS, NULL, &err), 0);
    api_fini(&api);
    fake_stop(&fake);
}
END_TEST

static void serve_upgrade(int fd, unsigned n, const void *context)
{
    char request[4096], echo[4];

    (void)n, (void)context;
    fake_check(fake_read_request(fd, request, sizeof request) > 0);
    fake_check(strstr(request, "Connection: Upgrade\r\n") != NULL);
    fake_print(fd, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                   "Upgrade: volt-console\r\n\r\nearly");
    fake_check(read(fd, echo, 4) == 4 && memcmp(echo, "ping", 4) == 0);
}

START_TEST(an_upgrade_hands_over_the_stream_and_its_first_bytes)
{
    static struct client_stream stream;
    struct fake fake;
    struct api api;
    struct err err;

    fake_start(&fake, serve_upgrade, NULL, 1);
    api_connect(&api, &fake);
    ck_assert_int_eq(api_upgrade(&api, "/v1/leases/x/console", "volt-console", &stream, &err), 0);
    ck_assert_int_ge(stream.fd, 0);
    ck_assert_int_eq(api.client.fd, -1);
    ck_assert_uint_le(stream.early_bytes, 5);
    ck_assert_mem_eq(stream.early, "early", stream.early_bytes);
    ck_assert_int_eq(write(stream.fd, "ping", 4), 4);
    fake_stop(&fake);
    close(stream.fd);
}
END_TEST

/* ---- What is wrong ---- */

static const struct {
    const char *answer; /* NULL: closes at once */
    int rc;
    const char *says;
} wrong[] = {
    { NULL, -ECONNRESET, "without an answer" },
    { "SSH-2.0-OpenSSH_9.2\r\n", -EPROTO, "not HTTP" },
    { "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", -ECONNRESET, "in mid-answer" },
    { "HTTP/1.1 200 OK\r\nContent-Length: 4294967296000000000000\r\n\r\n", -EPROTO, "not HTTP" },
    { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", -EPROTO, "not HTTP" },
    { "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{]}", -EPROTO, "not JSON" },
    { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}behind", -EPROTO, "out of place" },
    { "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", -EPROTO,
      "out of place" },
    { "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", -EPROTO, "status 500" },
    { "HTTP/1.1 500 Oops\r\nContent-Length: 14\r\n\r\n{\"error\": null}", -EPROTO, NULL },
    { "HTTP/1.1 404 No\r\nContent-Length: 53\r\n\r\n"
      "{\"error\":{\"code\":\"no_such_pool\",\"message\":\"no pool\"}}",
      -API_ERROR_MISSING, "no pool" },
    { "HTTP/1.1 503 No\r\nContent-Length: 51\r\n\r\n"
      "{\"error\":{\"code\":\"no_vm_free\",\"message\":\"all out\"}}",
      -API_ERROR_NO_VM, "all out" },
    { "HTTP/1.1 409 No\r\nContent-Length: 50\r\n\r\n"
      "{\"error\":{\"code\":\"pool_busy\",\"message\":\"leased\"} }",
      -EREMOTEIO, "leased (pool_busy)" },
};

static void serve_text(int fd, unsigned n, const void *context)
{
    char request[4096];

    (void)n;
    fake_check(fake_read_request(fd, request, sizeof request) > 0);
    if (context)
        fake_print(fd, context);
}

START_TEST(a_wrong_answer_is_a_clear_error)
{
    struct fake fake;
    struct api api;
    struct err err = { 0 };
    json_t *json = NULL;

    fake_start(&fake, serve_text, wrong[_i].answer, 1);
    api_connect(&api, &fake);
    int rc = api_call(&api, "POST", "/v1/x", NULL, PATIENCE_MS, &json, &err);
    ck_assert_msg(rc == wrong[_i].rc, "rc %d, wanted %d: %s", rc, wrong[_i].rc, err.msg);
    ck_assert_ptr_null(json);
    if (wrong[_i].says)
        ck_assert_msg(strstr(err.msg, wrong[_i].says), "'%s' lacks '%s'", err.msg, wrong[_i].says);
    api_fini(&api);
    fake_stop(&fake);
}
END_TEST

static void serve_endless(int fd, unsigned n, const void *context)
{
    char request[4096], block[65536];

    (void)n, (void)context;
    fake_check(fake_read_request(fd, request, sizeof request) > 0);
    fake_print(fd, "HTTP/1.1 200 OK\r\n\r\n");
    memset(block, ' ', sizeof block);
    for (int i = 0; i < 300; i++) /* above CLIENT_BODY_MAX */
        fake_write(fd, block, sizeof block);
}

START_TEST(an_endless_body_is_refused)
{
    struct fake fake;
    struct api api;
    struct err err;

    fake_start(&fake, serve_endless, NULL, 1);
    api_connect(&api, &fake);
    ck_assert_int_eq(api_call(&api, "GET", "/v1/x", NULL, PATIENCE_MS, NULL, &err), -EPROTO);
    ck_assert_ptr_nonnull(strstr(err.msg, "larger than 16 MiB"));
    api_fini(&api);
    fake_stop(&fake);
}
END_TEST

static void serve_silence(int fd, unsigned n, const void *context)
{
    char request[4096];

    (void)n, (void)context;
    fake_check(fake_read_request(fd, request, sizeof request) > 0);
    fake_check(fake_read_request(fd, request, sizeof request) == 0);
}

START_TEST(silence_is_waited_for_no_longer_than_asked)
{
    struct fake fake;
    struct api api;
    struct err err;

    fake_start(&fake, serve_silence, NULL, 1);
    api_connect(&api, &fake);
    ck_assert_int_eq(api_call(&api, "GET", "/v1/x", NULL, 50, NULL, &err), -ETIMEDOUT);
    api_fini(&api);
    fake_stop(&fake);
}
END_TEST

/* ---- Cut and altered ---- */

static const char whole[] = "HTTP/1.1 200 OK\r\nServer: fake\r\nContent-Length: 15\r\n\r\n"
                            "{\"lease\": \"ab\"}\n";

/* Connection n gets the answer's first n bytes, the connections behind that one altered byte. */
static void serve_damaged(int fd, unsigned n, const void *context)
{
    char request[4096], answer[sizeof whole];
    size_t bytes = sizeof whole - 1;

    (void)context;
    memcpy(answer, whole, sizeof whole);
    fake_check(fake_read_request(fd, request, sizeof request) > 0);
    if (n < bytes)
        bytes = n;
    else
        answer[(n - bytes) / 2] ^= n % 2 ? 0x01 : 0x80;
    fake_write(fd, answer, bytes);
}

START_TEST(an_answer_cut_or_altered_anywhere_does_no_harm)
{
    const unsigned bytes = sizeof whole - 2; /* without the final line feed, which JSON ignores */
    struct fake fake;
    struct err err;

    fake_start(&fake, serve_damaged, NULL, sizeof whole - 1 + 2 * bytes);
    for (unsigned i = 0; i < sizeof whole - 1 + 2 * bytes; i++) {
        struct api api;
        json_t *json = NULL;

        err.msg[0] = '\0';
        api_connect(&api, &fake);
        int rc = api_call(&api, "POST", "/v1/x", NULL, PATIENCE_MS, &json, &err);
        if (i < bytes)
            ck_assert_msg(rc < 0, "an answer cut at byte %u of %u was taken", i, bytes);
        ck_assert_msg(rc == 0 || err.msg[0], "no sentence for case %u", i);
        json_decref(json);
        api_fini(&api);
    }
    fake_stop(&fake);
}
END_TEST

START_TEST(a_missing_poold_is_told_with_its_socket)
{
    struct api api;
    struct err err;

    cli_socket_option = "/nonexistent/volt/poold.sock";
    ck_assert_int_eq(api_init(&api, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.msg, "/nonexistent/volt/poold.sock"));
    ck_assert_ptr_nonnull(strstr(err.msg, "cli/quickstart"));
}
END_TEST

START_TEST(the_socket_is_looked_for_in_the_documented_order)
{
    char path[108], long_path[200];
    struct err err;

    setenv("VOLT_RUN_DIR", "/run/a", 1);
    unsetenv("VOLT_SOCKET");
    ck_assert_int_eq(client_socket_path(NULL, path, &err), 0);
    ck_assert_str_eq(path, "/run/a/poold.sock");
    setenv("VOLT_SOCKET", "/b.sock", 1);
    ck_assert_int_eq(client_socket_path(NULL, path, &err), 0);
    ck_assert_str_eq(path, "/b.sock");
    ck_assert_int_eq(client_socket_path("/c.sock", path, &err), 0);
    ck_assert_str_eq(path, "/c.sock");
    memset(long_path, 'x', sizeof long_path);
    long_path[sizeof long_path - 1] = '\0';
    ck_assert_int_eq(client_socket_path(long_path, path, &err), -ENAMETOOLONG);
}
END_TEST

#define USER 54321u
#define STRANGER 54322u

/* Listens as `owner` where a poold of USER's would, in a folder of that user's or of USER's own. */
static int fallback_listen(uid_t owner, uid_t folders)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX,
                                   .sun_path = "/tmp/volt-54321/poold.sock" };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(mkdir("/tmp/volt-54321", 0755), 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(chmod(address.sun_path, 0777), 0);
    ck_assert_int_eq(chown("/tmp/volt-54321", folders, folders), 0);
    ck_assert_int_eq(seteuid(owner), 0);
    ck_assert_int_eq(listen(fd, 1), 0); /* the kernel notes who it is that listens */
    ck_assert_int_eq(seteuid(0), 0);
    return fd;
}

/* In /tmp everybody may wait for voltctl. */
START_TEST(a_strangers_poold_is_not_talked_to)
{
    static const struct {
        uid_t listener, folder;
        int found, connected;
    } rows[] = {
        { USER, USER, true, 0 },
        { 0, USER, true, 0 },
        { STRANGER, USER, true, -EPERM },
        { STRANGER, STRANGER, false, -EPERM },
    };
    char path[108];

    if (geteuid() != 0) {
        printf("# skipped: needs root\n");
        return;
    }
    unsetenv("VOLT_RUN_DIR");
    unsetenv("VOLT_SOCKET");
    unsetenv("XDG_RUNTIME_DIR");
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = { 0 };
        struct client client;
        int fd = fallback_listen(rows[i].listener, rows[i].folder);

        ck_assert_int_eq(seteuid(USER), 0);
        ck_assert_int_eq(client_socket_path(NULL, path, &err), 0);
        if (rows[i].found || access("/run/volt/poold.sock", F_OK) < 0)
            ck_assert_str_eq(path, "/tmp/volt-54321/poold.sock");
        ck_assert_int_eq(client_init(&client, "/tmp/volt-54321/poold.sock", &err),
                         rows[i].connected);
        client_fini(&client);
        ck_assert(rows[i].connected == 0 || strstr(err.msg, "uid 54322"));
        ck_assert_int_eq(seteuid(0), 0);
        close(fd);
        unlink("/tmp/volt-54321/poold.sock");
        rmdir("/tmp/volt-54321");
    }
}
END_TEST

START_TEST(names_are_encoded_in_paths)
{
    char path[API_PATH_BYTES];
    struct err err;

    ck_assert_int_eq(api_path(path, &err, "/v1/pools/", "a..b c?", "/drain"), 0);
    ck_assert_str_eq(path, "/v1/pools/a..b%20c%3F/drain");
    ck_assert_int_eq(api_path(path, &err, "/v1/pools/", "a/../b", "/drain"), -EINVAL);
    ck_assert_str_eq(err.msg, "'a/../b' is not a name: it has a '/'");
    ck_assert_int_eq(api_path(path, &err, "/v1/leases?label=", "team=a/b", ""), 0);
    ck_assert_str_eq(path, "/v1/leases?label=team%3Da%2Fb");
    ck_assert_int_eq(api_path(path, &err, "/v1/pools/", "", ""), -EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_client");
    TCase *tests = tap_case(suite, "client");

    tcase_add_test(tests, a_connection_serves_many_requests);
    tcase_add_test(tests, a_get_is_sent_again_when_the_connection_was_closed);
    tcase_add_test(tests, a_post_is_never_sent_twice);
    tcase_add_test(tests, an_upgrade_hands_over_the_stream_and_its_first_bytes);
    tcase_add_loop_test(tests, a_wrong_answer_is_a_clear_error, 0, ARRAY_LEN(wrong));
    tcase_add_test(tests, an_endless_body_is_refused);
    tcase_add_test(tests, silence_is_waited_for_no_longer_than_asked);
    tcase_add_test(tests, an_answer_cut_or_altered_anywhere_does_no_harm);
    tcase_add_test(tests, a_missing_poold_is_told_with_its_socket);
    tcase_add_test(tests, the_socket_is_looked_for_in_the_documented_order);
    tcase_add_test(tests, a_strangers_poold_is_not_talked_to);
    tcase_add_test(tests, names_are_encoded_in_paths);
    return tap_main(suite);
}
