/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what clients do to the socket harms neither other clients nor poold's end: they have limits,
 * which are enforced; what is late is closed, however it comes to be late; root is served all the
 * same; descriptors that run out cost no CPU. Method: poold_daemon.h; other users are processes with
 * other uids, so most of it needs root. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"

#define USER 54321
#define STATUS "GET /v1/status HTTP/1.1\r\nHost: volt\r\n\r\n"

/* One request on a connection that stays. */
static void request(int fd, const char *text, unsigned status)
{
    struct client_reply reply;

    client_write(fd, text);
    client_receive(fd, &reply);
    ck_assert_msg(reply.status == status, "%u: %s", reply.status, reply.body);
}

/* ---- How many connections ---- */

START_TEST(who_has_too_many_connections_is_told_and_closed)
{
    char text[1024];
    int fds[4], more;

    daemon_restart("--client-connections 4");
    daemon_open_to_all();
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = client_connect_as(USER, USER);
        request(fds[i], STATUS, 200);
    }
    for (unsigned i = 0; i < 20; i++) {
        more = client_connect_as(USER, USER);
        client_await_end(more, text, sizeof text);
        ck_assert_msg(strncmp(text, "HTTP/1.1 429 ", 13) == 0, "%s", text);
        ck_assert_ptr_nonnull(strstr(text, "\"too_many\""));
        close(more);
    }
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
        request(fds[i], STATUS, 200);
    more = client_connect_as(USER + 1, USER); /* that is somebody else */
    request(more, STATUS, 200);
    close(more);
    for (unsigned i = 0; i < 100; i++)
        client_expect(200, "GET", "/v1/status", NULL);
    close(fds[0]);
    usleep(CLIENT_LOOK_US);
    more = client_connect_as(USER, USER);
    request(more, STATUS, 200);
    close(more);
    for (unsigned i = 1; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
}
END_TEST

/* ---- Time ---- */

#define LIMITS "--request-timeout-ms 400 --transfer-timeout-ms 400 --idle-timeout-ms 400"
#define HALF_BODY "POST /v1/leases HTTP/1.1\r\nHost: volt\r\nContent-Length: 10000\r\n\r\n{"
#define CHUNKED "POST /v1/leases HTTP/1.1\r\nHost: volt\r\nTransfer-Encoding: chunked\r\n\r\n"
#define IMAGE "POST /v1/images/x HTTP/1.1\r\nHost: volt\r\nContent-Length: 100000\r\n\r\n"

static const struct late_row {
    const char *name;
    bool after_one; /* the connection has served a request */
    const char *begins, *drips;
} late[] = {
    { "nothing", false, "", NULL },
    { "half a head", false, "GET /v1/status HT", NULL },
    { "a head by and by", false, "GET /v1/status HTTP/1.1\r\n", "A: b\r\n" },
    { "a long line by and by", false, "GET /v1/status?", "a" },
    { "idle", true, "", NULL },
    { "half a head later", true, "GET /v1/status HT", NULL },
    { "a head by and by later", true, "GET /v1/status HTTP/1.1\r\n", "A: b\r\n" },
    { "empty lines by and by", true, "", "\r\n" },
    { "half a body", false, HALF_BODY, NULL },
    { "half a body later", true, HALF_BODY, NULL },
    { "a body by and by", true, HALF_BODY, " " },
    { "chunks by and by", false, CHUNKED, "1\r\n \r\n" },
    { "chunks by and by later", true, CHUNKED, "1\r\n \r\n" },
    { "an image that stops", true, IMAGE "data", NULL },
    { "an image by and by", false, IMAGE, "x" },
};

/* Sends what there is to send again and again, until the other end has had enough. */
static void drip(int fd, const char *text)
{
    for (unsigned i = 0; i < CLIENT_LOOKS; i++) {
        struct pollfd polled = { .fd = fd, .events = POLLIN | POLLRDHUP };

        if (poll(&polled, 1, 0) == 1 && polled.revents & (POLLRDHUP | POLLHUP | POLLERR))
            return;
        client_write(fd, text);
        usleep(CLIENT_LOOK_US);
    }
    ck_abort_msg("it is never closed");
}

START_TEST(what_is_late_is_closed)
{
    int fd;

    daemon_restart(LIMITS);
    fd = client_connect();
    if (late[_i].after_one)
        request(fd, STATUS, 200);
    client_write(fd, late[_i].begins);
    if (late[_i].drips)
        drip(fd, late[_i].drips);
    client_await_end(fd, NULL, 0);
    close(fd);
    client_expect(200, "GET", "/v1/status", NULL);
}
END_TEST

/* Requests one behind the other, whose replies nobody reads. */
static void write_without_reading(int fd)
{
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (unsigned i = 0; i < 20000; i++) {
        if (send(fd, STATUS, strlen(STATUS), MSG_NOSIGNAL) < 0)
            return;
    }
    ck_abort_msg("poold takes requests without end");
}

