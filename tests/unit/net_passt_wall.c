/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: whatever passt does, as root's poold starts it, the host's kernel holds it to its VM's policy:
 * by TCP, UDP and pings, by IPv6, by its uid; its published ports work, and the host's resolver does.
 * Method: as root, in a network namespace of its own whose loopback has all the addresses, a process
 * in passt's control group with a VM's uid tries everything, and so does one outside, which may.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "net/net_kernel.h"
#include "net/net_policy.h"
#include "net/net_walls.h"
#include "tap_main.h"

#define UID 900123u
#define STRANGER 900124u /* whom no VM has */
#define PORT 7000
#define HOST "192.0.2.10"
#define WORLD "198.51.100.1"
#define DENIED "198.51.100.2"
#define RESOLVER "127.0.0.53"
#define LOUD_MS 60000
#define QUIET_MS 300

enum way { BY_TCP, BY_UDP, BY_PING };

static struct net_walls walls;
static uv_loop_t loop;

static uint32_t address_of(const char *text)
{
    struct in_addr in;

    ck_assert_int_eq(inet_pton(AF_INET, text, &in), 1);
    return ntohl(in.s_addr);
}

static struct sockaddr_in at(const char *address, uint16_t port)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };

    inet_pton(AF_INET, address, &in.sin_addr);
    return in;
}

static void add_address(unsigned number, const char *address)
{
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = { .ifr_flags = IFF_UP };
    struct sockaddr_in in;

    snprintf(request.ifr_name, sizeof request.ifr_name, number ? "lo:%u" : "lo", number);
    if (number) {
        in = at(address, 0);
        memcpy(&request.ifr_addr, &in, sizeof in);
        ck_assert_int_eq(ioctl(fd, SIOCSIFADDR, &request), 0);
    } else {
        ck_assert_int_eq(ioctl(fd, SIOCSIFFLAGS, &request), 0);
    }
}

static void allow_pings(void)
{
    int fd = open("/proc/sys/net/ipv4/ping_group_range", O_WRONLY | O_CLOEXEC);

    ck_assert_int_eq(write(fd, "0 2147483647", 12), 12);
    close(fd);
}

static int listener(int kind, const char *address, uint16_t port)
{
    struct sockaddr_in in = at(address, port);
    int fd = socket(AF_INET, kind | SOCK_CLOEXEC, 0), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    ck_assert(kind != SOCK_STREAM || listen(fd, 16) == 0);
    return fd;
}

/* Everything; false: this host has none of it, which is said. */
static bool open_lab(void)
{
    static const char *const addresses[] = { NULL, HOST, WORLD, DENIED };
    const struct net_vm vm = { .policy = 3, .key = UID };
    struct net_rules rules;
    struct err err = { 0 };

    if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0) {
        printf("# not run: this needs root\n");
        return false;
    }
    for (unsigned i = 0; i < ARRAY_LEN(addresses); i++)
        add_address(i, addresses[i]);
    allow_pings();
    uv_loop_init(&loop);
    net_walls_init(&walls, &loop, "/nonexistent", NULL, "unit-wall");
    ck_assert_msg(net_walls_load(&walls, true, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(net_policy_parse("", DENIED, 0x0a560001, true, &rules, &err), 0);
    ck_assert_int_eq(net_kernel_put_policy(walls.kernel, vm.policy, &rules), 0);
    ck_assert_int_eq(net_kernel_put_host(walls.kernel, address_of(HOST), 32), 0);
    ck_assert_int_eq(net_kernel_put_resolver(walls.kernel, address_of(RESOLVER)), 0);
    ck_assert_int_eq(net_kernel_put_passt(walls.kernel, UID, &vm), 0);
    return true;
}

static void close_lab(void)
{
    net_walls_fini(&walls);
    uv_loop_close(&loop);
}

/* A child, in the control group when `held`, with that uid; runs test and tells what it returns. */
static bool as(uint32_t uid, bool held, bool (*test)(void *data), void *data)
{
    int status;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        if ((held && write(walls.procs_fd, "0", 1) != 1) || setresgid(uid, uid, uid) < 0 ||
            setresuid(uid, uid, uid) < 0)
            _exit(99);
        _exit(test(data) ? 1 : 0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) < 2, "status 0x%x", (unsigned)status);
    return WEXITSTATUS(status);
}

