/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what docs/functions.md says of queues, time limits, failures and restarts, and that a guest's
 * agent which does as it likes ends its own call and nothing else. Method: poold_daemon.h; fake_vmm's
 * functions answer by their path. argv: POOLD FAKE_VMM. */
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
#define PATIENT ",\"timeout_ms\":60000" /* nothing is late by it */

/* With more keys, each behind a comma. */
static void function_make(const char *keys)
{
    char body[512];

    snprintf(body, sizeof body,
             "{\"name\":\"f\",\"handler\":\"x\",\"memory\":\"64M\",\"min\":1,\"max\":8%s}", keys);
    client_expect(201, "POST", "/v1/functions", body);
    client_await(FUNCTION, "state", "ready");
}

static json_int_t function_count(const char *key)
{
    json_t *object = client_json("GET", FUNCTION, NULL);
    json_t *value = json_object_get(object, key);
    json_int_t count;

    if (!value)
        value = json_object_get(json_object_get(object, "results"), key);
    ck_assert_msg(json_is_integer(value), "no '%s'", key);
    count = json_integer_value(value);
    json_decref(object);
    return count;
}

static void function_await(const char *key, json_int_t count)
{
    for (unsigned i = 0; i < CLIENT_LOOKS && function_count(key) != count; i++)
        usleep(CLIENT_LOOK_US);
    ck_assert_int_eq(function_count(key), count);
}

/* All VMs that are there belong to nobody. */
static void expect_no_vm_left(void)
{
    json_t *pool;

    for (unsigned i = 0; i < CLIENT_LOOKS; i++) {
        json_int_t leased;

        pool = client_json("GET", "/v1/pools/f", NULL);
        leased = json_integer_value(json_object_get(json_object_get(pool, "slots"), "leased"));
        json_decref(pool);
        if (leased == 0)
            return;
        usleep(CLIENT_LOOK_US);
    }
    ck_abort_msg("a VM is left");
}

START_TEST(made_called_and_deleted)
{
    struct client_reply reply;
    json_t *logs, *record;

    function_make("");
    client_expect(409, "POST", "/v1/functions", "{\"name\":\"f\",\"handler\":\"x\"}");
    client_expect(409, "POST", "/v1/pools", "{\"name\":\"f\"}");
    client_expect(409, "DELETE", "/v1/pools/f", NULL);
    for (unsigned i = 0; i < 20; i++) {
        client_call("POST", INVOKE "ok", "{}", &reply);
        ck_assert_uint_eq(reply.status, 200);
        ck_assert_str_eq(reply.body, "ok");
    }
    ck_assert_int_eq(function_count("answered"), 20);
    expect_no_vm_left();
    logs = client_json("GET", FUNCTION "/logs", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(logs, "invocations")), 20);
    record = json_array_get(json_object_get(logs, "invocations"), 19);
    ck_assert_int_eq(json_integer_value(json_object_get(record, "status")), 200);
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(record, "log"), 0)),
                     "a line");
    json_decref(logs);
    client_call("GET", "/metrics", NULL, &reply);
    ck_assert_ptr_nonnull(strstr(
        reply.body, "volt_function_invocations_total{function=\"f\",result=\"answered\"} 20\n"));
    client_expect(204, "DELETE", FUNCTION, NULL);
    client_expect(404, "GET", FUNCTION, NULL);
    client_expect(404, "POST", INVOKE "ok", "{}");
    client_expect(404, "GET", "/v1/pools/f", NULL);
}
END_TEST

static const struct {
    const char *path;
    unsigned status;
    const char *says;
} guests[] = {
    { "error", 502, "the service was ended by signal 9" },
    { "garbage", 502, "not HTTP" },
    { "early", 502, "closed the connection without an answer" },
    { "frame", 502, "a frame out of place" },
    { "oversized", 502, "its VM ended" },
    { "gone", 502, "its VM ended" },
};