START_TEST(who_does_not_read_is_closed)
{
    struct pollfd polled = { .events = POLLRDHUP };

    daemon_restart(LIMITS);
    polled.fd = client_connect();
    write_without_reading(polled.fd);
    ck_assert_msg(poll(&polled, 1, CLIENT_WAIT_MS) == 1, "it is not closed");
    close(polled.fd);
}
END_TEST

START_TEST(who_has_a_reason_is_kept)
{
    int bound, waiting, stream;
    struct client_reply reply;
    char path[96], text[64];
    json_t *object;

    daemon_restart(LIMITS);
    daemon_pool_create("{\"name\":\"default\",\"min\":0,\"max\":2}");
    object = client_json("POST", "/v1/leases", NULL);
    snprintf(path, sizeof path, "/v1/leases/%s/vsock?port=1024",
             json_string_value(json_object_get(object, "lease")));
    json_decref(object);
    stream = client_upgrade(path, "volt-vsock");
    ck_assert_int_eq(recv(stream, text, 8, MSG_WAITALL), 8);
    bound = client_send("POST", "/v1/leases", "{\"bind\":true}");
    client_receive(bound, &reply);
    ck_assert_uint_eq(reply.status, 201);
    waiting = client_send("POST", "/v1/leases", "{\"wait_ms\":60000}");
    daemon_pool_await(NULL, "waiting", 1, 1);
    usleep(1200000);
    ck_assert_int_eq(daemon_pool_count(NULL, "waiting"), 1);
    request(bound, STATUS, 200); /* it was idle all the time */
    ck_assert_int_eq(write(stream, "echo", 4), 4);
    ck_assert_int_eq(recv(stream, text, 4, MSG_WAITALL), 4);
    client_expect(200, "DELETE", "/v1/leases", NULL);
    client_receive(waiting, &reply);
    ck_assert_uint_eq(reply.status, 201);
    client_await_end(bound, NULL, 0); /* the reason is gone */
    close(bound);
    close(waiting);
    close(stream);
}
END_TEST

/* ---- Turns and memory ---- */

START_TEST(more_requests_than_a_turn_has_are_all_answered)
{
    enum { users = 3, each = 100 };
    int fds[users * each];

    daemon_open_to_all();
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = client_connect_as(USER + i % users, USER);
    for (unsigned round = 0; round < 5; round++) {
        kill(daemon_pid, SIGSTOP); /* so that they all come in one turn */
        for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
            client_write(fds[i], STATUS STATUS);
        kill(daemon_pid, SIGCONT);
        for (unsigned i = 0; i < 2 * ARRAY_LEN(fds); i++) {
            struct client_reply reply;

            client_receive(fds[i / 2], &reply);
            ck_assert_uint_eq(reply.status, 200);
        }
    }
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
}
END_TEST

START_TEST(bodies_of_one_user_take_so_much_memory)
{
    enum { count = 400, bytes = 60000 };
    char *body = malloc(bytes);
    unsigned refused = 0;
    int fds[count];

    daemon_open_to_all();
    memset(body, ' ', bytes - 1);
    body[bytes - 1] = '\0';
    for (unsigned i = 0; i < count; i++) {
        fds[i] = client_connect_as(USER, USER);
        client_write(fds[i],
                     "POST /v1/leases HTTP/1.1\r\nHost: volt\r\nContent-Length: 60001\r\n\r\n");
        client_write(fds[i], body);
    }
    for (unsigned i = 0; i < count; i++) {
        struct client_reply reply;

        client_write(fds[i], "{}");
        client_receive(fds[i], &reply);
        ck_assert_msg(reply.status == 429 || reply.status == 404, "%u", reply.status);
        refused += reply.status == 429;
        close(fds[i]);
    }
    ck_assert_uint_ge(refused, count / 4);
    ck_assert_uint_lt(refused, count);
    body[0] = '{'; /* what they took is free again */
    body[1] = '}';
    int fd = client_connect_as(USER, USER);
    client_write(fd, "POST /v1/leases HTTP/1.1\r\nHost: volt\r\nContent-Length: 59999\r\n\r\n");
    request(fd, body, 404);
    close(fd);
    free(body);
}
END_TEST

/* ---- Descriptors ---- */

static uint64_t daemon_cpu_ms(void)
{
    char path[64], text[1024];
    unsigned long user, system;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)daemon_pid);
    FILE *in = fopen(path, "re");
    ck_assert_ptr_nonnull(in);
    ck_assert_ptr_nonnull(fgets(text, sizeof text, in));
    fclose(in);
    ck_assert_int_eq(sscanf(strrchr(text, ')'),
                            ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                            &system),
                     2);
    return (user + system) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

/* Of two seconds: what its threads were doing is done. A sanitizer takes several times as much. */
#ifdef __SANITIZE_ADDRESS__
#define IDLE_CPU_MS 1200u
#else
#define IDLE_CPU_MS 200u
#endif

