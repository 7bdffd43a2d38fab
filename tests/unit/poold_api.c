/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: poold does over its socket what docs/api.md says: requests, leases, queues, pools,
 * snapshots, streams, metrics. Method: poold_daemon.h. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"

START_TEST(acquire_and_release)
{
    char lease[32], path[64];

    daemon_pool_create("{\"name\":\"default\",\"memory\":\"64M\",\"min\":2}");
    daemon_slots_await("parked", 2);
    for (unsigned i = 0; i < 100; i++) {
        json_t *object = client_json("POST", "/v1/leases", "{}");
        json_t *timings = json_object_get(object, "timings_us");
        const char *names[] = { "queue", "load", "awake", "ready" };
        json_int_t sum = 0;

        for (unsigned n = 0; n < ARRAY_LEN(names); n++)
            sum += json_integer_value(json_object_get(timings, names[n]));
        ck_assert_int_eq(sum, json_integer_value(json_object_get(timings, "total")));
        snprintf(lease, sizeof lease, "%s", json_string_value(json_object_get(object, "lease")));
        ck_assert_uint_eq(strlen(lease), 16);
        ck_assert_ptr_nonnull(json_string_value(json_object_get(object, "tier")));
        json_decref(object);
        lease[8] = '\0'; /* a unique prefix will do */
        snprintf(path, sizeof path, "/v1/leases/%s", lease);
        client_expect(204, "DELETE", path, NULL);
        client_expect(410, "GET", path, NULL);
    }
    daemon_slots_await("stopping", 0);
    daemon_slots_await("parked", 2);
    ck_assert_int_eq(daemon_slots("leased"), 0);
}
END_TEST

static void lease_expect_left(const char *path, json_int_t least_ms, json_int_t most_ms)
{
    json_t *object = client_json("GET", path, NULL);
    json_int_t left_ms = json_integer_value(json_object_get(object, "expires_in_ms"));

    ck_assert_msg(left_ms >= least_ms && left_ms <= most_ms, "%" JSON_INTEGER_FORMAT " ms are left",
                  left_ms);
    json_decref(object);
}

START_TEST(leases_expire_and_renew)
{
    char lease[64], renewal[96];
    json_t *object;

    daemon_pool_create("{\"name\":\"default\",\"min\":1}");
    object = client_json("POST", "/v1/leases", "{\"ttl_ms\":600000}");
    snprintf(lease, sizeof lease, "/v1/leases/%s",
             json_string_value(json_object_get(object, "lease")));
    snprintf(renewal, sizeof renewal, "%s/renew", lease);
    json_decref(object);
    lease_expect_left(lease, 1, 600000);
    client_expect(200, "POST", renewal, "{\"ttl_ms\":1200000}");
    lease_expect_left(lease, 600001, 1200000);
    ck_assert_int_eq(daemon_slots("leased"), 1);
    client_expect(200, "POST", renewal, "{\"ttl_ms\":100}");
    daemon_slots_await("leased", 0);
}
END_TEST

START_TEST(a_full_pool_queues_and_serves_in_order)
{
    struct client_reply reply;
    int first, second;

    daemon_pool_create("{\"name\":\"default\",\"min\":0,\"max\":1}");
    client_expect(201, "POST", "/v1/leases", NULL);
    client_expect(503, "POST", "/v1/leases", NULL);
    first = client_send("POST", "/v1/leases", "{\"wait_ms\":60000}");
    daemon_pool_await(NULL, "waiting", 1, 1);
    second = client_send("POST", "/v1/leases", "{\"wait_ms\":60000}");
    daemon_pool_await(NULL, "waiting", 2, 2);
    ck_assert(!client_readable(first) && !client_readable(second));
    client_expect(200, "DELETE", "/v1/leases", NULL);
    client_receive(first, &reply);
    ck_assert_uint_eq(reply.status, 201);
    usleep(100000);
    ck_assert(!client_readable(second));
    client_expect(200, "DELETE", "/v1/leases", NULL);
    client_receive(second, &reply);
    ck_assert_uint_eq(reply.status, 201);
    close(first);
    close(second);
}
END_TEST

START_TEST(clients_that_hang_up_lose_place_and_bound_lease)
{
    struct client_reply reply;
    int bound, waiting;

    daemon_pool_create("{\"name\":\"default\",\"min\":0,\"max\":1}");
    bound = client_send("POST", "/v1/leases", "{\"bind\":true}");
    client_receive(bound, &reply);
    ck_assert_uint_eq(reply.status, 201);
    waiting = client_send("POST", "/v1/leases", "{\"wait_ms\":60000}");
    daemon_pool_await(NULL, "waiting", 1, 1);
    close(waiting);
    daemon_pool_await(NULL, "waiting", 0, 0);
    ck_assert_int_eq(daemon_slots("leased"), 1);
    close(bound);
    daemon_slots_await("leased", 0);
    client_expect(201, "POST", "/v1/leases", NULL);
}
END_TEST

