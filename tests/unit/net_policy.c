/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: egress rules are read as written or refused with a sentence that names them, and the most
 * specific decides, in whatever order they are given; published ports are read, and given to one
 * lease at a time. Method: tables; every order of a set of rules.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "net/gate/world.h"
#include "net/net_policy.h"
#include "net/net_publish.h"
#include "tap_main.h"

#define GATEWAY 0x0a560001u /* 10.86.0.1 */

/* ---- Rules ---- */

START_TEST(what_is_no_rule_is_told)
{
    static const struct {
        const char *allow, *deny, *told;
    } rows[] = {
        { "wan", "", "'net_allow': 'wan': expected an IPv4 network" },
        { "", "wan", "'net_deny': 'wan': expected" },
        { "10.0.0.1/8", "", "meant is 10.0.0.0/8, or the address alone" },
        { "10.0.0.0/33", "", "expected" },
        { "10.0.0.0/", "", "expected" },
        { "10.0.0.0/-1", "", "expected" },
        { "10.0.0/8", "", "expected" },
        { "010.0.0.0/8", "", "expected" },
        { "10.0.0.0.0/8", "", "expected" },
        { "256.0.0.0/8", "", "expected" },
        { "10.0.0.0/8,", "", "nothing follows the last comma" },
        { ",10.0.0.0/8", "", "expected" },
        { "10.0.0.0/8 ,10.1.0.0/16", "", "expected" },
        { " 10.0.0.0/8", "", "expected" },
        { "10.0.0.0/8:0", "", "expected" },
        { "10.0.0.0/8:65536", "", "expected" },
        { "10.0.0.0/8:", "", "expected" },
        { "10.0.0.0/8:80-", "", "expected" },
        { "10.0.0.0/8:80-79", "", "expected" },
        { "10.0.0.0/8:80-70000", "", "expected" },
        { "10.0.0.0/8:99999999999999999999", "", "expected" },
        { "10.0.0.0/8:80/icmp", "", "expected" },
        { "10.0.0.0/8:80/tcp/udp", "", "expected" },
        { "10.0.0.0/8/udp", "", "expected" },
        { "host/udp", "", "expected" },
        { "hosts", "", "expected" },
        { "fe80::/10", "", "expected" },
        { "[::1]:80", "", "expected" },
        { "10.0.0.1:0000000000000000000000000000000000000000000000000000000080", "", "expected" },
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct net_rules rules = { .count = 77 };
        struct err err = { 0 };

        ck_assert_msg(net_policy_parse(rows[i].allow, rows[i].deny, GATEWAY, true, &rules, &err) ==
                          -EINVAL,
                      "'%s' '%s' is taken", rows[i].allow, rows[i].deny);
        ck_assert_msg(strstr(err.msg, rows[i].told) != NULL, "%s", err.msg);
        ck_assert_uint_eq(rules.count, 77);
    }
}
END_TEST

START_TEST(there_is_room_for_so_many)
{
    char text[NET_POLICY_TEXT_BYTES] = "";
    struct net_rules rules;
    struct err err;

    for (unsigned i = 0; i < NET_RULES_USER_MAX; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s10.0.%u.0/24", i ? "," : "",
                 i);
    ck_assert_int_eq(net_policy_parse(text, "", GATEWAY, true, &rules, &err), 0);
    ck_assert_uint_eq(rules.count, NET_RULES_USER_MAX + 7);
    ck_assert_uint_le(rules.count, NET_RULES_MAX);
    ck_assert_int_eq(net_policy_parse(text, "10.1.0.0/16", GATEWAY, true, &rules, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "at most 64 rules"));
}
END_TEST

struct question {
    const char *address;
    uint16_t port; /* 0: it has none */
    uint8_t protocol;
    bool host, allowed;
};

static uint32_t address_of(const char *text)
{
    struct in_addr in;

    ck_assert_int_eq(inet_pton(AF_INET, text, &in), 1);
    return ntohl(in.s_addr);
}

static void ask(const struct net_rules *rules, const struct question *questions, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct question *q = &questions[i];

        ck_assert_msg(net_rules_allow(rules, address_of(q->address), q->port, q->protocol,
                                      q->host) == q->allowed,
                      "%s port %u of protocol %u", q->address, q->port, q->protocol);
    }
}

