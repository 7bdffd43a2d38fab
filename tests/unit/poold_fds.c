/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: with however few file descriptors poold is started, it serves: who gets no place is told,
 * nobody who has one loses it, and it never runs out of them; with too few it does not start.
 * Method: poold_daemon.h under limits of RLIMIT_NOFILE. Needs root, to
 * connect as other users. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"

#define USER 54321u
#define LEASES_MAX 128u
#define POOLS_MAX 64u

static const unsigned limits[] = { 336, 337, 340, 400, 460, 700, 1024 };
static unsigned most_fds; /* that poold had, as far as was seen */

static void fds_look(unsigned limit)
{
    char path[64];
    unsigned count = 0;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)daemon_pid);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));)
        count += e->d_name[0] != '.';
    if (dir)
        closedir(dir);
    most_fds = MAX_OF(most_fds, count);
    ck_assert_msg(most_fds < limit, "poold has %u of %u descriptors", most_fds, limit);
}

/* Acquires until there is no room. How many leases there are now. */
static unsigned acquire_all(char leases[LEASES_MAX][32], unsigned limit)
{
    struct client_reply reply;
    unsigned count = 0;

    for (; count < LEASES_MAX; count++) {
        client_call("POST", "/v1/leases", "{\"ttl_ms\":0}", &reply);
        fds_look(limit);
        if (reply.status != 201)
            break;
        json_t *lease = json_loads(reply.body, 0, NULL);
        snprintf(leases[count], 32, "%s", json_string_value(json_object_get(lease, "lease")));
        json_decref(lease);
    }
    ck_assert_msg(count < LEASES_MAX && reply.status == 503 && strstr(reply.body, "no_room"),
                  "after %u leases: %u %s", count, reply.status, reply.body);
    ck_assert_uint_ge(count, 2);
    return count;
}

/* Each VM still answers. */
static void expect_alive(char leases[LEASES_MAX][32], unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char path[96], text[16] = "";

        snprintf(path, sizeof path, "/v1/leases/%s/vsock?port=1024", leases[i]);
        int fd = client_upgrade(path, "volt-vsock");
        ck_assert_int_eq(recv(fd, text, 8, MSG_WAITALL), 8);
        ck_assert_int_eq(write(fd, "echo", 4), 4);
        ck_assert_int_eq(recv(fd, text, 4, MSG_WAITALL), 4);
        close(fd);
        snprintf(path, sizeof path, "/v1/leases/%s/console", leases[i]);
        client_expect(200, "GET", path, NULL);
    }
    ck_assert_int_eq(daemon_slots("leased"), count);
}

/* Pools until there is no room for one; they get ready, or wait for theirs. */
static void make_pools(unsigned limit)
{
    struct client_reply reply = { 0 };

    for (unsigned i = 0; i < POOLS_MAX; i++) {
        char body[64];

        snprintf(body, sizeof body, "{\"name\":\"pool%u\",\"min\":1}", i);
        client_call("POST", "/v1/pools", body, &reply);
        fds_look(limit);
        if (reply.status != 201)
            break;
    }
    ck_assert_msg(reply.status == 503 && strstr(reply.body, "no_room"), "%u %s", reply.status,
                  reply.body);
}

static void besiege(unsigned limit)
{
    int fds[400];

    for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = client_connect_as(USER + i % 4, USER);
        client_write(fds[i], "GET /v1/status HTTP/1.1\r\nHost: volt\r\n");
    }
    fds_look(limit);
    client_expect(200, "GET", "/v1/status", NULL);
    client_expect(503, "POST", "/v1/leases", NULL);
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
}

START_TEST(few_descriptors_are_enough)
{
    unsigned limit = limits[_i], count;
    char leases[LEASES_MAX][32];

    daemon_fds_max = limit;
    daemon_restart("--log-level info --client-connections 1000");
    daemon_open_to_all();
    daemon_pool_create("{\"name\":\"default\",\"min\":2,\"max\":128}");
    count = acquire_all(leases, limit);
    expect_alive(leases, count);
    for (unsigned i = 0; i < 20; i++)
        client_expect(503, "POST", "/v1/leases", NULL);
    make_pools(limit);
    besiege(limit);
    expect_alive(leases, count);
    /* Who leaves makes room. */
    client_expect(200, "DELETE", "/v1/leases", NULL);
    client_expect(201, "POST", "/v1/leases", "{\"wait_ms\":60000}");
    client_expect(201, "POST", "/v1/leases", "{\"wait_ms\":60000}");
    ck_assert_uint_eq(daemon_log_count("Too many open files"), 0);
    ck_assert_uint_eq(daemon_log_count("no connection can be accepted"), 0);
    ck_assert_uint_eq(daemon_log_count(" failed"), 0);
    printf("# %u descriptors: %u leases, at most %u descriptors used\n", limit, count, most_fds);
    fflush(stdout);
}
END_TEST