START_TEST(shells_are_a_tier)
{
    json_t *object;

    daemon_pool_create("{\"name\":\"default\",\"min\":0,\"shells\":1}");
    daemon_slots_await("shell", 1);
    object = client_json("POST", "/v1/leases", NULL);
    ck_assert_str_eq(json_string_value(json_object_get(object, "tier")), "shell");
    json_decref(object);
    daemon_slots_await("shell", 1);
}
END_TEST

START_TEST(a_burst_is_served_and_the_pool_shrinks_again)
{
    int fds[40];
    struct client_reply reply;

    daemon_pool_create("{\"name\":\"default\",\"min\":2,\"max\":64}");
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = client_send("POST", "/v1/leases", NULL);
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
        client_receive(fds[i], &reply);
        ck_assert_msg(reply.status == 201, "%u: %s", reply.status, reply.body);
        close(fds[i]);
    }
    ck_assert_int_eq(daemon_slots("leased"), 40);
    client_expect(200, "DELETE", "/v1/leases", NULL);
    daemon_slots_await("leased", 0);
    daemon_slots_await("stopping", 0);
    daemon_slots_await("parked", 2);
}
END_TEST

START_TEST(warmups_run_before_the_snapshot)
{
    json_t *pool;

    daemon_pool_create("{\"name\":\"default\",\"warmup\":\"cat /bin/*\"}");
    daemon_slots_await("parked", 2);
    client_expect(204, "DELETE", "/v1/pools/default", NULL);
    client_expect(201, "POST", "/v1/pools", "{\"name\":\"default\",\"warmup\":\"exit 7\"}");
    client_await("/v1/pools/default", "state", "failed");
    pool = client_json("GET", "/v1/pools/default", NULL);
    ck_assert_ptr_nonnull(
        strstr(json_string_value(json_object_get(pool, "error")), "ended with exit code 7"));
    json_decref(pool);
}
END_TEST

START_TEST(a_root_without_a_shell_is_told_of)
{
    json_t *pool;

    client_expect(201, "POST", "/v1/pools", "{\"name\":\"default\",\"warmup\":\"no shell\"}");
    client_await("/v1/pools/default", "state", "failed");
    pool = client_json("GET", "/v1/pools/default", NULL);
    ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(pool, "error")),
                                 "can't run the command: /bin/sh: No such file or directory"));
    json_decref(pool);
}
END_TEST

START_TEST(streams_go_to_the_vm)
{
    char path[96], text[64] = "";
    struct client_reply reply;
    json_t *object;
    ssize_t n;
    int fd;

    daemon_pool_create("{\"name\":\"default\",\"min\":1}");
    object = client_json("POST", "/v1/leases", NULL);
    const char *lease = json_string_value(json_object_get(object, "lease"));
    snprintf(path, sizeof path, "/v1/leases/%s/vsock?port=1024", lease);
    client_expect(426, "POST", path, NULL);
    fd = client_upgrade(path, "volt-vsock");
    n = recv(fd, text, 8, MSG_WAITALL);
    ck_assert_int_eq(n, 8);
    ck_assert_str_eq(text, "OK 1024\n");
    ck_assert_int_eq(write(fd, "echo", 4), 4);
    ck_assert_int_eq(recv(fd, text, 4, MSG_WAITALL), 4);
    ck_assert_mem_eq(text, "echo", 4);
    close(fd);
    snprintf(path, sizeof path, "/v1/leases/%s/console", lease);
    client_call("GET", path, NULL, &reply);
    ck_assert_uint_eq(reply.status, 200);
    ck_assert_str_eq(reply.body, "fake console\n");
    /* A stream that kills the VM: the lease ends, the stream too. */
    snprintf(path, sizeof path, "/v1/leases/%s/vsock?port=666", lease);
    fd = client_upgrade(path, "volt-vsock");
    ck_assert_int_eq(read(fd, text, 1), 0);
    close(fd);
    daemon_slots_await("leased", 0);
    json_decref(object);
}
END_TEST

