/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what the keeper can't hold, or a keeper that does not stay, is no silent loss: another takes its
 * place and is given everything; one that ends again and again is started less and less often; what
 * does not fit into a poold stays where it is.
 * Method: poold_daemon.h, limits of the keeper's process, kill -9. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"

#define KEPT "--keep-ms 600000"
#define LOOKS 6000u
#define LOOK_US 10000u
#define CROWD 110 /* VMs, whose descriptors are more than FD_LEAST */

/* 0: poold has none. */
static pid_t keeper_pid(void)
{
    char command[160], text[32] = "";

    snprintf(command, sizeof command, "pgrep -P %d -x poold-keeper", (int)daemon_pid);
    FILE *found = popen(command, "r");
    if (found && !fgets(text, sizeof text, found))
        text[0] = '\0';
    if (found)
        pclose(found);
    return atoi(text);
}

static pid_t keeper_await(pid_t other_than)
{
    for (unsigned i = 0; i < LOOKS; i++) {
        pid_t pid = keeper_pid();

        if (pid > 0 && pid != other_than)
            return pid;
        usleep(LOOK_US);
    }
    ck_abort_msg("there is no keeper");
}

static unsigned fds_of(pid_t pid)
{
    char path[64];
    unsigned count = 0;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));)
        count += e->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count;
}

static void poold_kill(void)
{
    kill(daemon_pid, SIGKILL);
    waitpid(daemon_pid, NULL, 0);
    daemon_pid = 0;
}

static void lease_make(char ret_id[32])
{
    struct client_reply reply;

    client_call("POST", "/v1/leases", "{\"ttl_ms\":0,\"wait_ms\":60000}", &reply);
    ck_assert_msg(reply.status == 201, "%u %s", reply.status, reply.body);
    json_t *lease = json_loads(reply.body, 0, NULL);
    snprintf(ret_id, 32, "%s", json_string_value(json_object_get(lease, "lease")));
    json_decref(lease);
}

static void lease_check(const char *id)
{
    char path[64];

    snprintf(path, sizeof path, "/v1/leases/%s", id);
    client_expect(200, "GET", path, NULL);
}

START_TEST(a_keeper_without_room_is_replaced)
{
    char ids[2][32];

    daemon_restart(KEPT);
    const pid_t first = keeper_await(0);
    const struct rlimit tight = { fds_of(first) + 4, fds_of(first) + 4 };
    ck_assert_int_eq(prlimit(first, RLIMIT_NOFILE, &tight, NULL), 0);
    daemon_pool_create("{\"name\":\"default\",\"min\":2}");
    lease_make(ids[0]);
    lease_make(ids[1]);
    daemon_await_log("the new keeper has what the one before had", 1);
    ck_assert_int_ne(keeper_await(first), first);
    ck_assert_uint_eq(fds_of(first), 0);
    daemon_slots_await("parked", 2);
    poold_kill();
    daemon_start(KEPT);
    lease_check(ids[0]);
    lease_check(ids[1]);
    ck_assert_uint_eq(daemon_log_count(" failed"), 0);
}
END_TEST

/* That of a poold before is nobody's child; it is told to end. */
START_TEST(one_that_was_taken_over_is_replaced_too)
{
    char id[32];

    daemon_restart(KEPT);
    daemon_pool_create("{\"name\":\"default\",\"min\":1}");
    const pid_t first = keeper_await(0);
    poold_kill();
    daemon_start(KEPT);
    client_await("/v1/pools/default", "state", "ready");
    const struct rlimit tight = { 8, 8 };
    ck_assert_int_eq(prlimit(first, RLIMIT_NOFILE, &tight, NULL), 0);
    lease_make(id);
    daemon_slots_await("parked", 1);
    keeper_await(first);
    daemon_await_log("the new keeper has what the one before had", 1);
    ck_assert_uint_eq(fds_of(first), 0);
    poold_kill();
    daemon_start(KEPT);
    lease_check(id);
}
END_TEST

/* Its end is an error of poold's socket then, and not the end of it. */
START_TEST(one_that_ends_with_messages_unread_is_replaced)
{
    char id[32];

    daemon_restart(KEPT);
    daemon_pool_create("{\"name\":\"default\",\"min\":1}");
    const pid_t first = keeper_await(0);
    ck_assert_int_eq(kill(first, SIGSTOP), 0);
    lease_make(id);
    daemon_slots_await("parked", 1);
    kill(first, SIGKILL);
    keeper_await(first);
    daemon_await_log("the new keeper has what the one before had", 1);
    poold_kill();
    daemon_start(KEPT);
    lease_check(id);
}
END_TEST

START_TEST(one_that_ends_again_and_again_is_said_once)
{
    char id[32];
    pid_t pid = 0;

    daemon_restart(KEPT);
    daemon_pool_create("{\"name\":\"default\",\"min\":1}");
    lease_make(id);
    const uint64_t began_ns = now_ns();
    for (unsigned i = 0; i < 5; i++) {
        pid = keeper_await(pid);
        kill(pid, SIGKILL);
    }
    pid = keeper_await(pid);
    /* 200, 400, 800 and 1600 ms */
    ck_assert_uint_ge((now_ns() - began_ns) / NS_PER_MS, 3000);
    ck_assert_uint_eq(daemon_log_count("the keeper has ended; it is started again"), 1);
    ck_assert_uint_eq(daemon_log_count("the keeper ends again and again"), 1);
    daemon_await_log("the new keeper has what the one before had", 1);
    daemon_slots_await("parked", 1);
    poold_kill();
    daemon_start(KEPT);
    lease_check(id);
}
END_TEST

START_TEST(what_does_not_fit_into_a_poold_stays)
{
    char id[32];

    daemon_restart(KEPT);
    daemon_pool_create("{\"name\":\"default\",\"min\":110,\"max\":120}");
    daemon_slots_await("parked", CROWD);
    lease_make(id);
    poold_kill();
    daemon_fds_max = 336;
    daemon_launch(KEPT);
    daemon_wait_exit(EXIT_FAILURE);
    daemon_await_log("does not fit into this one, whose limits are lower", 1);
    daemon_fds_max = 0;
    daemon_start(KEPT);
    lease_check(id);
    ck_assert_uint_eq(daemon_log_count("can't be taken over"), 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("poold-keeper");
    TCase *tcase = daemon_case(suite, argc, argv);

    tcase_add_test(tcase, a_keeper_without_room_is_replaced);
    tcase_add_test(tcase, one_that_was_taken_over_is_replaced_too);
    tcase_add_test(tcase, one_that_ends_with_messages_unread_is_replaced);
    tcase_add_test(tcase, one_that_ends_again_and_again_is_said_once);
    tcase_add_test(tcase, what_does_not_fit_into_a_poold_stays);
    return tap_main(suite);
}
