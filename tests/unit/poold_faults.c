/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: whatever VMs, templates, boots and poold's own end do wrong is told, counted, cleared away
 * and done again. Method: poold_daemon.h, with a fake_vmm that is told to fail. argv: POOLD
 * FAKE_VMM. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"

static const struct {
    const char *fault, *reason;
    unsigned status;
    const char *limits; /* options that end its silence */
} vm_faults[] = {
    { "clone_crash", "crashed", 500, NULL },
    { "awake_crash", "crashed", 500, NULL },
    { "no_awake", "awake_timeout", 500, "--setup-timeout-ms 500 --awake-timeout-ms 500" },
    { "no_ready", "ready_timeout", 500, "--ready-timeout-ms 1000" },
    { "bad_ready", "not_unique", 500, NULL },
    { "slow_ready", NULL, 201, NULL },
};

START_TEST(vms_that_misbehave_are_discarded_and_counted)
{
    struct client_reply reply;

    if (vm_faults[_i].limits)
        daemon_restart(vm_faults[_i].limits);
    daemon_pool_create("{\"name\":\"default\",\"min\":0}");
    daemon_faults_set(vm_faults[_i].fault);
    client_call("POST", "/v1/leases", NULL, &reply);
    ck_assert_msg(reply.status == vm_faults[_i].status, "%u: %s", reply.status, reply.body);
    if (vm_faults[_i].reason) {
        json_t *pool = client_json("GET", "/v1/pools/default", NULL);
        json_t *failures = json_object_get(pool, "failures"), *count;
        json_int_t all = 0;
        const char *reason;

        /* On a machine that is busy one of the three tries may be late before it goes wrong. */
        json_object_foreach(failures, reason, count) all += json_integer_value(count);
        ck_assert_int_ge(all, 3);
        ck_assert_int_ge(json_integer_value(json_object_get(failures, vm_faults[_i].reason)), 1);
        json_decref(pool);
    }
    daemon_faults_set("");
    client_expect(201, "POST", "/v1/leases", NULL);
}
END_TEST

START_TEST(failing_refills_back_off_and_recover)
{
    daemon_pool_create("{\"name\":\"default\",\"min\":1}");
    daemon_slots_await("parked", 1);
    daemon_faults_set("clone_crash");
    client_expect(201, "POST", "/v1/leases", NULL);
    usleep(1000000);
    ck_assert_int_le(daemon_pool_count("failures", "crashed"), 12);
    daemon_pool_await("failures", "crashed", 2, 100);
    daemon_pool_await(NULL, "backoff_ms", 1, 60000); /* 0 while one is tried */
    daemon_faults_set("");
    daemon_slots_await("parked", 1);
}
END_TEST

static const struct {
    const char *fault, *says;
} boot_faults[] = {
    { "boot_crash", "status 3" },
    { "snapshot_error", "no space, says fake" },
    { "template_crash", "status 4" },
};

START_TEST(hung_template_is_started_again)
{
    daemon_restart("--boot-timeout-ms 5000");
    daemon_faults_set("template_hang");
    client_expect(201, "POST", "/v1/pools", "{\"name\":\"default\",\"min\":1}");
    client_await("/v1/pools/default", "state", "loading");
    daemon_await_log("the template does not answer", 1);
    daemon_faults_set("");
    client_await("/v1/pools/default", "state", "ready");
    client_expect(204, "DELETE", "/v1/pools/default", NULL);
}
END_TEST

START_TEST(boots_that_fail_say_why)
{
    json_t *pool;

    daemon_faults_set(boot_faults[_i].fault);
    client_expect(201, "POST", "/v1/pools", "{\"name\":\"default\"}");
    client_await("/v1/pools/default", "state", "failed");
    pool = client_json("GET", "/v1/pools/default", NULL);
    const char *error = json_string_value(json_object_get(pool, "error"));
    ck_assert_msg(error && strstr(error, boot_faults[_i].says), "%s", error);
    json_decref(pool);
    client_expect(409, "POST", "/v1/leases", NULL);
    client_expect(204, "DELETE", "/v1/pools/default", NULL);
    client_expect(404, "GET", "/v1/pools/default", NULL);
}
END_TEST

