/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the judge of VMs' frames decides as docs/network.md says, whatever the frame. Method: the
 * table of net_frames.h, with volt-gate's own world; what differs with passt, without the check of
 * sources, and as time passes; and every frame of the table cut at every length.
 */
#include <stdio.h>

#include "net/gate/world.h"
#include "net/net_policy.h"
#include "net_frames.h"
#include "tap_main.h"

static struct world world;
static struct gate_host host;
static struct net_rules rules;

static uint32_t address_of(const char *text)
{
    struct in_addr in;

    ck_assert_int_eq(inet_pton(AF_INET, text, &in), 1);
    return ntohl(in.s_addr);
}

static void set_up(void)
{
    struct err err = { 0 };
    uint32_t network = address_of(FRAMES_HOST_NETWORK);

    memset(&world, 0, sizeof world);
    host = (struct gate_host){ .count = 2 };
    host.range[0] = (struct gate_range){ address_of(FRAMES_HOST), address_of(FRAMES_HOST) };
    host.range[1] = (struct gate_range){ network, network + 255 };
    world.host = &host;
    ck_assert_msg(net_policy_parse(FRAMES_ALLOW, FRAMES_DENY, address_of(FRAMES_GATEWAY), false,
                                   &rules, &err) == 0,
                  "%s", err.msg);
}

static struct net_head head_of(const uint8_t *frame, uint32_t bytes)
{
    struct net_head head = { .have = MIN_OF(bytes, NET_HEAD_BYTES), .frame_bytes = bytes };

    memcpy(head.byte, frame, head.have);
    return head;
}

static enum net_verdict judge(const struct net_vm *vm, const uint8_t *frame, uint32_t bytes)
{
    struct net_head head = head_of(frame, bytes);
    struct net_packet packet = { 0 };

    return net_judge(&world, vm, &rules, &head, &packet);
}

/* NET_PASSED for what comes in. */
static enum net_verdict step(const struct net_vm *vm, const struct frame_spec *spec)
{
    uint8_t frame[FRAMES_BYTES];
    uint32_t bytes = frames_build(spec, frame);
    struct net_head head = head_of(frame, bytes);

    if (spec->way == OUT)
        return judge(vm, frame, bytes);
    net_note(&world, vm, &rules, &head, !spec->local);
    return NET_PASSED;
}

START_TEST(each_frame_as_the_table_says)
{
    const struct net_vm vm = frames_vm();

    set_up();
    for (unsigned i = 0; i < ARRAY_LEN(frames); i++)
        ck_assert_msg(step(&vm, &frames[i]) == frames[i].verdict, "%u: %s (%s)", i, frames[i].name,
                      frames[i].peer);
    for (unsigned i = 0; i < ARRAY_LEN(host_frames); i++)
        ck_assert_msg(step(&vm, &host_frames[i]) == host_frames[i].verdict, "%s",
                      host_frames[i].name);
}
END_TEST

/* Whatever length it is cut to, a frame passes only where all of it would, and never is what is not
 * there read. */
START_TEST(cut_frames_pass_nowhere_else)
{
    const struct net_vm vm = frames_vm();

    for (unsigned i = 0; i < ARRAY_LEN(frames); i++) {
        uint8_t frame[FRAMES_BYTES];
        uint32_t bytes = frames_build(&frames[i], frame);

        if (frames[i].way != OUT || frames[i].verdict == NET_PASSED)
            continue;
        for (uint32_t cut = 0; cut < bytes; cut++) {
            set_up();
            ck_assert_msg(judge(&vm, frame, cut) != NET_PASSED, "%s, cut to %u", frames[i].name,
                          cut);
        }
    }
}
END_TEST

START_TEST(without_the_check_of_sources)
{
    struct net_vm vm = frames_vm();
    unsigned passed = 0;

    set_up();
    vm.source_check = 0;
    for (unsigned i = 0; i < ARRAY_LEN(frames); i++) {
        enum net_verdict wanted = frames[i].verdict == NET_SPOOFED ? NET_PASSED : frames[i].verdict;

        passed += frames[i].verdict == NET_SPOOFED;
        ck_assert_msg(step(&vm, &frames[i]) == wanted, "%s", frames[i].name);
    }
    ck_assert_uint_gt(passed, 5);
}
END_TEST

