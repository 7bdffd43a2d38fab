/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: whoever uses a lease that has ended is told why, whatever ended it; leases have labels; both are
 * known to the next poold. Method: poold_daemon.h. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"

static void pool_make(void)
{
    daemon_pool_create("{\"name\":\"default\",\"memory\":\"64M\",\"min\":1,\"max\":4}");
}

static void expect_metric(const char *reason, unsigned count)
{
    struct client_reply reply;
    char line[128];

    snprintf(line, sizeof line, "volt_lease_ends_total{pool=\"default\",reason=\"%s\"} %u\n",
             reason, count);
    client_call("GET", "/metrics", NULL, &reply);
    ck_assert_msg(strstr(reply.body, line) != NULL, "no %s", line);
}

static void await_ended(const char *path)
{
    struct client_reply reply = { .status = 200 };

    for (unsigned i = 0; reply.status == 200 && i < CLIENT_LOOKS; i++) {
        client_call("GET", path, NULL, &reply);
        usleep(CLIENT_LOOK_US);
    }
}

START_TEST(a_lease_that_was_released_says_so)
{
    char path[64], prefix[64], renew[80];

    pool_make();
    daemon_acquire("{}", path);
    client_expect(204, "DELETE", path, NULL);
    daemon_expect_end(path, "released");
    snprintf(prefix, sizeof prefix, "%.*s", 11 + 6, path);
    json_decref(daemon_lease_end("DELETE", prefix, NULL));
    snprintf(renew, sizeof renew, "%s/renew", path);
    json_decref(daemon_lease_end("POST", renew, "{\"ttl_ms\":1}"));
    client_expect(404, "GET", "/v1/leases/0123456789abcdef", NULL);
    daemon_acquire("{}", path);
    client_expect(200, "DELETE", "/v1/leases", NULL);
    daemon_expect_end(path, "released");
    expect_metric("released", 2);
}
END_TEST

START_TEST(time_and_connection_that_are_over_are_reasons)
{
    char path[64];
    struct client_reply reply;

    pool_make();
    daemon_acquire("{\"ttl_ms\":1}", path);
    await_ended(path);
    daemon_expect_end(path, "expired");
    int bound = client_send("POST", "/v1/leases", "{\"bind\":true}");
    client_receive(bound, &reply);
    snprintf(path, sizeof path, "/v1/leases/%.16s", strstr(reply.body, "\"lease\":\"") + 9);
    close(bound);
    await_ended(path);
    daemon_expect_end(path, "client_gone");
    expect_metric("expired", 1);
    expect_metric("client_gone", 1);
}
END_TEST

/* What a VM says at such a port of its guest is in fake_vmm.c. */
static void expect_end_of_vm(unsigned port, const char *reason, const char *detail)
{
    char path[64], stream[96];

    daemon_acquire("{\"wait_ms\":60000}", path);
    snprintf(stream, sizeof stream, "%s/vsock?port=%u", path, port);
    close(client_upgrade(stream, "volt-vsock"));
    await_ended(path);
    daemon_expect_end(path, reason);
    json_t *error = daemon_lease_end("GET", path, NULL);
    const char *said = json_string_value(json_object_get(error, "detail"));
    ck_assert_msg((said && detail && strstr(said, detail)) || said == detail, "%s", said);
    json_decref(error);
}

START_TEST(what_its_vm_ended_with_is_a_reason)
{
    pool_make();
    expect_end_of_vm(666, "guest_crashed", "the guest fell over");
    expect_end_of_vm(667, "guest_poweroff", NULL);
    expect_end_of_vm(668, "vm_failed", "without a word");
    expect_metric("guest_crashed", 1);
    expect_metric("guest_poweroff", 1);
    expect_metric("vm_failed", 1);
}
END_TEST

START_TEST(a_pool_that_is_deleted_is_a_reason)
{
    char path[64];

    pool_make();
    daemon_acquire("{}", path);
    client_expect(204, "DELETE", "/v1/pools/default?force=1", NULL);
    daemon_expect_end(path, "pool_deleted");
}
END_TEST

START_TEST(the_next_poold_knows_what_was)
{
    char ended[64], stopped[64], lost[64];

    pool_make();
    daemon_acquire("{}", ended);
    client_expect(204, "DELETE", ended, NULL);
    daemon_acquire("{\"ttl_ms\":0,\"wait_ms\":60000}", stopped);
    daemon_restart("--log-level info");
    daemon_expect_end(ended, "released");
    daemon_expect_end(stopped, "poold_stopped");
    client_await("/v1/pools/default", "state", "ready");
    daemon_acquire("{\"ttl_ms\":0,\"wait_ms\":60000}", lost);
    kill(daemon_pid, SIGKILL);
    waitpid(daemon_pid, NULL, 0);
    daemon_pid = 0;
    daemon_vm_processes_await(0, 0);
    daemon_start("--log-level info");
    daemon_expect_end(ended, "released");
    client_expect(404, "GET", lost, NULL); /* its keeper was killed, too: nobody knows */
}
END_TEST