START_TEST(a_trial_records_the_working_set)
{
    json_t *object;

    daemon_pool_create("{\"name\":\"default\",\"min\":1,\"max\":1,\"warmup\":\"true\"}");
    daemon_await_log("fake_vmm: a working set came", 1);
    daemon_slots_await("parked", 1);
    object = client_json("GET", "/v1/snapshots/default", NULL);
    ck_assert_int_ge(json_integer_value(json_object_get(object, "working_set_bytes")), 8192);
    json_decref(object);
    object = client_json("GET", "/v1/pools/default", NULL);
    ck_assert_int_eq(json_integer_value(json_object_get(object, "restores")), 1);
    json_decref(object);
    daemon_slots_await("stopping", 0); /* the trial's */
    ck_assert_int_eq(daemon_slots("preparing"), 0);
    /* It is recorded once. */
    client_expect(202, "POST", "/v1/shutdown", NULL);
    daemon_wait_exit(0);
    daemon_start("--log-level info");
    client_await("/v1/pools/default", "state", "ready");
    daemon_slots_await("parked", 1);
    usleep(100000);
    ck_assert_int_eq(daemon_slots("preparing") + daemon_slots("stopping"), 0);
}
END_TEST

START_TEST(a_trial_that_fails_harms_nobody)
{
    daemon_pool_create("{\"name\":\"default\",\"min\":0,\"max\":2}");
    daemon_await_log("working set is recorded", 1);
    client_expect(204, "DELETE", "/v1/pools/default", NULL);
    daemon_faults_set("no_trial");
    daemon_pool_create("{\"name\":\"default\",\"min\":0,\"max\":2}");
    daemon_vm_processes_await(2, 2); /* the template, and the trial, which says nothing */
    client_expect(204, "DELETE", "/v1/pools/default", NULL);
    ck_assert_uint_eq(daemon_entries("state/snapshots"), 0);
    ck_assert_uint_eq(daemon_vm_processes(), 0);
}
END_TEST

/* Its snapshot is fine, but no VM of it gets ready: it must not say that it is. */
START_TEST(a_pool_without_a_vm_is_not_ready)
{
    struct client_reply reply;
    json_t *pool;
    const char *error;
    int waiting;

    daemon_faults_set("bad_ready");
    client_expect(201, "POST", "/v1/pools", "{\"name\":\"default\",\"min\":0}");
    waiting = client_send("POST", "/v1/leases", "{\"wait_ms\":60000}");
    client_await("/v1/pools/default", "state", "failed");
    client_receive(waiting, &reply);
    ck_assert_uint_eq(reply.status, 409);
    ck_assert_msg(strstr(reply.body, "could not make itself unique"), "%s", reply.body);
    close(waiting);
    pool = client_json("GET", "/v1/pools/default", NULL);
    error = json_string_value(json_object_get(pool, "error"));
    ck_assert_msg(strstr(error, "3 were tried") && strstr(error, "could not make itself unique") &&
                      strstr(error, "delete the pool"),
                  "%s", error);
    json_decref(pool);
    daemon_vm_processes_await(0, 0); /* nor does its template stay */
    /* It is tried again by the next poold, which finds all well. */
    client_expect(202, "POST", "/v1/shutdown", NULL);
    daemon_wait_exit(0);
    daemon_faults_set("");
    daemon_start("--log-level info");
    client_await("/v1/pools/default", "state", "ready");
    client_expect(201, "POST", "/v1/leases", NULL);
}
END_TEST

START_TEST(a_pool_is_deleted_before_its_first_vm)
{
    daemon_faults_set("no_ready");
    client_expect(201, "POST", "/v1/pools", "{\"name\":\"default\",\"min\":1}");
    client_await("/v1/pools/default", "state", "proving");
    client_expect(409, "POST", "/v1/leases", NULL);
    client_expect(204, "DELETE", "/v1/pools/default", NULL);
    daemon_vm_processes_await(0, 0);
    ck_assert_uint_eq(daemon_entries("state/snapshots"), 0);
}
END_TEST

START_TEST(a_template_that_dies_is_started_again)
{
    daemon_pool_create("{\"name\":\"default\",\"min\":1}");
    daemon_slots_await("parked", 1);
    daemon_template_kill();
    client_expect(201, "POST", "/v1/leases", "{\"wait_ms\":60000}");
    client_expect(201, "POST", "/v1/leases", "{\"wait_ms\":60000}");
    client_await("/v1/pools/default", "state", "ready");
}
END_TEST