static const struct frame_spec to_passt[] = {
    { .name = "DHCP",
      .protocol = NET_UDP,
      .peer = "255.255.255.255",
      .port = 67,
      .own_port = 68,
      .source = "0.0.0.0",
      .verdict = NET_PASSED },
    { .name = "DHCP from its address",
      .protocol = NET_UDP,
      .peer = "255.255.255.255",
      .port = 67,
      .own_port = 68,
      .verdict = NET_PASSED },
    { .name = "a DHCP server's",
      .protocol = NET_UDP,
      .peer = "255.255.255.255",
      .port = 68,
      .own_port = 67,
      .verdict = NET_SPOOFED },
    { .name = "DHCP from another",
      .protocol = NET_UDP,
      .peer = "255.255.255.255",
      .port = 67,
      .own_port = 68,
      .source = "10.0.0.3",
      .verdict = NET_SPOOFED },
    { .name = "a first fragment",
      .protocol = NET_UDP,
      .peer = "8.8.8.8",
      .fragment = NET_MORE_FRAGMENTS,
      .verdict = NET_MALFORMED },
    { .name = "a later one",
      .protocol = NET_UDP,
      .peer = "8.8.8.8",
      .fragment = 185,
      .verdict = NET_MALFORMED },
    { .name = "the resolver",
      .protocol = NET_UDP,
      .peer = FRAMES_GATEWAY,
      .port = 53,
      .verdict = NET_PASSED },
    { .name = "what the host has there for TCP",
      .protocol = NET_TCP,
      .flags = NET_TCP_SYN,
      .peer = FRAMES_GATEWAY,
      .port = 53,
      .verdict = NET_DENIED },
};

/* passt answers DHCP, and takes fragments for packets; its resolver is the gateway's UDP port 53. */
START_TEST(what_goes_to_passt)
{
    struct net_vm vm = frames_vm();
    struct err err;

    set_up();
    vm.passt = 1;
    host.count = 1;
    host.range[0].first = host.range[0].last = address_of(FRAMES_GATEWAY);
    ck_assert_int_eq(net_policy_parse("", "", address_of(FRAMES_GATEWAY), true, &rules, &err), 0);
    for (unsigned i = 0; i < ARRAY_LEN(to_passt); i++)
        ck_assert_msg(step(&vm, &to_passt[i]) == to_passt[i].verdict, "%s", to_passt[i].name);
}
END_TEST

/* Makes all that is remembered older. */
static void pass_time(uint64_t ns)
{
    for (unsigned i = 0; i < NET_FLOW_SETS * NET_FLOW_WAYS; i++) {
        struct net_flow *flow = &world.flows[i / NET_FLOW_WAYS].flow[i % NET_FLOW_WAYS];

        if (flow->seen_ns)
            flow->seen_ns -= ns;
    }
}

START_TEST(datagrams_are_answered_for_a_while)
{
    static const struct frame_spec
        question = { .way = IN, .protocol = NET_UDP, .peer = FRAMES_HOST, .local = true },
        answer = { .protocol = NET_UDP, .peer = FRAMES_HOST },
        first = { .protocol = NET_UDP, .peer = "8.8.8.8", .id = 9, .fragment = NET_MORE_FRAGMENTS },
        later = { .protocol = NET_UDP, .peer = "8.8.8.8", .id = 9, .fragment = 185 };
    const struct net_vm vm = frames_vm();

    set_up();
    step(&vm, &question);
    pass_time(NET_REPLY_NS / 2);
    ck_assert_int_eq(step(&vm, &answer), NET_PASSED);
    step(&vm, &question);
    pass_time(NET_REPLY_NS * 3 / 4);
    ck_assert_int_eq(step(&vm, &answer), NET_PASSED); /* since the last one */
    pass_time(NET_REPLY_NS);
    ck_assert_int_eq(step(&vm, &answer), NET_DENIED);
    ck_assert_int_eq(step(&vm, &first), NET_PASSED);
    pass_time(NET_FRAGMENT_NS);
    ck_assert_int_eq(step(&vm, &later), NET_MALFORMED);
}
END_TEST

