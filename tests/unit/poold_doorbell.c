/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what docs/functions.md says of functions at the doorbell, and that a VM which answers as it likes
 * ends its own call and nothing else. Method: poold_daemon.h; fake_vmm's functions answer by what they
 * are asked with. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest_abi.h"
#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"

#define FUNCTION "/v1/functions/f"
#define INVOKE FUNCTION "/invoke"

/* With more keys, each behind a comma. */
static void function_make(const char *keys)
{
    char body[512];

    snprintf(
        body, sizeof body,
        "{\"name\":\"f\",\"handler\":\"x\",\"runtime\":\"doorbell\",\"memory\":\"64M\",\"min\":1,"
        "\"max\":8%s}",
        keys);
    client_expect(201, "POST", "/v1/functions", body);
    client_await(FUNCTION, "state", "ready");
}

static json_int_t slots(const char *state)
{
    json_t *pool = client_json("GET", "/v1/pools/f", NULL);
    json_int_t count = json_integer_value(json_object_get(json_object_get(pool, "slots"), state));

    json_decref(pool);
    return count;
}

static void await_slots(const char *state, json_int_t count)
{
    for (unsigned i = 0; i < CLIENT_LOOKS && slots(state) != count; i++)
        usleep(CLIENT_LOOK_US);
    ck_assert_int_eq(slots(state), count);
}

static void expect_answer(const char *request, unsigned status, const char *says)
{
    struct client_reply reply;

    client_call("POST", INVOKE, request, &reply);
    ck_assert_msg(reply.status == status, "%s: %u %s", request, reply.status, reply.body);
    ck_assert_msg(strstr(reply.body, says), "%s: %s", request, reply.body);
}

START_TEST(called_from_each_tier)
{
    function_make("");
    for (unsigned i = 0; i < 20; i++)
        expect_answer("hello", 200, "hello");
    await_slots("leased", 0);
    client_expect(200, "PATCH", "/v1/pools/f", "{\"min\":0,\"shells\":2}");
    await_slots("shell", 2);
    await_slots("parked", 0);
    expect_answer("from a shell", 200, "from a shell");
    client_expect(200, "PATCH", "/v1/pools/f", "{\"min\":0,\"shells\":0}");
    await_slots("shell", 0);
    expect_answer("cold", 200, "cold");
    await_slots("leased", 0);
    client_expect(204, "DELETE", FUNCTION, NULL);
}
END_TEST

START_TEST(what_vms_answer)
{
    function_make("");
    expect_answer("error", 500, "error");
    expect_answer("ended", 502, "the service ended ");
    expect_answer("ended", 502, "badly");
    expect_answer("odd", 502, "odd");
    expect_answer("another", 502, "its VM ended");
    expect_answer("gone", 502, "its VM ended");
    expect_answer("twice", 200, "twice");
    expect_answer("hello", 200, "hello");
    await_slots("leased", 0);
    client_expect(403, "POST", "/v1/leases", "{\"pool\":\"f\"}");
}
END_TEST

START_TEST(one_that_hangs_is_late)
{
    function_make(",\"timeout_ms\":500");
    expect_answer("hang", 504, "has not answered within 500 ms");
    await_slots("leased", 0);
    expect_answer("hello", 200, "hello");
}
END_TEST

START_TEST(a_vm_may_serve_several)
{
    function_make(",\"reuse\":3");
    expect_answer("count", 200, "1");
    expect_answer("count", 200, "2");
    ck_assert_int_eq(slots("leased"), 1);
    expect_answer("count", 200, "3");
    expect_answer("count", 200, "1");
    expect_answer("gone", 502, "its VM ended");
    expect_answer("count", 200, "1");
    expect_answer("twice", 200, "twice"); /* the second ends its VM, which nobody is in */
    await_slots("leased", 0);
    expect_answer("count", 200, "");
}
END_TEST

START_TEST(bodies_have_a_bound)
{
    const size_t most = FUNCTION_PAYLOAD_MAX;
    char *body = malloc(most + 2);
    struct client_reply reply;

    memset(body, 'x', most + 1);
    body[most + 1] = '\0';
    function_make("");
    client_call("POST", INVOKE, body, &reply);
    ck_assert_uint_eq(reply.status, 413);
    ck_assert_ptr_nonnull(
        strstr(reply.body, "a call of function 'f' has at most 65536 bytes: this one has 65537"));
    body[most] = '\0';
    expect_answer(body, 200, "all of it");
    expect_answer("", 200, "");
    free(body);
}
END_TEST

/* Whoever hangs up, or is deleted, has no VM left. */
START_TEST(functions_outlive_poold)
{
    function_make("");
    expect_answer("hello", 200, "hello");
    daemon_restart("--log-level debug");
    client_await(FUNCTION, "state", "ready");
    expect_answer("hello", 200, "hello");
    await_slots("leased", 0);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        called_from_each_tier,  what_vms_answer,     one_that_hangs_is_late,
        a_vm_may_serve_several, bodies_have_a_bound, functions_outlive_poold,
    };
    Suite *suite = suite_create("poold-doorbell");
    TCase *tcase = daemon_case(suite, argc, argv);

    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    return tap_main(suite);
}