struct attempt {
    enum way way;
    const char *address;
    uint16_t port;
    int limit_ms;
};

static bool ready(int fd, short events, int limit_ms)
{
    struct pollfd polled = { .fd = fd, .events = events };

    return poll(&polled, 1, limit_ms) > 0;
}

static bool by_tcp(const struct attempt *attempt)
{
    struct sockaddr_in in = at(attempt->address, attempt->port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), error = 0;
    socklen_t bytes = sizeof error;

    if (connect(fd, (struct sockaddr *)&in, sizeof in) == 0)
        return true;
    return errno == EINPROGRESS && ready(fd, POLLOUT, attempt->limit_ms) &&
           getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 && error == 0;
}

/* It is sent, as far as the caller is told; the test looks whether it came. */
static bool by_udp(const struct attempt *attempt)
{
    struct sockaddr_in in = at(attempt->address, attempt->port);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    return sendto(fd, "x", 1, 0, (struct sockaddr *)&in, sizeof in) == 1;
}

static bool by_ping(const struct attempt *attempt)
{
    struct sockaddr_in in = at(attempt->address, 0);
    struct icmphdr echo = { .type = ICMP_ECHO, .un.echo.sequence = 1 };
    int fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    char answer[64];

    return sendto(fd, &echo, sizeof echo, 0, (struct sockaddr *)&in, sizeof in) > 0 &&
           ready(fd, POLLIN, attempt->limit_ms) && recv(fd, answer, sizeof answer, 0) > 0;
}

static bool try(void *data)
{
    static bool (*const ways[])(const struct attempt *attempt) = {
        [BY_TCP] = by_tcp, [BY_UDP] = by_udp, [BY_PING] = by_ping
    };
    const struct attempt *attempt = data;

    return ways[attempt->way](attempt);
}

/* Whether it works: what is sent by UDP must have come. */
static bool works(uint32_t uid, bool held, enum way way, const char *address, uint16_t port,
                  bool wanted)
{
    struct attempt attempt = { way, address, port, wanted ? LOUD_MS : QUIET_MS };
    int udp = way == BY_UDP ? listener(SOCK_DGRAM, address, port) : -1;
    bool worked = as(uid, held, try, &attempt);
    char byte;

    if (udp >= 0)
        worked = ready(udp, POLLIN, attempt.limit_ms) && recv(udp, &byte, 1, 0) == 1;
    close_fd(&udp);
    return worked;
}

START_TEST(it_reaches_what_its_vm_may)
{
    static const struct {
        const char *address;
        uint16_t port;
        bool allowed;
    } rows[] = {
        { WORLD, PORT, true },      { "127.0.0.1", PORT, false }, { HOST, PORT, false },
        { DENIED, PORT, false },    { RESOLVER, 53, true },       { RESOLVER, 54, false },
        { "127.0.0.1", 53, false },
    };

    if (!open_lab())
        return;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        int tcp = listener(SOCK_STREAM, rows[i].address, rows[i].port);

        for (enum way way = BY_TCP; way <= BY_PING; way++) {
            bool allowed = rows[i].allowed && (way != BY_PING || rows[i].port == PORT);

            ck_assert_msg(works(UID, true, way, rows[i].address, rows[i].port, allowed) == allowed,
                          "%s port %u by %d", rows[i].address, rows[i].port, way);
            /* The wall is what it met. */
            ck_assert_msg(works(UID, false, way, rows[i].address, rows[i].port, true),
                          "%s port %u by %d, not held", rows[i].address, rows[i].port, way);
            ck_assert(!works(STRANGER, true, way, rows[i].address, rows[i].port, false));
        }
        close(tcp);
    }
    net_kernel_remove_passt(walls.kernel, UID);
    ck_assert(!works(UID, true, BY_UDP, WORLD, PORT, false));
    close_lab();
}
END_TEST

