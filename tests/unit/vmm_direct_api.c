/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the API socket of a VM without a daemon answers each request once and rightly, refuses what
 * is none with a status that says so, and no client keeps another from being served.
 * Method: clients on the real socket; the test turns the loop, and is the VM behind `control`. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/util.h"
#include "tap_main.h"
#include "volt-vmm/direct_internal.h"

static struct options options;
static struct direct d;
static int vm; /* its end of control */
static char directory[64], path[96];

static void set_up(void)
{
    struct err err = { 0 };
    int pair[2];

    snprintf(directory, sizeof directory, "/tmp/volt-api-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/api", directory);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    vm = pair[0];
    options = (struct options){ .disk_delta_fd = -1, .api_socket = path };
    d = (struct direct){ .options = &options,
                         .control = pair[1],
                         .bell = -1,
                         .store_fd = -1,
                         .agent_fd = -1,
                         .ready = true,
                         .start_ns = now_ns(),
                         .txn = { .dir_fd = -1, .state_fd = -1, .memory_fd = -1, .disk_fd = -1 },
                         .manifest = { .memory_bytes = MIB(64), .vcpus = 2 } };
    for (unsigned i = 0; i < DIRECT_API_CONNECTIONS; i++)
        d.api.call[i].fd = -1;
    ck_assert_msg(direct_api_open(&d, path, &err) == 0, "%s", err.msg);
}

static void tear_down(void)
{
    direct_snapshot_abort(&d);
    direct_api_close(&d);
    close(d.control);
    close(vm);
    ck_assert_int_eq(access(path, F_OK), -1); /* it took its socket along */
    ck_assert_int_eq(rmdir(directory), 0);
}

/* Serves until nothing is left to do. */
static void turn(void)
{
    struct pollfd polled[DIRECT_API_CONNECTIONS + 1];

    for (;;) {
        unsigned count = direct_api_poll(&d.api, polled);

        if (poll(polled, count, 0) <= 0)
            return;
        direct_api_serve(&d, polled, count);
    }
}

static int dial(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    turn();
}

/* What has come on fd; "" while nothing has, "closed" when it is. */
static const char *heard(int fd)
{
    static char text[4096];
    ssize_t bytes = recv(fd, text, sizeof text - 1, 0);

    if (bytes < 0)
        return errno == EAGAIN ? "" : "closed";
    text[bytes] = '\0';
    return bytes ? text : "closed";
}

static const char *ask(const char *request)
{
    int fd = dial();

    say(fd, request);
    const char *text = heard(fd);
    close(fd);
    turn();
    return text;
}

static void assert_has(const char *text, const char *wanted)
{
    ck_assert_msg(strstr(text, wanted) != NULL, "expected '%s' in: %s", wanted, text);
}

static struct control_msg to_vm(enum control_type type)
{
    struct control_msg msg;
    int fds[CONTROL_FDS_MAX];
    unsigned fd_count;

    ck_assert_int_eq(control_recv(vm, &msg, fds, &fd_count), 0);
    ck_assert_uint_eq(msg.type, type);
    for (unsigned i = 0; i < fd_count; i++)
        close(fds[i]);
    return msg;
}

/* ---- Requests ---- */

START_TEST(state_is_told)
{
    const char *text = ask("GET / HTTP/1.1\r\n\r\n");

    assert_has(text, "HTTP/1.1 200 OK\r\n");
    assert_has(text, "\"state\": \"running\"");
    assert_has(text, "\"memory_bytes\": 67108864");
    assert_has(text, "\"vcpus\": 2");
    d.ready = false;
    assert_has(ask("GET / HTTP/1.1\r\n\r\n"), "\"state\": \"starting\"");
    assert_has(ask("PUT /pause HTTP/1.1\r\n\r\n"), "204 No Content");
    assert_has(ask("GET / HTTP/1.1\r\n\r\n"), "\"state\": \"paused\"");
    assert_has(ask("PUT /resume HTTP/1.1\r\n\r\n"), "204 No Content");
    assert_has(ask("GET / HTTP/1.1\r\n\r\n"), "\"state\": \"starting\"");
}
END_TEST

START_TEST(only_its_owner_may_connect)
{
    struct stat st;

    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
}
END_TEST