START_TEST(what_every_pool_has)
{
    static const struct question questions[] = {
        { "8.8.8.8", 53, IPPROTO_UDP, false, true },
        { "10.86.0.1", 80, IPPROTO_TCP, false, true },
        { "10.86.0.1", 80, IPPROTO_TCP, true, false },
        { "10.86.0.1", 53, IPPROTO_UDP, true, true },
        { "10.86.0.1", 53, IPPROTO_TCP, true, false },
        { "127.0.0.1", 80, IPPROTO_TCP, false, false },
        { "127.255.255.255", 0, IPPROTO_ICMP, false, false },
        { "126.255.255.255", 80, IPPROTO_TCP, false, true },
        { "128.0.0.0", 80, IPPROTO_TCP, false, true },
        { "0.0.0.0", 80, IPPROTO_TCP, false, false },
        { "1.0.0.0", 80, IPPROTO_TCP, false, true },
        { "169.254.169.254", 80, IPPROTO_TCP, false, false },
        { "169.253.255.255", 80, IPPROTO_TCP, false, true },
        { "169.255.0.0", 80, IPPROTO_TCP, false, true },
        { "223.255.255.255", 80, IPPROTO_TCP, false, true },
        { "224.0.0.1", 80, IPPROTO_UDP, false, false },
        { "240.0.0.0", 80, IPPROTO_TCP, false, false },
        { "255.255.255.255", 67, IPPROTO_UDP, false, false },
        { "192.0.2.1", 80, IPPROTO_TCP, true, false },
    };
    struct net_rules rules;
    struct err err;

    ck_assert_int_eq(net_policy_parse("", "", GATEWAY, true, &rules, &err), 0);
    ask(&rules, questions, ARRAY_LEN(questions));
    ck_assert_int_eq(net_policy_parse("", "", GATEWAY, false, &rules, &err), 0);
    ck_assert_int_eq(net_rules_allow(&rules, GATEWAY, 53, IPPROTO_UDP, 1), 0);
}
END_TEST

/* Everything but one address; a wide allowance opens nothing that every pool denies. */
START_TEST(wide_rules)
{
    static const struct question closed[] = {
        { "8.8.8.8", 443, IPPROTO_TCP, false, false },
        { "10.1.2.3", 443, IPPROTO_TCP, false, true },
        { "10.1.2.3", 80, IPPROTO_TCP, false, false },
        { "10.1.2.3", 0, IPPROTO_ICMP, false, false },
        { "10.86.0.1", 53, IPPROTO_UDP, false, true },
    };
    static const struct question open[] = {
        { "127.0.0.1", 80, IPPROTO_TCP, false, false },
        { "169.254.169.254", 80, IPPROTO_TCP, false, false },
        { "192.0.2.1", 80, IPPROTO_TCP, true, false },
        { "8.8.8.8", 80, IPPROTO_TCP, false, true },
    };
    static const struct question named[] = {
        { "127.0.0.1", 80, IPPROTO_TCP, false, true },
        { "127.9.9.9", 80, IPPROTO_TCP, false, true },
        { "192.0.2.1", 22, IPPROTO_TCP, true, true },
        { "192.0.2.1", 23, IPPROTO_TCP, true, false },
        { "10.86.0.1", 53, IPPROTO_UDP, false, false },
    };
    struct net_rules rules;
    struct err err;

    ck_assert_int_eq(net_policy_parse("10.1.2.3:443", "0.0.0.0/0", GATEWAY, true, &rules, &err), 0);
    ask(&rules, closed, ARRAY_LEN(closed));
    ck_assert_int_eq(net_policy_parse("0.0.0.0/0", "", GATEWAY, true, &rules, &err), 0);
    ask(&rules, open, ARRAY_LEN(open));
    ck_assert_int_eq(
        net_policy_parse("127.0.0.0/8,host:22", "10.86.0.1", GATEWAY, true, &rules, &err), 0);
    ask(&rules, named, ARRAY_LEN(named));
}
END_TEST

static const char *const words[] = {
    "10.0.0.0/8", "10.0.0.0/16", "10.0.0.5", "10.0.0.5:80", "10.0.0.5:80/udp", "10.0.0.0/16:22",
};
/* of `words`, which are allowed */
static const bool word_allowed[] = { false, true, false, true, false, false };

