/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a pool is replaced without an acquire that is refused for it; whatever goes wrong, and whatever
 * else is asked for meanwhile, there is one pool of the name and nothing else is left; a poold that
 * ends in the middle leaves the old pool, one that ends later the new pool and the old one's leases.
 * Method: poold_daemon.h; pools are told apart by their memory. argv: POOLD FAKE_VMM. */
#include <check.h>
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

#define POOL "/v1/pools/default"
#define REPLACE POOL "/replace"
#define BIGGER "{\"memory\":\"128M\"}"
#define KEPT "--log-level info --keep-ms 600000"
#define ROUNDS 30u

static void pool_make(void)
{
    daemon_pool_create("{\"name\":\"default\",\"memory\":\"64M\",\"min\":2,\"max\":8}");
}

static json_int_t memory_mib(void)
{
    return daemon_pool_count(NULL, "memory_bytes") >> 20;
}

static void await_generation(json_int_t generation)
{
    daemon_pool_await(NULL, "generation", generation, generation);
}

static void await_entries(unsigned count)
{
    for (unsigned i = 0; i < CLIENT_LOOKS; i++) {
        if (daemon_entries("state/pools") == count && daemon_entries("state/snapshots") == count)
            return;
        usleep(CLIENT_LOOK_US);
    }
    ck_abort_msg("%u files and %u snapshots", daemon_entries("state/pools"),
                 daemon_entries("state/snapshots"));
}

static void poold_end(int signal)
{
    kill(daemon_pid, signal);
    waitpid(daemon_pid, NULL, 0);
    daemon_pid = 0;
}

/* Its replacement ends with an error that has `text` in it. */
static void await_failure(const char *text)
{
    for (unsigned i = 0; i < CLIENT_LOOKS; i++) {
        json_t *pool = client_json("GET", POOL, NULL);
        json_t *on = json_object_get(pool, "replacement");
        const char *error = json_string_value(json_object_get(on, "error"));
        bool found = error && strstr(error, text);

        ck_assert_msg(!error || found, "%s", error);
        json_decref(pool);
        if (found)
            return;
        usleep(CLIENT_LOOK_US);
    }
    ck_abort_msg("it does not fail");
}

static void await_state(const char *state)
{
    for (unsigned i = 0; i < CLIENT_LOOKS; i++) {
        json_t *pool = client_json("GET", POOL, NULL);
        json_t *on = json_object_get(pool, "replacement");
        const char *is = json_string_value(json_object_get(on, "state"));
        bool found = is && strcmp(is, state) == 0;

        json_decref(pool);
        if (found)
            return;
        usleep(CLIENT_LOOK_US);
    }
    ck_abort_msg("it is never %s", state);
}

static void expect_old(void)
{
    char path[64];

    client_await(POOL, "state", "ready");
    ck_assert_int_eq(daemon_pool_count(NULL, "generation"), 0);
    ck_assert_int_eq(memory_mib(), 64);
    daemon_acquire("{\"wait_ms\":60000}", path);
    client_expect(204, "DELETE", path, NULL);
    await_entries(1);
}

/* What the guest gets comes back. */
static void expect_echo(int fd)
{
    char text[16] = "";

    client_write(fd, "ping");
    ck_assert_int_eq(recv(fd, text, 4, MSG_WAITALL), 4);
    ck_assert_str_eq(text, "ping");
}

static int stream_open(const char *lease)
{
    char path[96], text[8] = "";

    snprintf(path, sizeof path, "%s/vsock?port=7", lease);
    int fd = client_upgrade(path, "volt-vsock");
    ck_assert_int_eq(recv(fd, text, 5, MSG_WAITALL), 5);
    return fd;
}