START_TEST(metrics_wait_for_the_vm)
{
    struct control_msg stats = { .type = CONTROL_STATS };
    int fd = dial();

    say(fd, "GET /metrics HTTP/1.1\r\n\r\n");
    to_vm(CONTROL_QUERY_STATS);
    ck_assert_str_eq(heard(fd), "");
    assert_has(ask("GET /metrics HTTP/1.1\r\n\r\n"), "409 Conflict"); /* one at a time */
    stats.u.stats.exits = 12345;
    direct_api_stats(&d, &stats);
    assert_has(heard(fd), "\"exits\": 12345");
    ck_assert_str_eq(heard(fd), "closed");
    direct_api_stats(&d, &stats); /* nobody waits */
    d.paused = true;
    assert_has(ask("GET /metrics HTTP/1.1\r\n\r\n"), "the VM is paused");
    close(fd);
}
END_TEST

START_TEST(client_that_leaves_is_not_waited_for)
{
    struct control_msg stats = { .type = CONTROL_STATS };
    int fd = dial();

    say(fd, "GET /metrics HTTP/1.1\r\n\r\n");
    to_vm(CONTROL_QUERY_STATS);
    close(fd);
    turn();
    direct_api_stats(&d, &stats);
    fd = dial();
    say(fd, "GET /metrics HTTP/1.1\r\n\r\n"); /* the place is free */
    to_vm(CONTROL_QUERY_STATS);
    close(fd);
    turn();
}
END_TEST

START_TEST(shutdown_asks_the_vm_to_stop)
{
    assert_has(ask("PUT /shutdown HTTP/1.1\r\n\r\n"), "204 No Content");
    to_vm(CONTROL_STOP);
}
END_TEST

static void put_snapshot(int fd, const char *target)
{
    char request[256], body[160];

    snprintf(body, sizeof body, "{\"path\": \"%s\"}", target);
    snprintf(request, sizeof request, "PUT /snapshot HTTP/1.1\r\ncontent-length: %zu\r\n\r\n%s",
             strlen(body), body);
    say(fd, request);
}

START_TEST(snapshot_asks_the_agent_first)
{
    char target[128];
    struct err err = { 0 };
    int fd = dial();

    snprintf(target, sizeof target, "%s/snapshot", directory);
    put_snapshot(fd, target);
    ck_assert_uint_eq(to_vm(CONTROL_VSOCK_CONNECT).u.vsock_connect.port, AGENT_VSOCK_PORT);
    ck_assert_str_eq(heard(fd), "");
    assert_has(ask("GET / HTTP/1.1\r\n\r\n"), "\"state\": \"snapshotting\"");
    assert_has(ask("PUT /pause HTTP/1.1\r\n\r\n"), "a snapshot is being taken");
    err_set(&err, EPROTO, "the agent does not park the guest");
    direct_snapshot_abort(&d);
    direct_api_snapshot(&d, NULL, &err);
    assert_has(heard(fd), "500 Internal Server Error");
    close(fd);
}
END_TEST

START_TEST(snapshot_is_refused_where_it_can_not_be)
{
    int fd = dial();

    put_snapshot(fd, "/none/where/ever");
    assert_has(heard(fd), "400 Bad Request");
    close(fd);
    ck_assert_int_eq(d.snapshot_to[0], '\0');
    options.disk_in_place = true;
    fd = dial();
    put_snapshot(fd, "/tmp/x");
    assert_has(heard(fd), "goes on to write to its disk");
    close(fd);
    options.disk_in_place = false;
    d.ready = false;
    fd = dial();
    put_snapshot(fd, "/tmp/x");
    assert_has(heard(fd), "the VM must be running");
    close(fd);
}
END_TEST

