/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a request that is repeated costs no second VM, and a poold that drains gives no new leases and
 * ends when those that are out are over. Method: poold_daemon.h. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"

static void pool_make(void)
{
    daemon_pool_create("{\"name\":\"default\",\"memory\":\"64M\",\"min\":1,\"max\":4}");
}

/* ---- Requests that are repeated ---- */

static void send_with_key(int fd, const char *key, const char *body)
{
    char request[1024];

    snprintf(request, sizeof request,
             "POST /v1/leases HTTP/1.1\r\nHost: v\r\nIdempotency-Key: %s\r\nContent-Length: "
             "%zu\r\n\r\n%s",
             key, strlen(body), body);
    client_write(fd, request);
}

static void acquire_with_key(const char *key, const char *body, struct client_reply *ret_reply)
{
    int fd = client_connect();

    send_with_key(fd, key, body);
    client_receive(fd, ret_reply);
    close(fd);
}

static void lease_of(const struct client_reply *reply, char ret_path[64])
{
    snprintf(ret_path, 64, "/v1/leases/%.16s", strstr(reply->body, "\"lease\":\"") + 9);
}

START_TEST(a_repeated_request_gets_the_same_lease)
{
    char first[64], again[64], other[64];
    struct client_reply reply;

    pool_make();
    acquire_with_key("build 17", "{\"wait_ms\":60000}", &reply);
    ck_assert_uint_eq(reply.status, 201);
    lease_of(&reply, first);
    acquire_with_key("build 17", "{\"wait_ms\":60000}", &reply);
    ck_assert_uint_eq(reply.status, 200);
    lease_of(&reply, again);
    ck_assert_str_eq(first, again);
    acquire_with_key("build 17", "{\"wait_ms\":60001}", &reply);
    ck_assert_uint_eq(reply.status, 422);
    ck_assert_ptr_nonnull(strstr(reply.body, "key_reused"));
    acquire_with_key("build 18", "{\"wait_ms\":60000}", &reply);
    ck_assert_uint_eq(reply.status, 201);
    lease_of(&reply, other);
    ck_assert_str_ne(first, other);
    ck_assert_int_eq(daemon_slots("leased"), 2);
    /* Once it has ended it is not had again, before and after a restart. */
    client_expect(204, "DELETE", first, NULL);
    for (unsigned i = 0; i < 2; i++) {
        acquire_with_key("build 17", "{\"wait_ms\":60000}", &reply);
        ck_assert_uint_eq(reply.status, 410);
        ck_assert_ptr_nonnull(strstr(reply.body, "\"reason\":\"released\""));
        acquire_with_key("build 17", "{}", &reply);
        ck_assert_uint_eq(reply.status, 422);
        daemon_restart("--log-level info");
        client_await("/v1/pools/default", "state", "ready");
    }
}
END_TEST

static void full_pool_make(char ret_path[64])
{
    daemon_pool_create("{\"name\":\"default\",\"memory\":\"64M\",\"min\":1,\"max\":1}");
    daemon_acquire("{\"wait_ms\":60000}", ret_path);
}

START_TEST(a_request_that_failed_is_forgotten)
{
    struct client_reply reply;
    char path[64];

    full_pool_make(path);
    acquire_with_key("k", "{}", &reply);
    ck_assert_uint_eq(reply.status, 503);
    client_expect(204, "DELETE", path, NULL);
    daemon_slots_await("parked", 1);
    acquire_with_key("k", "{}", &reply);
    ck_assert_uint_eq(reply.status, 201);
}
END_TEST

START_TEST(one_that_waits_is_not_waited_for)
{
    struct client_reply reply;
    char path[64];

    full_pool_make(path);
    int waiting = client_connect();
    send_with_key(waiting, "k", "{\"wait_ms\":60000}");
    daemon_pool_await(NULL, "waiting", 1, 1);
    acquire_with_key("k", "{\"wait_ms\":60000}", &reply);
    ck_assert_uint_eq(reply.status, 409);
    ck_assert_ptr_nonnull(strstr(reply.body, "request_pending"));
    acquire_with_key("k", "{}", &reply);
    ck_assert_uint_eq(reply.status, 422);
    /* Its client hangs up: the acquire ends, and the key is free. */
    close(waiting);
    daemon_pool_await(NULL, "waiting", 0, 0);
    client_expect(204, "DELETE", path, NULL);
    acquire_with_key("k", "{\"wait_ms\":60000}", &reply);
    ck_assert_uint_eq(reply.status, 201);
}
END_TEST

