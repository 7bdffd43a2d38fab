/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: whatever passt does, as root's poold starts it, the host's kernel holds it to its VM's policy:
 * by TCP, UDP and pings, by IPv6, by its uid; its published ports work, and the host's resolver does.
 * Method: as root, in a network namespace of its own whose loopback has all the addresses, a process
 * in passt's control group with a VM's uid tries everything, and so does one outside, which may.
 */
#include <netinet/ip_icmp.h>

#include "passt_lab.h"

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