static const struct {
    const char *request, *answer;
} bad[] = {
    { "nonsense\r\n\r\n", "400 Bad Request" },
    { "GET / FTP/1.1\r\n\r\n", "400 Bad Request" },
    { "\r\n\r\n", "400 Bad Request" },
    { "GET /none HTTP/1.1\r\n\r\n", "404 Not Found" },
    { "PUT / HTTP/1.1\r\n\r\n", "405 Method Not Allowed" },
    { "GET /pause HTTP/1.1\r\n\r\n", "405 Method Not Allowed" },
    { "GETGETGETGET / HTTP/1.1\r\n\r\n", "400 Bad Request" },
    { "PUT /snapshot HTTP/1.1\r\n\r\n", "400 Bad Request" },
    { "PUT /snapshot HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", "the body must be" },
    { "PUT /snapshot HTTP/1.1\r\nContent-Length: 12\r\n\r\n{\"path\": 12}", "the body must be" },
    { "PUT /snapshot HTTP/1.1\r\nContent-Length: 24\r\n\r\n{\"path\":\"a\",\"other\":\"b\"}",
      "the body must be" },
    { "PUT /snapshot HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", "413" },
    { "PUT /snapshot HTTP/1.1\r\nContent-Length: 5000\r\n\r\n", "413" },
};

START_TEST(what_is_no_request_is_refused)
{
    assert_has(ask(bad[_i].request), bad[_i].answer);
    assert_has(ask("GET / HTTP/1.1\r\n\r\n"), "200 OK"); /* and the next is served */
}
END_TEST

/* ---- Connections ---- */

START_TEST(request_may_come_in_pieces)
{
    static const char request[] = "PUT /pause HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    int fd = dial();

    for (unsigned i = 0; i + 1 < sizeof request; i++) {
        const char piece[] = { request[i], '\0' };

        ck_assert_str_eq(heard(fd), "");
        say(fd, piece);
    }
    assert_has(heard(fd), "204 No Content");
    close(fd);
}
END_TEST

START_TEST(endless_request_is_refused)
{
    char line[256];
    int fd = dial();
    unsigned sent = 0;

    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    while (send(fd, line, sizeof line - 1, MSG_NOSIGNAL) > 0 &&
           sent < 3 * DIRECT_API_REQUEST_BYTES) {
        sent += sizeof line - 1;
        turn();
    }
    ck_assert_uint_le(sent, 2 * DIRECT_API_REQUEST_BYTES);
    assert_has(heard(fd), "413 Content Too Large");
    close(fd);
}
END_TEST

START_TEST(silent_clients_make_room)
{
    int silent[3 * DIRECT_API_CONNECTIONS];

    for (unsigned i = 0; i < ARRAY_LEN(silent); i++) {
        silent[i] = dial();
        turn();
    }
    assert_has(ask("GET / HTTP/1.1\r\n\r\n"), "200 OK");
    ck_assert_str_eq(heard(silent[0]), "closed");
    for (unsigned i = 0; i < ARRAY_LEN(silent); i++)
        close(silent[i]);
    turn();
}
END_TEST

START_TEST(who_sends_more_while_it_waits_is_dropped)
{
    int fd = dial();

    say(fd, "GET /metrics HTTP/1.1\r\n\r\n");
    to_vm(CONTROL_QUERY_STATS);
    say(fd, "and more");
    ck_assert_str_eq(heard(fd), "closed");
    ck_assert_ptr_null(d.api.metrics);
    close(fd);
}
END_TEST

START_TEST(socket_in_use_is_not_taken)
{
    struct direct other = { .options = &options };
    struct err err = { 0 };

    ck_assert_int_eq(direct_api_open(&other, path, &err), -EADDRINUSE);
    assert_has(err.msg, path);
    assert_has(ask("GET / HTTP/1.1\r\n\r\n"), "200 OK");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("vmm_direct_api");
    TCase *tc = tap_case(s, "vmm_direct_api");

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, state_is_told);
    tcase_add_test(tc, only_its_owner_may_connect);
    tcase_add_test(tc, metrics_wait_for_the_vm);
    tcase_add_test(tc, client_that_leaves_is_not_waited_for);
    tcase_add_test(tc, shutdown_asks_the_vm_to_stop);
    tcase_add_test(tc, snapshot_asks_the_agent_first);
    tcase_add_test(tc, snapshot_is_refused_where_it_can_not_be);
    tcase_add_loop_test(tc, what_is_no_request_is_refused, 0, ARRAY_LEN(bad));
    tcase_add_test(tc, request_may_come_in_pieces);
    tcase_add_test(tc, endless_request_is_refused);
    tcase_add_test(tc, silent_clients_make_room);
    tcase_add_test(tc, who_sends_more_while_it_waits_is_dropped);
    tcase_add_test(tc, socket_in_use_is_not_taken);
    return s;
}

int main(void)
{
    return tap_main(suite());
}