/* The same policy, whatever order it was written in. */
START_TEST(the_order_of_writing_does_not_matter)
{
    static const struct question questions[] = {
        { "10.1.0.1", 80, IPPROTO_TCP, false, false },
        { "10.0.0.1", 80, IPPROTO_TCP, false, true },
        { "10.0.0.1", 22, IPPROTO_TCP, false, false },
        { "10.0.0.5", 22, IPPROTO_TCP, false, false },
        { "10.0.0.5", 80, IPPROTO_TCP, false, true },
        { "10.0.0.5", 80, IPPROTO_UDP, false, false },
        { "10.0.0.5", 0, IPPROTO_ICMP, false, false },
        { "10.0.0.1", 0, IPPROTO_ICMP, false, true },
        { "11.0.0.1", 80, IPPROTO_TCP, false, true },
    };

    for (unsigned turn = 0; turn < ARRAY_LEN(words); turn++) {
        for (unsigned back = 0; back < 2; back++) {
            char lists[2][256] = { "", "" };
            struct net_rules rules;
            struct err err;

            for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
                unsigned n = (turn + (back ? ARRAY_LEN(words) - i : i)) % ARRAY_LEN(words);
                char *list = lists[word_allowed[n]];

                snprintf(list + strlen(list), sizeof lists[0] - strlen(list), "%s%s",
                         *list ? "," : "", words[n]);
            }
            ck_assert_int_eq(net_policy_parse(lists[1], lists[0], GATEWAY, true, &rules, &err), 0);
            ask(&rules, questions, ARRAY_LEN(questions));
        }
    }
}
END_TEST

/* Allowed and denied alike is denied. */
START_TEST(a_draw_is_denied)
{
    static const struct question questions[] = { { "10.0.0.5", 80, IPPROTO_TCP, false, false } };
    struct net_rules rules;
    struct err err;

    ck_assert_int_eq(net_policy_parse("10.0.0.0/8", "10.0.0.0/8", GATEWAY, true, &rules, &err), 0);
    ask(&rules, questions, 1);
}
END_TEST

START_TEST(ranges_of_ports)
{
    static const struct question questions[] = {
        { "10.0.0.5", 79, IPPROTO_TCP, false, false },
        { "10.0.0.5", 80, IPPROTO_TCP, false, true },
        { "10.0.0.5", 85, IPPROTO_TCP, false, false },
        { "10.0.0.5", 90, IPPROTO_TCP, false, true },
        { "10.0.0.5", 91, IPPROTO_TCP, false, false },
        { "10.0.0.5", 65535, IPPROTO_UDP, false, true },
        { "10.0.0.5", 65534, IPPROTO_UDP, false, false },
    };
    struct net_rules rules;
    struct err err;

    ck_assert_int_eq(net_policy_parse("10.0.0.0/8:80-90,10.0.0.0/8:65535",
                                      "10.0.0.0/8:85,10.0.0.0/8", GATEWAY, true, &rules, &err),
                     0);
    ask(&rules, questions, ARRAY_LEN(questions));
}
END_TEST

/* ---- Published ports ---- */

START_TEST(ports_are_read)
{
    struct net_publish publish;
    struct err err;

    ck_assert_int_eq(net_publish_parse("", &publish, &err), 0);
    ck_assert_uint_eq(publish.count, 0);
    ck_assert_int_eq(
        net_publish_parse("8080:80,127.0.0.1:5353:53/udp,0.0.0.0:1024:65535", &publish, &err), 0);
    ck_assert_uint_eq(publish.count, 3);
    ck_assert_uint_eq(publish.port[0].host, 8080);
    ck_assert_uint_eq(publish.port[0].guest, 80);
    ck_assert_uint_eq(publish.port[0].address, 0);
    ck_assert(!publish.port[0].udp);
    ck_assert_uint_eq(publish.port[1].address, htonl(INADDR_LOOPBACK));
    ck_assert(publish.port[1].udp);
    ck_assert_uint_eq(publish.port[2].address, 0);
    ck_assert_uint_eq(publish.port[2].guest, 65535);
    ck_assert_int_eq(net_publish_parse("127.0.0.1:8080-8082:80-82/udp,9000:90/tcp,1024-1035:1-12",
                                       &publish, &err),
                     0);
    ck_assert_uint_eq(publish.count, NET_PUBLISH_MAX);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(publish.port[i].host, 8080 + i);
        ck_assert_uint_eq(publish.port[i].guest, 80 + i);
        ck_assert_uint_eq(publish.port[i].address, htonl(INADDR_LOOPBACK));
        ck_assert(publish.port[i].udp);
    }
    ck_assert_uint_eq(publish.port[3].host, 9000);
    ck_assert(!publish.port[3].udp);
    ck_assert_uint_eq(publish.port[15].host, 1035);
    ck_assert_uint_eq(publish.port[15].guest, 12);
}
END_TEST