START_TEST(what_guests_do)
{
    struct client_reply reply;
    char path[64];

    function_make(PATIENT);
    for (unsigned i = 0; i < ARRAY_LEN(guests); i++) {
        snprintf(path, sizeof path, INVOKE "%s", guests[i].path);
        client_call("POST", path, "{}", &reply);
        ck_assert_msg(reply.status == guests[i].status, "%s: %s", guests[i].path, reply.body);
        ck_assert_msg(strstr(reply.body, guests[i].says), "%s: %s", guests[i].path, reply.body);
    }
    expect_no_vm_left();
    ck_assert_int_eq(function_count("failed"), ARRAY_LEN(guests));
    client_expect(200, "POST", INVOKE "ok", "{}");
}
END_TEST

START_TEST(one_that_hangs_is_late)
{
    struct client_reply reply;

    function_make(",\"timeout_ms\":500");
    client_call("POST", INVOKE "hang", "{}", &reply);
    ck_assert_uint_eq(reply.status, 504);
    ck_assert_ptr_nonnull(strstr(reply.body, "has not answered within 500 ms"));
    ck_assert_int_eq(function_count("timed_out"), 1);
    expect_no_vm_left();
}
END_TEST

/* More than the agent's first credit, and than a function takes. */
START_TEST(bodies_have_a_bound)
{
    const size_t bytes = 200000;
    char *body = malloc(bytes + 1);
    int fd;

    memset(body, 'x', bytes);
    body[bytes] = '\0';
    function_make("");
    client_expect(200, "POST", INVOKE "ok", body);
    free(body);
    fd = client_connect();
    client_write(fd, "POST " INVOKE "ok HTTP/1.1\r\nHost: x\r\nContent-Length: 6291457\r\n\r\n");
    struct client_reply reply;
    client_receive(fd, &reply);
    ck_assert_uint_eq(reply.status, 413);
    close(fd);
}
END_TEST

START_TEST(one_at_a_time_and_one_waits)
{
    struct client_reply reply;
    int first, second;

    function_make(",\"concurrency\":1,\"queue\":1,\"timeout_ms\":2000");
    first = client_send("POST", INVOKE "hang", "{}");
    function_await("on", 1);
    second = client_send("POST", INVOKE "ok", "{}");
    function_await("queued", 1);
    client_expect(429, "POST", INVOKE "ok", "{}");
    ck_assert_int_eq(function_count("refused"), 1);
    client_receive(first, &reply);
    ck_assert_uint_eq(reply.status, 504);
    client_receive(second, &reply);
    ck_assert_uint_eq(reply.status, 200);
    close(first);
    close(second);
    expect_no_vm_left();
}
END_TEST

START_TEST(nobody_waits_for_ever)
{
    struct client_reply reply;
    int first;

    function_make(",\"concurrency\":1,\"queue_ms\":300,\"timeout_ms\":60000");
    first = client_send("POST", INVOKE "hang", "{}");
    function_await("on", 1);
    client_call("POST", INVOKE "ok", "{}", &reply);
    ck_assert_uint_eq(reply.status, 503);
    ck_assert_ptr_nonnull(strstr(reply.body, "it has waited for 300 ms, while 1 others were on"));
    ck_assert_int_eq(function_count("no_vm"), 1);
    close(first); /* hangs up: its VM is not waited for */
    function_await("cancelled", 1);
    expect_no_vm_left();
    client_expect(200, "POST", INVOKE "ok", "{}");
}
END_TEST

START_TEST(a_vm_may_serve_several)
{
    json_int_t before;

    function_make(",\"reuse\":3");
    before = function_count("answered");
    for (unsigned i = 0; i < 2; i++)
        client_expect(200, "POST", INVOKE "ok", "{}");
    /* One VM waits for its third call; a failure ends one early. */
    ck_assert_int_eq(function_count("answered") - before, 2);
    client_expect(502, "POST", INVOKE "early", "{}");
    expect_no_vm_left();
}
END_TEST