START_TEST(others_hear_nothing_of_it)
{
    char path[64], line[128];
    struct client_reply reply;

    if (geteuid() != 0)
        return;
    pool_make();
    daemon_open_to_all();
    daemon_acquire("{}", path);
    client_expect(204, "DELETE", path, NULL);
    int other = client_connect_as(12345, 12345);
    snprintf(line, sizeof line, "%s", path);
    client_send_on(other, "GET", line, NULL);
    client_receive(other, &reply);
    ck_assert_uint_eq(reply.status, 404);
    close(other);
}
END_TEST

START_TEST(labels_are_kept_shown_and_found)
{
    char path[64];
    json_t *leases;

    pool_make();
    daemon_acquire("{\"labels\":{\"job\":\"17\",\"ci/branch\":\"a \\\"b\\\" \xc3\xa4\"}}", path);
    json_t *lease = client_json("GET", path, NULL);
    json_t *labels = json_object_get(lease, "labels");
    ck_assert_str_eq(json_string_value(json_object_get(labels, "ci/branch")), "a \"b\" \xc3\xa4");
    ck_assert_uint_eq(json_object_size(labels), 2);
    json_decref(lease);
    const struct {
        const char *query;
        size_t count;
    } rows[] = { { "", 1 },
                 { "?label=job%3D17", 1 },
                 { "?label=job", 1 },
                 { "?label=job%3D1", 0 },
                 { "?label=jo", 0 } };

    client_expect(400, "GET", "/v1/leases?label=%3D17", NULL);
    client_expect(400, "GET", "/v1/leases?label=", NULL);
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        char query[64];

        snprintf(query, sizeof query, "/v1/leases%s", rows[i].query);
        leases = client_json("GET", query, NULL);
        ck_assert_uint_eq(json_array_size(json_object_get(leases, "leases")), rows[i].count);
        json_decref(leases);
    }
}
END_TEST

START_TEST(labels_that_are_none_are_refused)
{
    static const char *const bad[] = {
        "[]",
        "\"a\"",
        "{\"\":\"1\"}",
        "{\"a b\":\"1\"}",
        "{\"a\":1}",
        "{\"a\":\"1\\n2\"}",
        "{\"a\":\"\\u202e\"}",
        "{\"a\":{\"b\":\"c\"}}",
    };
    char body[1024], more[800];

    pool_make();
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(body, sizeof body, "{\"labels\":%s}", bad[i]);
        client_expect(400, "POST", "/v1/leases", body);
    }
    memset(more, 'x', sizeof more);
    snprintf(body, sizeof body, "{\"labels\":{\"a\":\"%.376s\"}}", more); /* of 384 bytes */
    client_expect(400, "POST", "/v1/leases", body);
    snprintf(body, sizeof body, "{\"labels\":{\"a\":\"%.375s\"}}", more);
    client_expect(201, "POST", "/v1/leases", body);
    client_expect(200, "GET", "/v1/leases", NULL);
    size_t used = (size_t)snprintf(body, sizeof body, "{\"labels\":{\"k\":\"v\"");
    for (unsigned i = 0; i < 16; i++)
        used += (size_t)snprintf(body + used, sizeof body - used, ",\"k%u\":\"\"", i);
    snprintf(body + used, sizeof body - used, "}}");
    client_expect(400, "POST", "/v1/leases", body);
    ck_assert_int_eq(daemon_slots("leased"), 1);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("poold-reasons");
    TCase *tcase = daemon_case(suite, argc, argv);

    tcase_add_test(tcase, a_lease_that_was_released_says_so);
    tcase_add_test(tcase, time_and_connection_that_are_over_are_reasons);
    tcase_add_test(tcase, what_its_vm_ended_with_is_a_reason);
    tcase_add_test(tcase, a_pool_that_is_deleted_is_a_reason);
    tcase_add_test(tcase, the_next_poold_knows_what_was);
    tcase_add_test(tcase, others_hear_nothing_of_it);
    tcase_add_test(tcase, labels_are_kept_shown_and_found);
    tcase_add_test(tcase, labels_that_are_none_are_refused);
    return tap_main(suite);
}