START_TEST(no_acquire_is_refused_and_leases_go_on)
{
    char lease[64], path[64];
    unsigned acquires = 0;

    pool_make();
    daemon_acquire("{\"ttl_ms\":0}", lease);
    int stream = stream_open(lease);
    client_expect(202, "POST", REPLACE, BIGGER);
    do {
        daemon_acquire("{\"wait_ms\":0}", path);
        client_expect(204, "DELETE", path, NULL);
        acquires++;
    } while (daemon_pool_count(NULL, "generation") == 0);
    for (unsigned i = 0; i < 20; i++) {
        daemon_acquire("{\"wait_ms\":0}", path);
        client_expect(204, "DELETE", path, NULL);
    }
    ck_assert_int_eq(memory_mib(), 128);
    ck_assert_int_eq(daemon_pool_count(NULL, "acquires"), acquires + 21);
    ck_assert_int_eq(daemon_slots("leased"), 1);
    expect_echo(stream);
    await_entries(2);
    client_expect(200, "GET", lease, NULL);
    client_expect(204, "DELETE", lease, NULL);
    daemon_expect_end(lease, "released");
    await_entries(1);
    client_expect(200, "GET", "/v1/snapshots/default~1", NULL);
    client_expect(404, "GET", "/v1/snapshots/default", NULL);
    close(stream);
    /* And again, with a name for its snapshot that is free. */
    client_expect(202, "POST", REPLACE, "{}");
    await_generation(2);
    ck_assert_int_eq(memory_mib(), 128);
    await_entries(1);
    client_expect(204, "DELETE", POOL, NULL);
    await_entries(0);
}
END_TEST

START_TEST(one_that_fails_leaves_the_old_one)
{
    static const struct {
        const char *fault, *error;
    } rows[] = {
        { "boot_crash", "" },
        { "snapshot_error", "no space, says fake" },
        { "bad_ready", "no VM of its snapshot gets ready" },
        { "template_crash", "template" },
    };

    pool_make();
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        daemon_slots_await("parked", 2);
        daemon_faults_set(rows[i].fault);
        client_expect(202, "POST", REPLACE, BIGGER);
        await_failure(rows[i].error);
        daemon_faults_set("");
        expect_old();
    }
    client_expect(400, "POST", REPLACE, "{\"kernel\":\"/nowhere/there\"}");
    client_expect(400, "POST", REPLACE, "{\"name\":\"other\"}");
    client_expect(400, "POST", REPLACE, "{\"min\":9}");
    expect_old();
    daemon_vm_processes_await(3, 3); /* its template, two parked */
    client_expect(202, "POST", REPLACE, BIGGER);
    await_generation(1);
}
END_TEST

START_TEST(what_else_is_asked_for_meanwhile_is_defined)
{
    pool_make();
    client_expect(404, "POST", "/v1/pools/other/replace", BIGGER);
    daemon_faults_set("boot_slow");
    client_expect(202, "POST", REPLACE, BIGGER);
    client_expect(409, "POST", REPLACE, BIGGER);
    client_expect(200, "PATCH", POOL, "{\"max\":9}");
    client_expect(200, "POST", POOL "/retry", NULL);
    client_expect(200, "POST", POOL "/drain", NULL);
    await_failure("drained");
    client_expect(409, "POST", REPLACE, BIGGER);
    client_expect(200, "POST", POOL "/undrain", NULL);
    expect_old();
    client_expect(202, "POST", REPLACE, BIGGER);
    client_expect(200, "PATCH", POOL, "{\"max\":10}");
    daemon_faults_set("");
    await_generation(1);
    ck_assert_int_eq(daemon_pool_count(NULL, "max"), 10);
    daemon_restart("--log-level info");
    await_generation(1);
    ck_assert_int_eq(daemon_pool_count(NULL, "max"), 10);
    daemon_faults_set("boot_hang");
    client_expect(202, "POST", REPLACE, BIGGER);
    client_expect(204, "DELETE", POOL, NULL);
    client_expect(404, "GET", POOL, NULL);
    await_entries(0);
    ck_assert_uint_eq(daemon_entries("run/consoles"), 0);
}
END_TEST