START_TEST(too_few_are_told_at_the_start)
{
    kill(daemon_pid, SIGTERM);
    daemon_wait_exit(0);
    daemon_fds_max = 335;
    daemon_launch("--log-level info");
    daemon_wait_exit(EXIT_FAILURE);
    daemon_await_log("poold needs 336 file descriptors and may have 335", 1);
    daemon_fds_max = 0;
    daemon_start("--log-level info");
}
END_TEST

/* ---- A shortage that comes while it runs ---- */

#define FDS_MAX 1024u

static void fds_of_poold(bool ret_taken[FDS_MAX])
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/fd", (int)daemon_pid);
    DIR *dir = opendir(path);
    memset(ret_taken, 0, FDS_MAX);
    for (struct dirent *e; (e = readdir(dir));)
        ret_taken[MIN_OF(strtoul(e->d_name, NULL, 10), FDS_MAX - 1ul)] = e->d_name[0] != '.';
    closedir(dir);
}

static void fds_limit(unsigned limit)
{
    const struct rlimit fds = { limit, FDS_MAX };

    ck_assert_int_eq(prlimit(daemon_pid, RLIMIT_NOFILE, &fds, NULL), 0);
}

/* So many numbers below the limit are free that poold may have `free` descriptors more. */
static void leave_free(unsigned free)
{
    bool taken[FDS_MAX];
    unsigned limit = 0;

    fds_of_poold(taken);
    for (unsigned left = free; taken[limit] || left > 0; limit++)
        left -= !taken[limit];
    fds_limit(limit);
}

/* None above those that it has; what its VMs have is below the limit. */
static void leave_gaps(void)
{
    bool taken[FDS_MAX];
    unsigned limit = FDS_MAX;

    fds_of_poold(taken);
    while (!taken[limit - 1])
        limit--;
    fds_limit(limit);
}

static void leave_all(void)
{
    fds_limit(FDS_MAX);
}

/* Of one CPU, in the last so many milliseconds. */
static double cpu_share(unsigned ms)
{
    char path[64];
    unsigned long long user[2], kernel[2];

    snprintf(path, sizeof path, "/proc/%d/stat", (int)daemon_pid);
    for (unsigned i = 0; i < 2; i++) {
        FILE *in = fopen(path, "re");

        ck_assert_int_eq(fscanf(in,
                                "%*d (poold) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu",
                                &user[i], &kernel[i]),
                         2);
        fclose(in);
        if (i == 0)
            usleep(ms * 1000);
    }
    return (double)(user[1] + kernel[1] - user[0] - kernel[0]) / (double)sysconf(_SC_CLK_TCK) /
           (ms / 1e3);
}

static void keep_asking(unsigned free)
{
    int fd = client_connect();
    struct client_reply reply;

    client_expect(200, "GET", "/v1/status", NULL);
    leave_free(free);
    client_send_on(fd, "POST", "/v1/leases", "{\"wait_ms\":0}");
    client_receive(fd, &reply);
    if (reply.status != 201)
        ck_assert_msg(reply.status == 500 || reply.status == 503, "%u %s", reply.status,
                      reply.body);
    leave_all();
    close(fd);
}

START_TEST(a_shortage_costs_no_lease)
{
    char leases[LEASES_MAX][32];
    unsigned count = 4;

    daemon_fds_max = 1024;
    daemon_restart("--log-level info");
    daemon_pool_create("{\"name\":\"default\",\"min\":0}");
    for (unsigned i = 0; i < count; i++) {
        json_t *lease = client_json("POST", "/v1/leases", "{\"ttl_ms\":0}");

        snprintf(leases[i], 32, "%s", json_string_value(json_object_get(lease, "lease")));
        json_decref(lease);
    }
    for (unsigned left = 0; left < 24; left++)
        keep_asking(left);
    for (unsigned i = 0; i < count; i++) {
        char path[96];

        snprintf(path, sizeof path, "/v1/leases/%s", leases[i]);
        client_expect(200, "GET", path, NULL);
    }
    json_t *pool = client_json("GET", "/v1/pools/default", NULL);
    ck_assert_str_eq(json_string_value(json_object_get(pool, "state")), "ready");
    json_decref(pool);
    ck_assert_uint_eq(daemon_log_count("the template ended"), 0);
    client_expect(201, "POST", "/v1/leases", "{\"wait_ms\":60000}");
    ck_assert_uint_ge(daemon_log_count("can be made for now: Too many open files"), 1);
}
END_TEST