START_TEST(keys_that_are_none_are_refused)
{
    struct client_reply reply;
    char key[140];

    pool_make();
    memset(key, 'k', sizeof key);
    key[129] = '\0';
    acquire_with_key(key, "{}", &reply);
    ck_assert_uint_eq(reply.status, 400);
    acquire_with_key("k\xc3\xa4", "{}", &reply);
    ck_assert_uint_eq(reply.status, 400);
    acquire_with_key("k", "{\"bind\":true}", &reply);
    ck_assert_uint_eq(reply.status, 400);
    key[128] = '\0';
    acquire_with_key(key, "{}", &reply);
    ck_assert_uint_eq(reply.status, 201);
}
END_TEST

START_TEST(a_key_is_its_users_alone)
{
    struct client_reply reply;

    if (geteuid() != 0)
        return;
    pool_make();
    daemon_open_to_all();
    acquire_with_key("k", "{\"wait_ms\":60000}", &reply);
    ck_assert_uint_eq(reply.status, 201);
    int other = client_connect_as(12345, 12345);
    send_with_key(other, "k", "{\"wait_ms\":60000}");
    client_receive(other, &reply);
    ck_assert_uint_eq(reply.status, 201);
    close(other);
    ck_assert_int_eq(daemon_slots("leased"), 2);
}
END_TEST

/* ---- The end that waits for leases ---- */

START_TEST(a_drain_waits_for_leases)
{
    char path[64];

    pool_make();
    daemon_acquire("{\"ttl_ms\":0}", path);
    client_expect(400, "POST", "/v1/shutdown", "{\"grace_ms\":1}");
    client_expect(202, "POST", "/v1/shutdown", "{\"drain\":true}");
    client_await("/v1/status", "state", "draining");
    client_expect(503, "POST", "/v1/leases", "{\"wait_ms\":60000}");
    client_expect(503, "POST", "/v1/pools", "{\"name\":\"other\"}");
    client_expect(200, "GET", path, NULL);
    ck_assert_int_eq(daemon_slots("leased"), 1);
    client_expect(204, "DELETE", path, NULL);
    daemon_wait_exit(0);
    daemon_start("--log-level info");
    daemon_expect_end(path, "released");
}
END_TEST

START_TEST(a_drain_sends_those_away_who_wait)
{
    struct client_reply reply;
    char path[64];

    full_pool_make(path);
    int waiting = client_send("POST", "/v1/leases", "{\"wait_ms\":60000}");
    daemon_pool_await(NULL, "waiting", 1, 1);
    client_expect(202, "POST", "/v1/shutdown", "{\"drain\":true}");
    client_receive(waiting, &reply);
    ck_assert_uint_eq(reply.status, 503);
    ck_assert_ptr_nonnull(strstr(reply.body, "drains"));
    close(waiting);
    /* And a shutdown ends it all. */
    client_expect(202, "POST", "/v1/shutdown", NULL);
    daemon_wait_exit(0);
    daemon_start("--log-level info");
    daemon_expect_end(path, "poold_stopped");
}
END_TEST

START_TEST(a_drain_has_a_limit)
{
    char path[64];

    pool_make();
    daemon_acquire("{\"ttl_ms\":0}", path);
    client_expect(202, "POST", "/v1/shutdown", "{\"drain\":true,\"grace_ms\":300}");
    daemon_wait_exit(0);
    daemon_start("--log-level info");
    daemon_expect_end(path, "poold_stopped");
}
END_TEST

START_TEST(a_signal_ends_a_drain)
{
    char path[64];

    pool_make();
    daemon_acquire("{\"ttl_ms\":0}", path);
    client_expect(202, "POST", "/v1/shutdown", "{\"drain\":true}");
    kill(daemon_pid, SIGTERM);
    daemon_wait_exit(0);
}
END_TEST

START_TEST(a_drain_without_leases_is_an_end)
{
    pool_make();
    client_expect(202, "POST", "/v1/shutdown", "{\"drain\":true}");
    daemon_wait_exit(0);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        a_repeated_request_gets_the_same_lease,
        a_request_that_failed_is_forgotten,
        one_that_waits_is_not_waited_for,
        keys_that_are_none_are_refused,
        a_key_is_its_users_alone,
        a_drain_waits_for_leases,
        a_drain_sends_those_away_who_wait,
        a_drain_has_a_limit,
        a_signal_ends_a_drain,
        a_drain_without_leases_is_an_end,
    };
    Suite *suite = suite_create("poold-repeats");
    TCase *tcase = daemon_case(suite, argc, argv);

    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    return tap_main(suite);
}