START_TEST(a_restart_keeps_pools_and_clears_leftovers)
{
    daemon_pool_create("{\"name\":\"default\",\"min\":2}");
    daemon_slots_await("parked", 2);
    client_expect(201, "POST", "/v1/leases", "{\"ttl_ms\":0}");
    kill(daemon_pid, SIGKILL);
    waitpid(daemon_pid, NULL, 0);
    daemon_pid = 0;
    daemon_vm_processes_await(0, 0);
    ck_assert_uint_gt(daemon_entries("run/vms"), 2);
    daemon_directory_make("state/snapshots/nobodys");
    daemon_directory_make("state/snapshots/.default.tmp.abcdef");
    daemon_start("--log-level info");
    client_await("/v1/pools/default", "state", "ready");
    ck_assert_uint_eq(daemon_entries("state/snapshots"), 1);
    daemon_slots_await("parked", 2);
    ck_assert_int_eq(daemon_slots("leased"), 0);
    client_expect(201, "POST", "/v1/leases", NULL);
}
END_TEST

START_TEST(one_poold_a_directory)
{
    char command[600];

    snprintf(
        command, sizeof command,
        "'%s' --run-dir '%s/run' --state-dir '%s/state' 2>&1 | grep -q 'another poold (pid %d)'",
        daemon_program, daemon_dir, daemon_dir, (int)daemon_pid);
    ck_assert_int_eq(system(command), 0);
    client_expect(200, "GET", "/v1/status", NULL);
}
END_TEST

/* What the store refuses to remove: a directory where files should be. */
START_TEST(a_deletion_that_fails_is_told_and_repeated)
{
    struct client_reply reply;

    daemon_pool_create("{\"name\":\"default\",\"min\":1}");
    daemon_slots_await("parked", 1);
    daemon_directory_make("state/snapshots/default/strange");
    client_call("DELETE", "/v1/pools/default", NULL, &reply);
    ck_assert_uint_eq(reply.status, 500);
    ck_assert_ptr_nonnull(strstr(reply.body, "delete it again"));
    ck_assert_uint_eq(daemon_entries("state/pools"), 1);
    client_await("/v1/pools/default", "state", "draining");
    client_expect(204, "DELETE", "/v1/pools/default", NULL);
    ck_assert_uint_eq(daemon_entries("state/pools"), 0);
    client_expect(404, "GET", "/v1/pools/default", NULL);
    /* A leftover keeps no poold from starting. */
    client_expect(202, "POST", "/v1/shutdown", NULL);
    daemon_wait_exit(0);
    daemon_start("--log-level info");
    daemon_pool_create("{\"name\":\"default\",\"min\":1}");
}
END_TEST

START_TEST(shutdown_ends_everything)
{
    int waiting;
    struct client_reply reply;

    daemon_pool_create("{\"name\":\"default\",\"min\":2,\"max\":2}");
    client_expect(201, "POST", "/v1/leases", NULL);
    client_expect(201, "POST", "/v1/leases", NULL);
    waiting = client_send("POST", "/v1/leases", "{\"wait_ms\":60000}");
    daemon_pool_await(NULL, "waiting", 1, 1);
    client_expect(202, "POST", "/v1/shutdown", NULL);
    client_receive(waiting, &reply);
    ck_assert_uint_eq(reply.status, 503);
    close(waiting);
    daemon_wait_exit(0);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        failing_refills_back_off_and_recover,
        hung_template_is_started_again,
        a_trial_records_the_working_set,
        a_trial_that_fails_harms_nobody,
        a_pool_without_a_vm_is_not_ready,
        a_pool_is_deleted_before_its_first_vm,
        a_template_that_dies_is_started_again,
        a_restart_keeps_pools_and_clears_leftovers,
        one_poold_a_directory,
        a_deletion_that_fails_is_told_and_repeated,
        shutdown_ends_everything,
    };
    Suite *suite = suite_create("poold-faults");
    TCase *tcase = daemon_case(suite, argc, argv);

    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    tcase_add_loop_test(tcase, vms_that_misbehave_are_discarded_and_counted, 0,
                        (int)ARRAY_LEN(vm_faults));
    tcase_add_loop_test(tcase, boots_that_fail_say_why, 0, (int)ARRAY_LEN(boot_faults));
    return tap_main(suite);
}