START_TEST(drain_scale_and_delete)
{
    daemon_pool_create("{\"name\":\"default\",\"min\":3}");
    daemon_slots_await("parked", 3);
    client_expect(200, "PATCH", "/v1/pools/default", "{\"min\":1}");
    daemon_slots_await("parked", 1);
    client_expect(409, "POST", "/v1/pools", "{\"name\":\"default\"}");
    client_expect(201, "POST", "/v1/leases", NULL);
    client_expect(409, "DELETE", "/v1/pools/default", NULL);
    client_expect(200, "POST", "/v1/pools/default/drain", NULL);
    client_expect(409, "POST", "/v1/leases", NULL);
    ck_assert_int_eq(daemon_slots("leased"), 1);
    /* It stays so over a restart. */
    client_expect(202, "POST", "/v1/shutdown", NULL);
    daemon_wait_exit(0);
    daemon_start("--log-level info");
    client_await("/v1/pools/default", "state", "draining");
    client_expect(409, "POST", "/v1/leases", NULL);
    client_expect(204, "DELETE", "/v1/pools/default?force=1", NULL);
    ck_assert_uint_eq(daemon_entries("state/pools"), 0);
    ck_assert_uint_eq(daemon_entries("state/snapshots"), 0);
}
END_TEST

START_TEST(snapshots_are_listed_and_checked)
{
    json_t *object;

    daemon_pool_create("{\"name\":\"default\",\"memory\":\"64M\"}");
    object = client_json("GET", "/v1/snapshots", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(object, "snapshots")), 1);
    json_decref(object);
    object = client_json("GET", "/v1/snapshots/default", NULL);
    ck_assert(json_is_array(json_object_get(object, "sections")));
    json_t *devices = json_object_get(json_object_get(object, "manifest"), "devices");
    ck_assert_str_eq(json_string_value(json_array_get(devices, 0)), "fake");
    json_decref(object);
    object = client_json("POST", "/v1/snapshots/default/verify", NULL);
    ck_assert(json_is_true(json_object_get(object, "ok")));
    json_decref(object);
    char path[256];
    daemon_path("state/snapshots/default/memory.img", path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq(pwrite(fd, "!", 1, 5), 1);
    close(fd);
    object = client_json("POST", "/v1/snapshots/default/verify", NULL);
    ck_assert(json_is_false(json_object_get(object, "ok")));
    json_t *error = json_object_get(object, "error");
    ck_assert_str_eq(json_string_value(json_object_get(error, "file")), "memory.img");
    json_decref(object);
}
END_TEST

START_TEST(metrics_are_prometheus_text)
{
    struct client_reply reply;

    daemon_pool_create("{\"name\":\"default\",\"min\":1}");
    daemon_slots_await("parked", 1);
    client_expect(201, "POST", "/v1/leases", NULL);
    client_call("GET", "/metrics", NULL, &reply);
    ck_assert_uint_eq(reply.status, 200);
    static const char *const lines[] = {
        "volt_pool_vms{pool=\"default\",state=\"leased\"} 1\n",
        "volt_acquires_total{pool=\"default\",tier=\"parked\",result=\"ok\"} 1\n",
        "# TYPE volt_acquire_seconds histogram\n",
        "volt_acquire_seconds_bucket{pool=\"default\",le=\"+Inf\"} 1\n",
        "volt_acquire_seconds_count{pool=\"default\"} 1\n",
        "volt_pool_state{pool=\"default\",state=\"ready\"} 1\n",
        "volt_pool_state{pool=\"default\",state=\"failed\"} 0\n",
        "volt_pool_max{pool=\"default\"} 64\n",
        "volt_template_restarts_total{pool=\"default\"} 0\n",
        "volt_failures_total{pool=\"default\",reason=\"awake_timeout\"} 0\n",
    };
    for (unsigned i = 0; i < ARRAY_LEN(lines); i++)
        ck_assert_msg(strstr(reply.body, lines[i]) != NULL, "no line '%s' in\n%s", lines[i],
                      reply.body);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        acquire_and_release,
        leases_expire_and_renew,
        a_full_pool_queues_and_serves_in_order,
        clients_that_hang_up_lose_place_and_bound_lease,
        shells_are_a_tier,
        a_burst_is_served_and_the_pool_shrinks_again,
        warmups_run_before_the_snapshot,
        a_root_without_a_shell_is_told_of,
        streams_go_to_the_vm,
        drain_scale_and_delete,
        snapshots_are_listed_and_checked,
        metrics_are_prometheus_text,
    };
    Suite *suite = suite_create("poold-api");
    TCase *tcase = daemon_case(suite, argc, argv);

    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    return tap_main(suite);
}