START_TEST(what_is_no_port_is_told)
{
    static const char *const texts[] = {
        "eighty",
        "8080",
        "8080:",
        ":80",
        "8080:80:80",
        "8080:80,",
        ",8080:80",
        "8080:80,,81:81",
        "80:80",
        "1023:80",
        "65536:80",
        "8080:0",
        "8080:65536",
        "8080:80/sctp",
        "8080:80/tcp/udp",
        "8080-8081:80",
        "8080:80-81",
        "8080-8082:80-81",
        "8081-8080:81-80",
        "8080-:80-81",
        "8080-8081-8082:80",
        "65535-65536:1-2",
        "1024-1040:1-17",
        "1024-65535:1-64512",
        "8080:80/udp/udp",
        "+8080:80",
        " 8080:80",
        "8080: 80",
        "8080:80 ",
        "127.0.0.1:8080",
        "127.0.0:80:80",
        "::1:8080:80",
        "127.0.0.1.:8080:80",
        "127.0.0.1:8080:80:80",
        "99999999999999999999:80",
        "1024:1,1025:1,1026:1,1027:1,1028:1,1029:1,1030:1,1031:1,1032:1,1033:1,1034:1,1035:1,"
        "1036:1,1037:1,1038:1,1039:1,1040:1",
    };

    for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
        struct net_publish publish;
        struct err err = { 0 };

        ck_assert_msg(net_publish_parse(texts[i], &publish, &err) == -EINVAL, "'%s'", texts[i]);
        ck_assert_ptr_nonnull(strstr(err.msg, "HOST:GUEST"));
    }
}
END_TEST

static int reserve(struct net_ports *ports, const char *text, struct net_publish *publish,
                   struct err *err)
{
    ck_assert_int_eq(net_publish_parse(text, publish, err), 0);
    return net_publish_reserve(publish, ports, err);
}

START_TEST(a_port_is_given_once)
{
    struct net_publish first, second, third;
    struct net_ports ports;
    struct err err = { 0 };

    net_ports_init(&ports);
    ck_assert_msg(reserve(&ports, "127.0.0.1:38080:80,38081:81/udp", &first, &err) == 0, "%s",
                  err.msg);
    ck_assert_int_eq(reserve(&ports, "38080:80", &second, &err), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(err.msg, "TCP port 38080 of the host is published by another"));
    ck_assert_int_eq(reserve(&ports, "127.0.0.1:38080:81", &second, &err), -EADDRINUSE);
    ck_assert_int_eq(reserve(&ports, "127.0.0.1:38081:81/udp", &second, &err), -EADDRINUSE);
    ck_assert_int_eq(reserve(&ports, "38082:80,38082:81", &second, &err), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(err.msg, "asked for twice"));
    /* Of another address, and of the other protocol. */
    ck_assert_int_eq(reserve(&ports, "127.0.0.2:38080:80,38080:80/udp,38081:80", &second, &err), 0);
    net_publish_move(&first, &third); /* the lease's from now on */
    net_publish_release(&first);
    ck_assert_int_eq(reserve(&ports, "127.0.0.1:38080:80", &first, &err), -EADDRINUSE);
    net_publish_release(&third);
    net_publish_release(&third);
    ck_assert_int_eq(reserve(&ports, "127.0.0.1:38080:80", &first, &err), 0);
    net_publish_release(&first);
    net_publish_release(&second);
    ck_assert(list_empty(&ports.taken));
}
END_TEST

START_TEST(a_port_of_another_program_is_not_given)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t bytes = sizeof in;
    struct net_publish publish;
    struct net_ports ports;
    struct err err = { 0 };
    char text[64];

    net_ports_init(&ports);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, bytes), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &bytes), 0);
    snprintf(text, sizeof text, "127.0.0.1:%u:80", ntohs(in.sin_port));
    ck_assert_int_eq(reserve(&ports, text, &publish, &err), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(err.msg, "of 127.0.0.1 can't be published"));
    ck_assert_int_eq(reserve(&ports, "203.0.113.9:38080:80", &publish, &err), -EADDRNOTAVAIL);
    ck_assert(list_empty(&ports.taken));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_policy");
    TCase *tests = tap_case(suite, "policy");

    tcase_add_test(tests, what_is_no_rule_is_told);
    tcase_add_test(tests, there_is_room_for_so_many);
    tcase_add_test(tests, what_every_pool_has);
    tcase_add_test(tests, wide_rules);
    tcase_add_test(tests, the_order_of_writing_does_not_matter);
    tcase_add_test(tests, a_draw_is_denied);
    tcase_add_test(tests, ranges_of_ports);
    tcase_add_test(tests, ports_are_read);
    tcase_add_test(tests, what_is_no_port_is_told);
    tcase_add_test(tests, a_port_is_given_once);
    tcase_add_test(tests, a_port_of_another_program_is_not_given);
    return tap_main(suite);
}
