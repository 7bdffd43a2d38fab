/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: --net means what it says, and everything else is refused with a sentence that names it.
 * Method: a table of texts, and links that are not there.
 */
#include "volt-vmm/net_source.h"

#include <errno.h>
#include <string.h>

#include "tap_main.h"

static const struct {
    const char *text;
    const char *refused; /* NULL: it is fine; else what the sentence has */
    bool offloads, macvtap;
    const char *link;
    bool vhost;
} texts[] = {
    { "tap", NULL, true, false, "" },
    { "user,mtu=1400", NULL, false, false, "" },
    { "tap=vm0,address=10.0.0.2/24,gateway=10.0.0.1", NULL, true, false, "vm0" },
    { "macvtap=eth0.5,bandwidth=10M,pps=5", NULL, true, true, "eth0.5" },
    { "tap=fifteen-letters,fd=0", "not both", false, false, "" },
    { "tap=", "no name", false, false, "" },
    { "tap=sixteen--letters", "no name", false, false, "" },
    { "tap=../../etc/passwd", "no name", false, false, "" },
    { "macvtap", "expected tap, user", false, false, "" },
    { "user=eth0", "expected tap, user", false, false, "" },
    { "bridge=eth0", "expected tap, user", false, false, "" },
    { "", "expected tap, user", false, false, "" },
    { "tap,", "is not known", false, false, "" },
    { "tap,mac=01:00:00:00:00:01", "unicast", false, false, "" },
    { "tap,mac=02:00:00:00:00", "unicast", false, false, "" },
    { "tap,mtu=67", "68 to 65535", false, false, "" },
    { "tap,address=10.0.0.2", "prefix", false, false, "" },
    { "tap,address=10.0.0.2/33", "prefix", false, false, "" },
    { "tap,gateway=here", "an IPv4 address", false, false, "" },
    { "tap,fd=99999", "file descriptor", false, false, "" },
    { "tap,bandwidth=0", "bytes a second", false, false, "" },
    { "tap,speed=1", "is not known", false, false, "" },
    { "tap=vm0,vhost", NULL, true, false, "vm0", true },
    { "macvtap=vm0,mtu=1400,vhost", NULL, true, true, "vm0", true },
    { "tap,vhost", "goes with tap=LINK", false, false, "" },
    { "tap,fd=0,vhost", "goes with tap=LINK", false, false, "" },
    { "tap,vhost-fd=0", "goes with tap=LINK", false, false, "" },
    { "tap=vm0,vhost-fd=0", "not both", false, false, "" },
    { "tap,fd=0,vhost-fd=99999", "file descriptor", false, false, "" },
    { "user,fd=0,vhost-fd=0", "goes with tap=LINK", false, false, "" },
    { "tap=vm0,vhost=1", "is not known", false, false, "" },
    { "tap=vm0,vhost,pps=5", "knows no limits", false, false, "" },
    { "tap=vm0,bandwidth=1M,vhost", "knows no limits", false, false, "" },
};

START_TEST(text_is_taken_or_refused)
{
    struct net_source net = { .fd = 77 };
    struct err err = { 0 };
    int rc = net_source_parse(texts[_i].text, &net, &err);

    if (texts[_i].refused) {
        ck_assert_int_eq(rc, -EINVAL);
        ck_assert_msg(strstr(err.msg, texts[_i].refused) != NULL, "'%s': %s", texts[_i].text,
                      err.msg);
        ck_assert_int_eq(net.fd, 77); /* untouched */
        return;
    }
    ck_assert_msg(rc == 0, "'%s': %s", texts[_i].text, err.msg);
    ck_assert(net.given);
    ck_assert_int_eq(net.fd, -1);
    ck_assert_int_eq(net.offloads, texts[_i].offloads);
    ck_assert_int_eq(net.macvtap, texts[_i].macvtap);
    ck_assert_str_eq(net.link, texts[_i].link);
    ck_assert_int_eq(net.vhost, texts[_i].vhost);
    ck_assert_int_eq(net.vhost_fd, -1);
}
END_TEST

START_TEST(fds_are_taken)
{
    struct net_source net;
    struct err err = { 0 };

    ck_assert_int_eq(net_source_parse("tap,fd=1,vhost-fd=2,vhost", &net, &err), 0);
    ck_assert_int_eq(net.fd, 1);
    ck_assert_int_eq(net.vhost_fd, 2);
    ck_assert(net.vhost);
}
END_TEST

/* `lo` is there everywhere, and is neither. */
START_TEST(link_that_can_not_be_had_is_told)
{
    static const struct {
        const char *text, *told;
    } links[] = {
        { "tap=volt-nowhere", "there is no link 'volt-nowhere'" },
        { "macvtap=volt-nowhere", "there is no link 'volt-nowhere'" },
        { "tap=lo", "--net" }, /* by its kind, or for want of rights */
        { "macvtap=lo", "no macvtap" },
    };

    for (unsigned i = 0; i < sizeof links / sizeof links[0]; i++) {
        struct net_source net;
        struct err err = { 0 };

        ck_assert_int_eq(net_source_parse(links[i].text, &net, &err), 0);
        ck_assert_int_lt(net_source_open_link(&net, &err), 0);
        ck_assert_msg(strstr(err.msg, links[i].told) != NULL, "%s", err.msg);
        ck_assert_int_eq(net.fd, -1);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("net_source");
    TCase *tc = tap_case(s, "net_source");

    tcase_add_loop_test(tc, text_is_taken_or_refused, 0, sizeof texts / sizeof texts[0]);
    tcase_add_test(tc, fds_are_taken);
    tcase_add_test(tc, link_that_can_not_be_had_is_told);
    return s;
}

int main(void)
{
    return tap_main(suite());
}