START_TEST(a_service_that_ends_fails_its_function)
{
    daemon_faults_set("no_service");
    client_expect(201, "POST", "/v1/functions",
                  "{\"name\":\"f\",\"handler\":\"x\",\"memory\":\"64M\"}");
    client_await(FUNCTION, "state", "failed");
    json_t *object = client_json("GET", FUNCTION, NULL);
    const char *error = json_string_value(json_object_get(object, "error"));
    ck_assert_msg(strstr(error, "ended with exit code 3") && strstr(error, "no luck"), "%s", error);
    json_decref(object);
    client_expect(409, "POST", INVOKE "ok", "{}");
    client_expect(204, "DELETE", FUNCTION, NULL);
}
END_TEST

/* Calls end with poold, and functions do not. */
START_TEST(functions_outlive_poold)
{
    struct client_reply reply;
    int call;

    function_make(",\"concurrency\":3,\"queue\":0,\"timeout_ms\":60000");
    call = client_send("POST", INVOKE "hang", "{}");
    function_await("on", 1);
    daemon_restart("--log-level debug");
    client_receive(call, &reply);
    ck_assert_uint_eq(reply.status, 503);
    close(call);
    client_await(FUNCTION, "state", "ready");
    ck_assert_int_eq(function_count("concurrency"), 3);
    ck_assert_int_eq(function_count("queue"), 0);
    client_expect(200, "POST", INVOKE "ok", "{}");
    expect_no_vm_left();
}
END_TEST

START_TEST(a_function_is_deleted_with_its_calls)
{
    struct client_reply reply;
    int call;

    function_make(",\"timeout_ms\":60000");
    call = client_send("POST", INVOKE "hang", "{}");
    function_await("on", 1);
    client_expect(409, "DELETE", FUNCTION, NULL);
    client_expect(204, "DELETE", FUNCTION "?force=1", NULL);
    client_receive(call, &reply);
    ck_assert_uint_eq(reply.status, 503);
    close(call);
    client_expect(404, "GET", FUNCTION, NULL);
}
END_TEST

static const struct {
    const char *event;
    unsigned status;
    const char *says;
} events[] = {
    { "ok", 200, "\"done\"" },
    { "error", 500, "\"done\"" },
    { "other", 200, "\"done\"" },
    { "garbage", 502, "not HTTP" },
    { "restore", 502, "could not be made ready" },
    { "again", 502, "connects without end" },
};

/* fake_function.c is the runtime. */
START_TEST(what_runtimes_do)
{
    struct client_reply reply;

    function_make(",\"runtime\":\"lambda\"" PATIENT);
    for (unsigned i = 0; i < ARRAY_LEN(events); i++) {
        client_call("POST", FUNCTION "/invoke", events[i].event, &reply);
        ck_assert_msg(reply.status == events[i].status, "%s: %s", events[i].event, reply.body);
        ck_assert_msg(strstr(reply.body, events[i].says), "%s: %s", events[i].event, reply.body);
    }
    expect_no_vm_left();
}
END_TEST

START_TEST(a_runtime_may_serve_several)
{
    function_make(",\"runtime\":\"lambda\",\"reuse\":3" PATIENT);
    for (unsigned i = 0; i < 9; i++)
        client_expect(200, "POST", FUNCTION "/invoke", "ok");
    expect_no_vm_left();
}
END_TEST

#define INVOCATIONS "/2015-03-31/functions/"

START_TEST(as_lambda_is_asked)
{
    struct client_reply reply;

    function_make(",\"runtime\":\"lambda\"" PATIENT);
    client_call("POST", INVOCATIONS "f/invocations", "ok", &reply);
    ck_assert_uint_eq(reply.status, 200);
    ck_assert_str_eq(reply.body, "\"done\"");
    client_call("POST", INVOCATIONS "arn:aws:lambda:volt:000000000000:function:f/invocations", "ok",
                &reply);
    ck_assert_uint_eq(reply.status, 200);
    client_call("POST", INVOCATIONS "f/invocations", "garbage", &reply);
    ck_assert_uint_eq(reply.status, 200);
    ck_assert_ptr_nonnull(strstr(reply.body, "\"errorType\":\"Runtime.ExitError\""));
    client_call("POST", INVOCATIONS "g/invocations", "ok", &reply);
    ck_assert_uint_eq(reply.status, 404);
    ck_assert_ptr_nonnull(strstr(reply.body, "\"Type\":\"User\""));
    expect_no_vm_left();
    client_expect(204, "DELETE", FUNCTION, NULL);
    function_make(",\"runtime\":\"lambda\",\"timeout_ms\":1000");
    client_call("POST", INVOCATIONS "f/invocations", "hang", &reply);
    ck_assert_uint_eq(reply.status, 200);
    ck_assert_ptr_nonnull(strstr(reply.body, "Task timed out after 1.00 seconds"));
}
END_TEST

