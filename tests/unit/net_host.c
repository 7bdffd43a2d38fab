/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what is the host's own is known at once, whatever makes it so, and until it is so no more; gates
 * and the kernel are told. Method: as root, in a network namespace of its own, addresses and routes come
 * and go by ip(8), and the loop turns until the list that gates share says so.
 */
#include <arpa/inet.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "net/gate/world.h"
#include "net/net_walls.h"
#include "tap_main.h"

#define TURNS_MAX 60000 /* of a ms each: what never comes reaches it */

static struct net_walls walls;
static uv_loop_t loop;

static bool open_lab(void)
{
    struct err err = { 0 };

    if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0 ||
        system("ip link set lo up && ip link add a0 type veth peer name a1 && ip link set a0 up") !=
            0) {
        printf("# not run: this needs root, and ip(8)\n");
        return false;
    }
    uv_loop_init(&loop);
    net_walls_init(&walls, &loop, "/nonexistent", NULL, "unit-host");
    ck_assert_msg(net_walls_watch(&walls, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(net_walls_watch(&walls, &err), 0); /* again it is nothing */
    return true;
}

static void on_walk(uv_handle_t *handle, void *data)
{
    (void)data;
    uv_close(handle, NULL);
}

static void close_lab(void)
{
    uv_walk(&loop, on_walk, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    net_walls_fini(&walls);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}

/* As a gate sees it: through an fd that it can't write to. */
static bool is_host(const char *text)
{
    _cleanup_close_ int fd = net_walls_open_host(&walls);
    struct gate_host *host = mmap(NULL, sizeof *host, PROT_READ, MAP_SHARED, fd, 0);
    struct in_addr in;

    ck_assert_ptr_ne(host, MAP_FAILED);
    ck_assert_ptr_eq(mmap(NULL, sizeof *host, PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    ck_assert_int_eq(inet_pton(AF_INET, text, &in), 1);
    int found = world_look_up(host, ntohl(in.s_addr));
    munmap(host, sizeof *host);
    return found == 1;
}

static void becomes(const char *address, bool wanted)
{
    for (unsigned i = 0; i < TURNS_MAX && is_host(address) != wanted; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
    ck_assert_msg(is_host(address) == wanted, "%s", address);
}

static void run(const char *command)
{
    ck_assert_msg(system(command) == 0, "%s", command);
}

START_TEST(addresses_come_and_go)
{
    if (!open_lab())
        return;
    ck_assert(!is_host("192.0.2.10"));
    ck_assert(!is_host("127.0.0.1")); /* every policy has it anyway */
    run("ip addr add 192.0.2.10/24 dev a0");
    becomes("192.0.2.10", true);
    becomes("192.0.2.255", true); /* broadcast */
    ck_assert(!is_host("192.0.2.11"));
    run("ip addr add 192.0.2.11/24 dev a0");
    becomes("192.0.2.11", true);
    run("ip addr del 192.0.2.10/24 dev a0 && ip addr add 10.1.2.3/32 dev lo");
    becomes("10.1.2.3", true);
    becomes("192.0.2.10", false);
    run("ip link del a0");
    becomes("192.0.2.11", false);
    ck_assert(is_host("10.1.2.3"));
    close_lab();
}
END_TEST

/* What the kernel takes for the host's without an address of a link, by whichever table; a default
 * route to itself, as transparent proxies have it, does not count. */
START_TEST(so_do_local_routes)
{
    if (!open_lab())
        return;
    run("ip route add local 203.0.113.0/24 dev lo");
    becomes("203.0.113.77", true);
    ck_assert(!is_host("203.0.114.0"));
    run("ip route add local 0.0.0.0/0 dev lo table 100; ip addr add 10.1.2.3/32 dev lo");
    becomes("10.1.2.3", true);
    ck_assert(!is_host("8.8.8.8"));
    run("ip route del local 203.0.113.0/24 dev lo");
    becomes("203.0.113.77", false);
    run("ip route add local 198.18.0.0/15 dev lo table 100; ip rule add to 198.18.0.0/15 table "
        "100");
    becomes("198.19.1.2", true);
    run("ip route flush table 100");
    becomes("198.19.1.2", false);
    close_lab();
}
END_TEST

/* So many that messages get lost. */
START_TEST(a_thousand_at_once)
{
    if (!open_lab())
        return;
    run("for i in $(seq 1 250); do for j in 1 2 3 4; do echo \"addr add 10.$j.$i.1/32 dev lo\"; "
        "done; "
        "done | ip -batch -");
    becomes("10.4.250.1", true);
    ck_assert(is_host("10.1.1.1") && is_host("10.2.100.1") && !is_host("10.2.100.2"));
    ck_assert_uint_eq(walls.host.now.count, 1000);
    run("ip addr flush dev lo scope global");
    becomes("10.4.250.1", false);
    becomes("10.1.1.1", false);
    close_lab();
}
END_TEST

/* More than gates have room for: nothing that is the host's is let through. */
START_TEST(too_many_are_all)
{
    if (!open_lab())
        return;
    run("for i in $(seq 1 250); do for j in $(seq 1 20); do echo \"addr add 10.$j.$i.1/32 dev "
        "lo\"; "
        "done; done | ip -batch -");
    becomes("10.20.250.1", true);
    ck_assert(is_host("10.1.1.1"));
    becomes("203.0.113.1", true);
    run("ip addr flush dev lo scope global");
    becomes("203.0.113.1", false);
    close_lab();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_host");
    TCase *tests = tap_case(suite, "host");

    tcase_add_test(tests, addresses_come_and_go);
    tcase_add_test(tests, so_do_local_routes);
    tcase_add_test(tests, a_thousand_at_once);
    tcase_add_test(tests, too_many_are_all);
    return tap_main(suite);
}