/* In any order, at any time: whoever asks is answered, and nothing is left of it. */
START_TEST(in_any_order_one_pool_is_left)
{
    static const struct {
        const char *method, *path, *body;
    } calls[] = {
        { "POST", REPLACE, BIGGER },        { "PATCH", POOL, "{\"max\":9}" },
        { "POST", POOL "/drain", NULL },    { "POST", POOL "/undrain", NULL },
        { "POST", REPLACE, "{\"min\":2}" }, { "POST", "/v1/leases", "{\"wait_ms\":50}" },
        { "POST", POOL "/retry", NULL },    { "DELETE", POOL "?force=1", NULL },
    };
    struct client_reply reply;

    for (unsigned round = 0; round < ROUNDS; round++) {
        daemon_pool_create("{\"name\":\"default\",\"min\":1,\"max\":10}");
        for (unsigned i = 0; i < 12; i++) {
            unsigned which = i == 0 ? 0 : (unsigned)random() % (ARRAY_LEN(calls) - 1);

            client_call(calls[which].method, calls[which].path, calls[which].body, &reply);
            ck_assert_msg(reply.status / 100 == 2 || reply.status == 409 || reply.status == 503,
                          "%s %s: %u %s", calls[which].method, calls[which].path, reply.status,
                          reply.body);
            usleep(random() % 30000);
        }
        client_expect(204, "DELETE", POOL "?force=1", NULL);
        client_expect(404, "GET", POOL, NULL);
        await_entries(0);
        daemon_vm_processes_await(0, 0);
    }
}
END_TEST

START_TEST(a_poold_that_ends_in_the_middle_leaves_the_old_pool)
{
    static const struct {
        const char *fault, *state;
    } rows[] = { { "boot_slow", "booting" }, { "no_awake", "proving" } };
    char lease[64];

    daemon_restart(KEPT);
    pool_make();
    daemon_acquire("{\"ttl_ms\":0}", lease);
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        daemon_slots_await("parked", 2);
        daemon_faults_set(rows[i].fault);
        client_expect(202, "POST", REPLACE, BIGGER);
        await_state(rows[i].state);
        poold_end(SIGKILL);
        daemon_faults_set("");
        daemon_start(KEPT);
        client_expect(200, "GET", lease, NULL);
        expect_old();
        daemon_slots_await("parked", 2);
        daemon_vm_processes_await(4, 4); /* its template, two parked, one leased */
    }
}
END_TEST

START_TEST(leases_of_the_old_one_outlive_poold)
{
    char old[64], new[64];

    daemon_restart(KEPT);
    pool_make();
    daemon_acquire("{\"ttl_ms\":0}", old);
    client_expect(202, "POST", REPLACE, BIGGER);
    await_generation(1);
    daemon_acquire("{\"ttl_ms\":0,\"wait_ms\":60000}", new);
    for (unsigned i = 0; i < 2; i++) {
        poold_end(SIGKILL);
        daemon_start(KEPT);
        client_await(POOL, "state", "ready");
        await_generation(1);
        ck_assert_int_eq(memory_mib(), 128);
        ck_assert_int_eq(daemon_slots("leased"), 2);
        int stream = stream_open(old);
        expect_echo(stream);
        close(stream);
        await_entries(2);
    }
    client_expect(204, "DELETE", old, NULL);
    await_entries(1);
    client_expect(409, "DELETE", POOL, NULL);
    client_expect(204, "DELETE", new, NULL);
    client_expect(204, "DELETE", POOL, NULL);
    await_entries(0);
}
END_TEST