/* However many the host has begun, the newest are answered. */
START_TEST(a_full_memory_forgets_the_oldest)
{
    const struct net_vm vm = frames_vm();
    struct frame_spec spec = { .protocol = NET_UDP, .peer = FRAMES_HOST, .local = true };

    set_up();
    for (unsigned port = 1; port <= 60000; port++) {
        spec.way = IN;
        spec.port = (uint16_t)port;
        step(&vm, &spec);
        spec.way = OUT;
        ck_assert_int_eq(step(&vm, &spec), NET_PASSED);
    }
}
END_TEST

/* A connection that is used goes on, however many others come and go. */
START_TEST(what_is_used_is_not_forgotten)
{
    const struct net_vm vm = frames_vm();
    struct frame_spec old = { .protocol = NET_TCP, .peer = FRAMES_DENIED, .port = 39999 },
                      other = { .protocol = NET_TCP, .peer = FRAMES_DENIED };

    set_up();
    old.way = IN;
    old.flags = NET_TCP_SYN;
    step(&vm, &old);
    old.way = OUT;
    old.flags = NET_TCP_ACK;
    for (unsigned port = 1; port < 39999; port++) {
        other.way = IN;
        other.flags = NET_TCP_SYN;
        other.port = (uint16_t)port;
        step(&vm, &other);
        other.way = OUT;
        other.flags = NET_TCP_ACK;
        ck_assert_int_eq(step(&vm, &other), NET_PASSED);
        if (port % NET_FLOW_WAYS == 0)
            ck_assert_msg(step(&vm, &old) == NET_PASSED, "it is forgotten after %u others", port);
    }
}
END_TEST

START_TEST(drops_are_counted)
{
    const struct net_packet packet = { .destination = 0x7f000001,
                                       .destination_port = 80,
                                       .protocol = 6 };
    struct net_drops drops = { 0 };

    net_count(&drops, NET_PASSED, &packet);
    net_count(&drops, NET_SPOOFED, &packet);
    ck_assert_uint_eq(drops.denied_address, 0);
    net_count(&drops, NET_DENIED, &packet);
    net_count(&drops, NET_DENIED, &packet);
    ck_assert_uint_eq(drops.count[NET_PASSED], 0);
    ck_assert_uint_eq(drops.count[NET_SPOOFED], 1);
    ck_assert_uint_eq(drops.count[NET_DENIED], 2);
    ck_assert_uint_eq(drops.denied_address, 0x7f000001);
    ck_assert_uint_eq(drops.denied_port, 80);
}
END_TEST

/* Every address is the host's while its list can't be read. */
START_TEST(a_list_half_written_allows_nothing)
{
    static const struct frame_spec spec = { .protocol = NET_TCP,
                                            .flags = NET_TCP_SYN,
                                            .peer = "8.8.8.8" };
    const struct net_vm vm = frames_vm();

    set_up();
    ck_assert_int_eq(step(&vm, &spec), NET_PASSED);
    host.turn = 1;
    ck_assert_int_eq(step(&vm, &spec), NET_DENIED);
    host.turn = 2;
    ck_assert_int_eq(step(&vm, &spec), NET_PASSED);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_judge");
    TCase *tests = tap_case(suite, "judge");

    tcase_add_test(tests, each_frame_as_the_table_says);
    tcase_add_test(tests, cut_frames_pass_nowhere_else);
    tcase_add_test(tests, without_the_check_of_sources);
    tcase_add_test(tests, what_goes_to_passt);
    tcase_add_test(tests, datagrams_are_answered_for_a_while);
    tcase_add_test(tests, a_full_memory_forgets_the_oldest);
    tcase_add_test(tests, what_is_used_is_not_forgotten);
    tcase_add_test(tests, drops_are_counted);
    tcase_add_test(tests, a_list_half_written_allows_nothing);
    return tap_main(suite);
}