START_TEST(without_descriptors_accepting_pauses)
{
    struct rlimit limit, none = { 0, 0 };
    struct client_reply reply;
    uint64_t cpu_ms;
    int fd;

    client_expect(200, "GET", "/v1/status", NULL); /* it has started, which takes descriptors */
    ck_assert_int_eq(prlimit(daemon_pid, RLIMIT_NOFILE, NULL, &limit), 0);
    none.rlim_max = limit.rlim_max;
    ck_assert_int_eq(prlimit(daemon_pid, RLIMIT_NOFILE, &none, NULL), 0);
    fd = client_send("GET", "/v1/status", NULL);
    daemon_await_log("no connection can be accepted", 1);
    cpu_ms = daemon_cpu_ms();
    usleep(2000000);
    ck_assert_uint_le(daemon_cpu_ms() - cpu_ms, IDLE_CPU_MS);
    ck_assert_uint_eq(daemon_log_count("no connection can be accepted"), 1);
    ck_assert_int_eq(prlimit(daemon_pid, RLIMIT_NOFILE, &limit, NULL), 0);
    client_receive(fd, &reply);
    ck_assert_uint_eq(reply.status, 200);
    daemon_await_log("connections are accepted again", 1);
    close(fd);
}
END_TEST

/* ---- The end ---- */

START_TEST(the_end_does_not_wait_for_clients)
{
    int fds[ARRAY_LEN(late) + 1];

    daemon_pool_create("{\"name\":\"default\",\"min\":1}");
    for (unsigned i = 0; i < ARRAY_LEN(late); i++) {
        fds[i] = client_connect();
        if (late[i].after_one)
            request(fds[i], STATUS, 200);
        client_write(fds[i], late[i].begins);
    }
    fds[ARRAY_LEN(late)] = client_connect();
    write_without_reading(fds[ARRAY_LEN(late)]);
    client_expect(200, "GET", "/v1/status", NULL); /* it has read what was sent before */
    kill(daemon_pid, SIGTERM);
    daemon_wait_exit(0);
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
}
END_TEST

START_TEST(a_second_signal_ends_it_at_once)
{
    char command[256];

    daemon_pool_create("{\"name\":\"default\",\"min\":2}");
    daemon_slots_await("parked", 2);
    kill(daemon_pid, SIGSTOP);
    kill(daemon_pid, SIGTERM);
    kill(daemon_pid, SIGINT); /* two different ones, as two of one kind would be one */
    kill(daemon_pid, SIGCONT);
    daemon_wait_exit(1);
    daemon_vm_processes_await(0, 0);
    snprintf(command, sizeof command, "rm -rf '%s/run/vms/'*", daemon_dir);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

/* What a VM sends for a reply counts, too, while it is collected: on all of a user's connections at
 * once that would be as much memory as the user likes. */
START_TEST(backlogs_of_one_user_take_so_much_memory)
{
    enum { ASKED = 200, EACH_KIB = 128, USERS_KIB = 16 << 10 };
    struct client_reply reply;
    unsigned refused = 0;
    int fds[ASKED], first;
    char path[128];

    daemon_open_to_all();
    daemon_pool_create("{\"name\":\"default\",\"min\":1}");
    first = client_connect_as(USER, USER);
    client_send_on(first, "POST", "/v1/leases", NULL);
    client_receive(first, &reply);
    ck_assert_uint_eq(reply.status, 201);
    json_t *lease = json_loads(reply.body, 0, NULL);
    snprintf(path, sizeof path, "/v1/leases/%s/console",
             json_string_value(json_object_get(lease, "lease")));
    json_decref(lease);
    daemon_faults_set("long_console");
    for (unsigned i = 0; i < ASKED; i++) {
        fds[i] = client_connect_as(USER, USER);
        client_send_on(fds[i], "GET", path, NULL);
    }
    for (unsigned i = 0; i < ASKED; i++) {
        client_receive(fds[i], &reply);
        close(fds[i]);
        refused += reply.status == 429;
    }
    ck_assert_uint_ge(refused, ASKED - USERS_KIB / EACH_KIB);
    daemon_faults_set(""); /* and all of it was given back */
    client_send_on(first, "GET", path, NULL);
    client_receive(first, &reply);
    ck_assert_msg(reply.status == 200, "%u: %s", reply.status, reply.body);
    close(first);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const anybodys[] = {
        who_does_not_read_is_closed,          who_has_a_reason_is_kept,
        without_descriptors_accepting_pauses, the_end_does_not_wait_for_clients,
        a_second_signal_ends_it_at_once,
    };
    const TTest *const roots[] = {
        who_has_too_many_connections_is_told_and_closed,
        more_requests_than_a_turn_has_are_all_answered,
        bodies_of_one_user_take_so_much_memory,
        backlogs_of_one_user_take_so_much_memory,
    };
    Suite *suite = suite_create("poold-clients");
    TCase *tcase = daemon_case(suite, argc, argv);

    for (unsigned i = 0; i < ARRAY_LEN(anybodys); i++)
        tcase_add_test(tcase, anybodys[i]);
    tcase_add_loop_test(tcase, what_is_late_is_closed, 0, (int)ARRAY_LEN(late));
    for (unsigned i = 0; i < ARRAY_LEN(roots) && geteuid() == 0; i++)
        tcase_add_test(tcase, roots[i]);
    if (geteuid() != 0)
        printf("# tests with other users are left out: they need root\n");
    return tap_main(suite);
}
