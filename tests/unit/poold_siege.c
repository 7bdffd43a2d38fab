/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: root is served as always while other users besiege the socket. Method: poold_daemon.h;
 * besiegers are processes with uids of their own, which do what they do as long as the pipe of their
 * life is open; root's requests are timed before and meanwhile, and both figures printed. Needs
 * root. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"

#define USER 54321u
#define BESIEGERS_MAX 8u
#define SAMPLES 300u
#define HALF "POST /v1/leases HTTP/1.1\r\nHost: volt\r\nContent-Length: 10000\r\n\r\n{"
#define WHOLE "GET /v1/pools HTTP/1.1\r\nHost: volt\r\n\r\n"
#define WAITING                                                                                    \
    "POST /v1/leases HTTP/1.1\r\nHost: volt\r\nContent-Length: 31\r\n\r\n"                         \
    "{\"pool\":\"full\",\"wait_ms\":600000}"

enum siege_kind {
    HOLD,     /* connections are made and kept */
    ASK,      /* on each, one request after the other */
    PIPELINE, /* on each, as many as it takes, and no reply is read before the socket is full */
    RECONNECT /* each is closed and made anew */
};

static const struct siege {
    const char *name;
    enum siege_kind kind;
    unsigned users, connections; /* of each */
    const char *text;            /* sent on each connection; NULL: nothing */
} sieges[] = {
    { "10,000 connections of one user", HOLD, 1, 10000, NULL },
    { "10,000 half requests of one user", HOLD, 1, 10000, HALF },
    { "10,000 acquires of one user that wait", HOLD, 1, 10000, WAITING },
    { "10,000 connections of eight users", HOLD, 8, 1250, HALF },
    { "1,000 connections of one user that ask on and on", ASK, 1, 1000, WHOLE },
    { "1,000 connections of eight users that ask on and on", ASK, 8, 125, WHOLE },
    { "pipelines of one user", PIPELINE, 1, 200, WHOLE },
    { "one user that connects on and on", RECONNECT, 1, 64, WHOLE },
};

/* ---- Besiegers ---- */

static int connect_quietly(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", client_socket);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        close_fd(&fd);
    return fd;
}

static int besieger_connect(const struct siege *siege, int epoll_fd)
{
    struct epoll_event event = { .events = EPOLLIN };
    int fd = connect_quietly();

    if (fd < 0)
        return fd;
    if (siege->text)
        (void)!send(fd, siege->text, strlen(siege->text), MSG_NOSIGNAL);
    event.data.fd = fd;
    if (siege->kind != HOLD)
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    return fd;
}

/* A reply came, or the end. */
static void besieger_go_on(const struct siege *siege, int epoll_fd, int fd)
{
    char data[65536];
    ssize_t n = recv(fd, data, sizeof data, MSG_DONTWAIT);

    if (n <= 0 || siege->kind == RECONNECT) {
        close(fd);
        besieger_connect(siege, epoll_fd);
        return;
    }
    do {
        n = send(fd, siege->text, strlen(siege->text), MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n > 0 && siege->kind == PIPELINE);
}

_Noreturn static void besiege(const struct siege *siege, uid_t uid, int ready_fd)
{
    struct epoll_event events[64];
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

    if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
        _exit(1);
    for (unsigned i = 0; i < siege->connections; i++) {
        if (besieger_connect(siege, epoll_fd) < 0)
            _exit(1);
    }
    (void)!write(ready_fd, "r", 1);
    close(ready_fd);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, ARRAY_LEN(events), -1);

        for (int i = 0; i < count; i++)
            besieger_go_on(siege, epoll_fd, events[i].data.fd);
    }
}

static unsigned siege_begin(const struct siege *siege, pid_t ret_pids[BESIEGERS_MAX])
{
    int ready[2];
    char byte;

    ck_assert_int_eq(pipe(ready), 0);
    for (unsigned i = 0; i < siege->users; i++) {
        ret_pids[i] = fork();
        if (ret_pids[i] == 0)
            besiege(siege, USER + i, ready[1]);
    }
    close(ready[1]);
    for (unsigned i = 0; i < siege->users; i++)
        ck_assert_msg(read(ready[0], &byte, 1) == 1, "a besieger can't connect");
    close(ready[0]);
    return siege->users;
}