/* Its leases, old and new, are its own: they keep it from deletion, and end with it. */
START_TEST(a_deletion_ends_all_of_it)
{
    char leases[3][64];

    daemon_restart(KEPT);
    pool_make();
    for (unsigned i = 0; i < 3; i++) {
        daemon_acquire("{\"wait_ms\":60000}", leases[i]);
        client_expect(202, "POST", REPLACE, BIGGER);
        await_generation(i + 1);
    }
    await_entries(4);
    poold_end(SIGKILL);
    daemon_start(KEPT);
    await_generation(3);
    await_entries(4);
    ck_assert_int_eq(daemon_slots("leased"), 3);
    client_expect(409, "DELETE", POOL, NULL);
    /* One in the middle goes. */
    client_expect(204, "DELETE", leases[1], NULL);
    await_entries(3);
    client_expect(204, "DELETE", POOL "?force=1", NULL);
    daemon_expect_end(leases[0], "pool_deleted");
    daemon_expect_end(leases[2], "pool_deleted");
    await_entries(0);
    daemon_vm_processes_await(0, 0);
}
END_TEST

/* `max` holds for both together, and who waits at the old one is served by the new one. */
START_TEST(who_waits_is_served_by_the_new_one)
{
    struct client_reply reply;
    char lease[64];

    daemon_pool_create("{\"name\":\"default\",\"memory\":\"64M\",\"min\":1,\"max\":1}");
    daemon_acquire("{}", lease);
    int waiting = client_send("POST", "/v1/leases", "{\"wait_ms\":60000}");
    daemon_pool_await(NULL, "waiting", 1, 1);
    client_expect(202, "POST", REPLACE, BIGGER);
    await_generation(1);
    ck_assert_int_eq(daemon_pool_count(NULL, "waiting"), 1);
    client_expect(503, "POST", "/v1/leases", "{\"wait_ms\":0}");
    ck_assert(!client_readable(waiting));
    client_expect(204, "DELETE", lease, NULL);
    client_receive(waiting, &reply);
    ck_assert_msg(reply.status == 201, "%u %s", reply.status, reply.body);
    await_entries(1);
    close(waiting);
}
END_TEST

/* All pools' limits hold: what there is no room for waits. */
START_TEST(it_waits_for_room)
{
    char leases[2][64];

    daemon_restart("--log-level info --max-vms 2");
    daemon_pool_create("{\"name\":\"default\",\"memory\":\"64M\",\"min\":0,\"max\":4}");
    daemon_acquire("{\"wait_ms\":60000}", leases[0]);
    daemon_acquire("{\"wait_ms\":60000}", leases[1]);
    client_expect(202, "POST", REPLACE, BIGGER);
    await_state("proving");
    client_expect(204, "DELETE", leases[0], NULL);
    await_generation(1);
    client_expect(200, "GET", leases[1], NULL);
}
END_TEST

START_TEST(a_broken_newer_file_keeps_the_old_one)
{
    char path[256];

    pool_make();
    client_expect(202, "POST", REPLACE, BIGGER);
    await_generation(1);
    await_entries(1);
    poold_end(SIGTERM);
    daemon_path("state/pools/default~1.json", path);
    ck_assert_int_eq(truncate(path, 10), 0);
    daemon_start("--log-level info");
    client_await(POOL, "state", "failed");
    client_expect(409, "POST", REPLACE, BIGGER);
    ck_assert_uint_eq(daemon_entries("state/snapshots"), 1);
    client_expect(204, "DELETE", POOL, NULL);
    await_entries(0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("poold-replace");
    TCase *tcase = daemon_case(suite, argc, argv);

    tcase_add_test(tcase, no_acquire_is_refused_and_leases_go_on);
    tcase_add_test(tcase, one_that_fails_leaves_the_old_one);
    tcase_add_test(tcase, what_else_is_asked_for_meanwhile_is_defined);
    tcase_add_test(tcase, in_any_order_one_pool_is_left);
    tcase_add_test(tcase, a_poold_that_ends_in_the_middle_leaves_the_old_pool);
    tcase_add_test(tcase, leases_of_the_old_one_outlive_poold);
    tcase_add_test(tcase, a_deletion_ends_all_of_it);
    tcase_add_test(tcase, who_waits_is_served_by_the_new_one);
    tcase_add_test(tcase, it_waits_for_room);
    tcase_add_test(tcase, a_broken_newer_file_keeps_the_old_one);
    return tap_main(suite);
}
