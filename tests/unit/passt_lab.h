/* SPDX-License-Identifier: Apache-2.0 */
/* Where passt's wall is tested: as root, in a network namespace of its own whose loopback has all the
 * addresses, a process in passt's control group with a VM's uid, and one that is not. */
#ifndef VOLT_TESTS_PASST_LAB_H
#define VOLT_TESTS_PASST_LAB_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
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

static const struct net_opened published[] = { { .port = PORT, .protocol = IPPROTO_TCP },
                                               { .port = PORT, .protocol = IPPROTO_UDP },
                                               { .address = 0xc000020a, /* HOST */
                                                 .port = PORT + 1,
                                                 .protocol = IPPROTO_UDP } };
static struct net_walls walls;
static uv_loop_t loop;

static inline uint32_t address_of(const char *text)
{
    struct in_addr in;

    ck_assert_int_eq(inet_pton(AF_INET, text, &in), 1);
    return ntohl(in.s_addr);
}

static inline struct sockaddr_in at(const char *address, uint16_t port)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };

    inet_pton(AF_INET, address, &in.sin_addr);
    return in;
}

static inline void add_address(unsigned number, const char *address)
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

static inline void allow_pings(void)
{
    int fd = open("/proc/sys/net/ipv4/ping_group_range", O_WRONLY | O_CLOEXEC);

    ck_assert_int_eq(write(fd, "0 2147483647", 12), 12);
    close(fd);
}

static inline int listener(int kind, const char *address, uint16_t port)
{
    struct sockaddr_in in = at(address, port);
    int fd = socket(AF_INET, kind | SOCK_CLOEXEC, 0), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    ck_assert(kind != SOCK_STREAM || listen(fd, 16) == 0);
    return fd;
}

/* Everything; false: this host has none of it, which is said. */
static inline bool open_lab(void)
{
    static const char *const addresses[] = { NULL, HOST, WORLD, DENIED };
    const struct net_vm vm = { .policy = 3, .key = UID };
    struct net_rules rules;
    struct err err = { 0 };
    char name[24]; /* of a control group of its own: others may run this, too */

    snprintf(name, sizeof name, "unit-wall-%d", (int)getpid());
    if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0) {
        printf("# not run: this needs root\n");
        return false;
    }
    for (unsigned i = 0; i < ARRAY_LEN(addresses); i++)
        add_address(i, addresses[i]);
    allow_pings();
    uv_loop_init(&loop);
    net_walls_init(&walls, &loop, "/nonexistent", NULL, name);
    ck_assert_msg(net_walls_load(&walls, true, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(net_policy_parse("", DENIED, 0x0a560001, true, &rules, &err), 0);
    ck_assert_int_eq(net_kernel_put_policy(walls.kernel, vm.policy, &rules), 0);
    ck_assert_int_eq(net_kernel_put_host(walls.kernel, address_of(HOST), 32), 0);
    ck_assert_int_eq(net_kernel_put_resolver(walls.kernel, address_of(RESOLVER)), 0);
    ck_assert_int_eq(net_kernel_put_passt(walls.kernel, UID, &vm, published, ARRAY_LEN(published)),
                     0);
    return true;
}

static inline void close_lab(void)
{
    net_walls_fini(&walls);
    uv_loop_close(&loop);
}

/* A child, in the control group when `held`, with that uid; runs test and tells what it returns. */
static inline bool as(uint32_t uid, bool held, bool (*test)(void *data), void *data)
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

static inline bool ready(int fd, short events, int limit_ms)
{
    struct pollfd polled = { .fd = fd, .events = events };

    return poll(&polled, 1, limit_ms) > 0;
}

static inline bool by_tcp(const struct attempt *attempt)
{
    struct sockaddr_in in = at(attempt->address, attempt->port);
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    socklen_t bytes = sizeof(int);
    int error = 0;

    if (connect(fd, (struct sockaddr *)&in, sizeof in) == 0)
        return true;
    return errno == EINPROGRESS && ready(fd, POLLOUT, attempt->limit_ms) &&
           getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 && error == 0;
}

#endif