/* ---- Root ---- */

struct latency {
    uint64_t p50_us, p99_us;
};

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static struct latency latency_of(uint64_t us[SAMPLES])
{
    qsort(us, SAMPLES, sizeof us[0], by_size);
    return (struct latency){ us[SAMPLES / 2], us[SAMPLES * 99 / 100] };
}

/* Each on a connection of its own. */
static struct latency time_status(void)
{
    uint64_t us[SAMPLES];

    for (unsigned i = 0; i < SAMPLES; i++) {
        uint64_t began_ns = now_ns();

        client_expect(200, "GET", "/v1/status", NULL);
        us[i] = (now_ns() - began_ns) / NS_PER_US;
    }
    return latency_of(us);
}

static struct latency time_acquires(void)
{
    uint64_t us[SAMPLES];
    char path[64];

    for (unsigned i = 0; i < SAMPLES; i++) {
        uint64_t began_ns = now_ns();
        json_t *lease = client_json("POST", "/v1/leases", "{\"wait_ms\":60000}");

        us[i] = (now_ns() - began_ns) / NS_PER_US;
        snprintf(path, sizeof path, "/v1/leases/%s",
                 json_string_value(json_object_get(lease, "lease")));
        json_decref(lease);
        client_expect(204, "DELETE", path, NULL);
    }
    return latency_of(us);
}

START_TEST(root_is_served_as_always)
{
    const struct siege *siege = &sieges[_i];
    pid_t pids[BESIEGERS_MAX];

    daemon_open_to_all();
    client_expect(201, "POST", "/v1/pools", "{\"name\":\"full\",\"min\":0,\"max\":1}");
    client_await("/v1/pools/full", "state", "ready");
    client_expect(201, "POST", "/v1/leases", "{\"pool\":\"full\",\"ttl_ms\":0}");
    daemon_pool_create("{\"name\":\"default\",\"min\":8,\"max\":64}");
    daemon_slots_await("parked", 8);
    struct latency status = time_status(), acquire = time_acquires();
    unsigned count = siege_begin(siege, pids);
    struct latency status_then = time_status(), acquire_then = time_acquires();
    printf("# %s: status p50 %llu us, p99 %llu us, before %llu and %llu; acquire p50 %llu us, p99 "
           "%llu us, before %llu and %llu\n",
           siege->name, (unsigned long long)status_then.p50_us,
           (unsigned long long)status_then.p99_us, (unsigned long long)status.p50_us,
           (unsigned long long)status.p99_us, (unsigned long long)acquire_then.p50_us,
           (unsigned long long)acquire_then.p99_us, (unsigned long long)acquire.p50_us,
           (unsigned long long)acquire.p99_us);
    fflush(stdout);
    for (unsigned i = 0; i < count; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    /* Who only holds takes no CPU: then there is nothing that could excuse a delay. */
    ck_assert_msg(siege->kind != HOLD || status_then.p50_us <= 10 * status.p50_us + 5000,
                  "status: %llu us", (unsigned long long)status_then.p50_us);
    ck_assert_msg(siege->kind != HOLD || acquire_then.p50_us <= 10 * acquire.p50_us + 5000,
                  "acquire: %llu us", (unsigned long long)acquire_then.p50_us);
    client_expect(204, "DELETE", "/v1/pools/full?force=1", NULL);
}
END_TEST

int main(int argc, char **argv)
{
    const struct rlimit many = { 11000, 11000 };
    Suite *suite = suite_create("poold-siege");
    TCase *tcase = daemon_case(suite, argc, argv);

    /* Before any poold inherits it. */
    if (geteuid() != 0 || setrlimit(RLIMIT_NOFILE, &many) < 0) {
        printf("1..0 # SKIP it needs root, and 11,000 descriptors\n");
        return 0;
    }
    tcase_add_loop_test(tcase, root_is_served_as_always, 0, (int)ARRAY_LEN(sieges));
    return tap_main(suite);
}
