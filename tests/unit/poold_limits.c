/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: limits of the host are held, whoever asks: VMs, their memory, one user's memory, boots at a
 * time; who is refused is told which. Method: poold_daemon.h. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"

#define USER 54321u

/* So many leases, and then a refusal that says why. */
static void expect_leases(unsigned count, unsigned status, const char *why)
{
    struct client_reply reply;

    for (unsigned i = 0; i < count; i++)
        client_expect(201, "POST", "/v1/leases", "{\"ttl_ms\":0}");
    client_call("POST", "/v1/leases", NULL, &reply);
    ck_assert_msg(reply.status == status && strstr(reply.body, why), "%u %s", reply.status,
                  reply.body);
    ck_assert_int_eq(daemon_slots("leased"), count);
}

START_TEST(vms_of_all_pools_are_limited)
{
    daemon_restart("--max-vms 3");
    client_expect(201, "POST", "/v1/pools", "{\"name\":\"other\",\"min\":3}");
    client_await("/v1/pools/other", "state", "ready");
    daemon_pool_create("{\"name\":\"default\",\"min\":0}");
    expect_leases(3, 503, "max-vms");
    client_expect(200, "DELETE", "/v1/leases", NULL);
    client_expect(201, "POST", "/v1/leases", "{\"wait_ms\":60000}");
}
END_TEST

START_TEST(memory_of_all_vms_is_limited)
{
    daemon_restart("--max-memory-mib 300");
    daemon_pool_create("{\"name\":\"default\",\"min\":2,\"memory\":\"128M\"}");
    expect_leases(2, 503, "300 MiB of memory (max-memory-mib)");
    client_expect(200, "DELETE", "/v1/leases", NULL);
    client_expect(201, "POST", "/v1/leases", "{\"wait_ms\":60000}");
}
END_TEST

static unsigned acquire_as_user_from(const char *pool, struct client_reply *ret_reply)
{
    int fd = client_connect_as(USER, USER);
    char body[96];

    snprintf(body, sizeof body, "{\"pool\":\"%s\",\"ttl_ms\":0}", pool);
    client_send_on(fd, "POST", "/v1/leases", body);
    client_receive(fd, ret_reply);
    close(fd);
    return ret_reply->status;
}

static unsigned acquire_as_user(struct client_reply *ret_reply)
{
    return acquire_as_user_from("default", ret_reply);
}

START_TEST(memory_of_one_user_is_limited)
{
    struct client_reply reply;

    daemon_restart("--client-memory-mib 256");
    daemon_open_to_all();
    daemon_pool_create("{\"name\":\"default\",\"min\":0,\"memory\":\"128M\"}");
    ck_assert_uint_eq(acquire_as_user(&reply), 201);
    ck_assert_uint_eq(acquire_as_user(&reply), 201);
    ck_assert_uint_eq(acquire_as_user(&reply), 429);
    ck_assert_ptr_nonnull(strstr(reply.body, "256 MiB"));
    client_expect(201, "POST", "/v1/leases", NULL);
}
END_TEST

/* Each as large as it is, whatever is asked for next. */
START_TEST(memory_that_is_waited_for_counts)
{
    struct client_reply reply;

    daemon_restart("--client-memory-mib 256");
    daemon_open_to_all();
    daemon_pool_create("{\"name\":\"default\",\"min\":0,\"max\":1,\"memory\":\"256M\"}");
    client_expect(201, "POST", "/v1/pools", "{\"name\":\"small\",\"min\":0,\"memory\":\"128M\"}");
    client_await("/v1/pools/small", "state", "ready");
    client_expect(201, "POST", "/v1/leases", NULL);
    int waiting = client_connect_as(USER, USER);
    client_send_on(waiting, "POST", "/v1/leases", "{\"wait_ms\":60000,\"ttl_ms\":0}");
    daemon_pool_await(NULL, "waiting", 1, 1);
    ck_assert_uint_eq(acquire_as_user_from("small", &reply), 429);
    ck_assert_ptr_nonnull(strstr(reply.body, "256 MiB"));
    client_expect(200, "DELETE", "/v1/leases", NULL);
    client_receive(waiting, &reply);
    ck_assert_uint_eq(reply.status, 201);
    /* One that nobody waits for any more counts no more. */
    client_send_on(waiting, "DELETE", "/v1/leases", NULL);
    client_receive(waiting, &reply);
    ck_assert_uint_eq(acquire_as_user_from("small", &reply), 201);
    close(waiting);
}
END_TEST

/* Those of a rule go before those of everybody. */
START_TEST(a_rule_limits_its_users)
{
    struct client_reply reply;
    char path[256], options[320];

    daemon_path("policy", path);
    FILE *out = fopen(path, "we");
    ck_assert_ptr_nonnull(out);
    fprintf(out,
            "{\"rules\": [{\"uid\": %u, \"rights\": [\"acquire\"], \"leases\": 2, \"memory_mib\": "
            "512}]}",
            USER);
    fclose(out);
    snprintf(options, sizeof options, "--client-leases 1 --client-memory-mib 64 --policy %s", path);
    daemon_restart(options);
    daemon_open_to_all();
    daemon_pool_create("{\"name\":\"default\",\"min\":0,\"memory\":\"128M\"}");
    ck_assert_uint_eq(acquire_as_user(&reply), 201);
    ck_assert_uint_eq(acquire_as_user(&reply), 201);
    ck_assert_uint_eq(acquire_as_user(&reply), 429);
    ck_assert_ptr_nonnull(strstr(reply.body, "you may have 2 leases"));
}
END_TEST

START_TEST(boots_wait_for_their_turn)
{
    daemon_restart("--max-boots 1");
    daemon_faults_set("boot_slow");
    client_expect(201, "POST", "/v1/pools", "{\"name\":\"first\",\"min\":0}");
    client_expect(201, "POST", "/v1/pools", "{\"name\":\"second\",\"min\":0}");
    client_expect(201, "POST", "/v1/pools", "{\"name\":\"third\",\"min\":0}");
    daemon_vm_processes_await(1, 1);
    usleep(200000);
    ck_assert_uint_eq(daemon_vm_processes(), 1);
    client_expect(204, "DELETE", "/v1/pools/third", NULL);
    daemon_faults_set("");
    client_await("/v1/pools/first", "state", "ready");
    client_await("/v1/pools/second", "state", "ready");
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("poold-limits");
    TCase *tcase = daemon_case(suite, argc, argv);

    tcase_add_test(tcase, vms_of_all_pools_are_limited);
    tcase_add_test(tcase, memory_of_all_vms_is_limited);
    tcase_add_test(tcase, boots_wait_for_their_turn);
    if (geteuid() == 0) {
        tcase_add_test(tcase, memory_of_one_user_is_limited);
        tcase_add_test(tcase, memory_that_is_waited_for_counts);
        tcase_add_test(tcase, a_rule_limits_its_users);
    } else {
        printf("# without root nobody can connect as another user: three tests are left out\n");
    }
    return tap_main(suite);
}