static bool by_ipv6(void *data)
{
    struct sockaddr_in6 in = { .sin6_family = AF_INET6, .sin6_port = htons(PORT) };
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);

    in.sin6_addr.s6_addr[15] = 1;
    return sendto(fd, "x", 1, 0, (struct sockaddr *)&in, sizeof in) == 1 &&
           ready(*(int *)data, POLLIN, QUIET_MS) && recv(*(int *)data, &in, 1, MSG_DONTWAIT) == 1;
}

START_TEST(not_by_ipv6_either)
{
    struct sockaddr_in6 in = { .sin6_family = AF_INET6, .sin6_port = htons(PORT) };
    int fd;

    if (!open_lab())
        return;
    fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&in, sizeof in) == 0) {
        ck_assert(!as(UID, true, by_ipv6, &fd));
        ck_assert(as(UID, false, by_ipv6, &fd));
    }
    close_fd(&fd);
    close_lab();
}
END_TEST

/* Serves one client by TCP and one by UDP, both on ports of the host's, each asked from `data`. */
static bool serve(void *data)
{
    int ready_fd = *(int *)data, tcp = listener(SOCK_STREAM, "0.0.0.0", PORT);
    int udp = listener(SOCK_DGRAM, "0.0.0.0", PORT), one;
    struct sockaddr_in from;
    socklen_t bytes = sizeof from;
    char byte;

    if (write(ready_fd, "r", 1) != 1)
        return false;
    one = accept(tcp, NULL, NULL);
    if (recv(one, &byte, 1, 0) != 1 || send(one, "t", 1, 0) != 1 ||
        recvfrom(udp, &byte, 1, 0, (struct sockaddr *)&from, &bytes) != 1)
        return false;
    sendto(udp, "u", 1, 0, (struct sockaddr *)&from, bytes);
    /* Who asked is no way in for anything else. */
    from.sin_port = htons((uint16_t)(ntohs(from.sin_port) + 1));
    struct attempt back = { .way = BY_TCP, .limit_ms = QUIET_MS, .port = ntohs(from.sin_port) };
    char address[INET_ADDRSTRLEN];
    back.address = inet_ntop(AF_INET, &from.sin_addr, address, sizeof address);
    return !by_tcp(&back);
}

/* The first byte of the answer. By one address of the host's, so that answers come from where they
 * were asked. */
static char ask(int kind, const char *address)
{
    int fd = socket(AF_INET, kind | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = at(address, PORT);
    char byte = 0;

    ck_assert_int_eq(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
    ck_assert_int_eq(send(fd, "x", 1, 0), 1);
    ck_assert(ready(fd, POLLIN, LOUD_MS));
    ck_assert_int_eq(recv(fd, &byte, 1, 0), 1);
    close(fd);
    return byte;
}

/* Its published ports, asked from the host's own addresses, which it may not reach. */
START_TEST(who_asks_is_answered)
{
    static const char *const clients[] = { "127.0.0.1", HOST, WORLD };

    if (!open_lab())
        return;
    for (unsigned i = 0; i < ARRAY_LEN(clients); i++) {
        int pipe[2], status;
        char byte;

        ck_assert_int_eq(pipe2(pipe, O_CLOEXEC), 0);
        pid_t pid = fork();
        if (pid == 0)
            _exit(as(UID, true, serve, &pipe[1]) ? 1 : 0);
        ck_assert_int_eq(read(pipe[0], &byte, 1), 1);
        ck_assert_int_eq(ask(SOCK_STREAM, clients[i]), 't');
        ck_assert_int_eq(ask(SOCK_DGRAM, clients[i]), 'u');
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(WEXITSTATUS(status), 1);
        close(pipe[0]);
        close(pipe[1]);
    }
    close_lab();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_passt_wall");
    TCase *tests = tap_case(suite, "wall");

    tcase_add_test(tests, it_reaches_what_its_vm_may);
    tcase_add_test(tests, not_by_ipv6_either);
    tcase_add_test(tests, who_asks_is_answered);
    return tap_main(suite);
}