static const struct {
    unsigned status;
    const char *body, *says;
} wishes[] = {
    { 400, "[]", "must be a JSON object" },
    { 400, "{\"name\":\"f\"}", "handler" },
    { 400, "{\"handler\":\"x\"}", "name" },
    { 400, "{\"name\":\"F!\",\"handler\":\"x\"}", "F!" },
    { 400, "{\"name\":\"f\",\"handler\":\"x\",\"runtime\":\"java\"}",
      "'runtime' must be http, lambda or doorbell" },
    { 400, "{\"name\":\"f\",\"handler\":\"x\",\"runtime\":\"doorbell\",\"port\":80}",
      "'port' is of the runtime http" },
    { 400, "{\"name\":\"f\",\"handler\":\"x\",\"runtime\":\"doorbell\",\"vcpus\":2}",
      "has one virtual CPU" },
    { 400, "{\"name\":\"f\",\"handler\":\"x\",\"service_bell\":true}",
      "'service_bell' is its 'runtime'" },
    { 400, "{\"name\":\"f\",\"handler\":\"x\",\"runtime\":\"lambda\",\"port\":80}",
      "'port' is of the runtime http" },
    { 400, "{\"name\":\"f\",\"handler\":\"x\",\"port\":0}", "port" },
    { 400, "{\"name\":\"f\",\"handler\":\"x\",\"port\":65536}", "port" },
    { 400, "{\"name\":\"f\",\"handler\":\"x\",\"reuse\":0}", "reuse" },
    { 400, "{\"name\":\"f\",\"handler\":\"x\",\"timeout_ms\":0}", "timeout_ms" },
    { 400, "{\"name\":\"f\",\"handler\":\"x\",\"service\":\"y\"}", "'service' is its 'handler'" },
    { 400, "{\"name\":\"f\",\"handler\":\"x\",\"nonsense\":1}", "nonsense" },
    { 400, "{\"name\":\"f\",\"handler\":\"x\",\"memory\":\"1M\"}", "memory" },
    { 400, "{\"name\":\"f\",\"handler\":\"x", "not JSON" },
};

START_TEST(wishes_that_are_none)
{
    struct client_reply reply;

    client_call("POST", "/v1/functions", wishes[_i].body, &reply);
    ck_assert_msg(reply.status == wishes[_i].status, "%s: %s", wishes[_i].body, reply.body);
    ck_assert_msg(strstr(reply.body, wishes[_i].says), "%s: %s", wishes[_i].body, reply.body);
    client_call("GET", "/v1/functions", NULL, &reply);
    ck_assert_str_eq(reply.body, "{\"functions\":[]}\n");
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        made_called_and_deleted,
        what_guests_do,
        one_that_hangs_is_late,
        bodies_have_a_bound,
        one_at_a_time_and_one_waits,
        nobody_waits_for_ever,
        a_vm_may_serve_several,
        a_service_that_ends_fails_its_function,
        functions_outlive_poold,
        a_function_is_deleted_with_its_calls,
        what_runtimes_do,
        a_runtime_may_serve_several,
        as_lambda_is_asked,
    };
    Suite *suite = suite_create("poold-functions");
    TCase *tcase = daemon_case(suite, argc, argv);

    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    tcase_add_loop_test(tcase, wishes_that_are_none, 0, ARRAY_LEN(wishes));
    return tap_main(suite);
}