/* One client after another comes in, asks, and gives back what it has. */
START_TEST(with_none_left_leases_are_released)
{
    char path[96];

    daemon_fds_max = 1024;
    daemon_restart("--log-level info");
    daemon_pool_create("{\"name\":\"default\",\"min\":0}");
    json_t *lease = client_json("POST", "/v1/leases", "{\"ttl_ms\":0}");
    snprintf(path, sizeof path, "/v1/leases/%s",
             json_string_value(json_object_get(lease, "lease")));
    json_decref(lease);
    leave_free(0);
    for (unsigned i = 0; i < 10; i++)
        client_expect(200, "GET", path, NULL);
    client_expect(204, "DELETE", path, NULL);
    client_expect(410, "GET", path, NULL);
    leave_all();
    ck_assert_uint_eq(daemon_log_count("the template ended"), 0);
}
END_TEST

/* What nobody has asked for makes way for a client; and comes again. */
START_TEST(with_none_left_the_stock_goes)
{
    struct client_reply reply;
    int silent[200];
    unsigned silent_count = 0;

    daemon_fds_max = 1024;
    daemon_restart("--log-level info");
    daemon_pool_create("{\"name\":\"default\",\"min\":2}");
    for (unsigned i = 0; i < CLIENT_LOOKS && daemon_slots("parked") < 2; i++)
        usleep(CLIENT_LOOK_US);
    leave_gaps();
    while (silent_count < ARRAY_LEN(silent) && !daemon_log_count("stopped for a client")) {
        silent[silent_count++] = client_connect();
        usleep(CLIENT_LOOK_US);
    }
    ck_assert_uint_ge(daemon_log_count("stopped for a client"), 1);
    int fd = client_send("GET", "/v1/status", NULL);
    client_receive(fd, &reply);
    ck_assert_uint_eq(reply.status, 200);
    leave_all();
    close(fd);
    while (silent_count > 0)
        close(silent[--silent_count]);
    for (unsigned i = 0; i < CLIENT_LOOKS && daemon_slots("parked") < 2; i++)
        usleep(CLIENT_LOOK_US);
    ck_assert_int_eq(daemon_slots("parked"), 2);
    ck_assert_uint_eq(daemon_log_count("the template ended"), 0);
}
END_TEST

START_TEST(accepting_pauses_without_spinning)
{
    struct client_reply reply;

    daemon_fds_max = 1024;
    daemon_restart("--log-level info");
    client_expect(200, "GET", "/v1/status", NULL);
    leave_free(0);
    int last = client_connect(); /* in place of the descriptor that is kept for it */
    int fd = client_send("GET", "/v1/status", NULL);
    daemon_await_log("no connection can be accepted for now: Too many open files", 1);
    double share = cpu_share(1000);
    ck_assert_msg(share < 0.2, "poold takes %.2f of a CPU", share);
    ck_assert_uint_eq(daemon_log_count("no connection can be accepted"), 1);
    leave_all();
    client_receive(fd, &reply);
    ck_assert_uint_eq(reply.status, 200);
    /* A descriptor that poold had just closed may have been that one's: then only the next tells. */
    client_expect(200, "GET", "/v1/status", NULL);
    daemon_await_log("connections are accepted again", 1);
    close(fd);
    close(last);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("poold-fds");
    TCase *tcase = daemon_case(suite, argc, argv);

    if (geteuid() != 0) {
        printf("1..0 # SKIP it needs root, to connect as other users\n");
        return 0;
    }
    tcase_add_test(tcase, too_few_are_told_at_the_start);
    tcase_add_test(tcase, a_shortage_costs_no_lease);
    tcase_add_test(tcase, with_none_left_leases_are_released);
    tcase_add_test(tcase, with_none_left_the_stock_goes);
    tcase_add_test(tcase, accepting_pauses_without_spinning);
    tcase_add_loop_test(tcase, few_descriptors_are_enough, 0, (int)ARRAY_LEN(limits));
    return tap_main(suite);
}
