/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes volt-gate: a stream of frames of a hostile VM, in any pieces, and its policy. Input: two
 * bytes of the VM's traits, the lengths of two lists and these, then the stream, whose pieces begin
 * with two bytes: what is done (bit 0: the other way; bit 1: the target is another from now on; bit
 * 2: the source is; the rest: how much of it is taken) and how many bytes come.
 *
 * What goes on must be whole frames, each of which passes a second, simpler look: none to loopback,
 * link-local or multicast addresses unless something is allowed, none with another source, none that
 * is neither ARP nor IPv4. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "net/gate/lane.h"
#include "net/gate/world.h"

#include "net/gate/datagrams.h"
#include "net/net_policy.h"

#define LIST_BYTES 200u

struct gate {
    struct net_vm vm;
    struct net_rules rules;
    struct net_drops drops;
    struct world world;
    struct gate_datagrams datagrams;
    bool bridged;
    bool closed;         /* nothing is allowed that every pool denies */
    bool quiet;          /* nobody has begun anything with it */
    struct lane lane[2]; /* out, in */
};

static struct gate gate;

static void require(bool holds)
{
    if (!holds)
        abort();
}

static struct net_head head_of(const uint8_t *frame, uint32_t bytes)
{
    struct net_head head = { .have = MIN_OF(bytes, NET_HEAD_BYTES), .frame_bytes = bytes };

    memcpy(head.byte, frame, head.have);
    return head;
}

static void look_again(const uint8_t *frame, uint32_t bytes)
{
    uint32_t type = net_read16(frame + 12);

    require(bytes >= NET_ETHERNET_BYTES && (type == NET_TYPE_ARP || type == NET_TYPE_IPV4));
    if (gate.vm.source_check)
        require(memcmp(frame + 6, gate.vm.mac, 6) == 0);
    if (type == NET_TYPE_ARP)
        return;
    require(bytes >= 34 && frame[14] == 0x45 && net_read16(frame + 16) + 14 <= bytes);
    uint32_t source = net_read32(frame + 26), destination = net_read32(frame + 30);
    bool dhcp = gate.vm.passt && frame[23] == NET_UDP && destination == NET_BROADCAST &&
                net_read16(frame + 36) == 67;
    require(!gate.vm.source_check || source == gate.vm.address || dhcp);
    require(!gate.vm.passt || (net_read16(frame + 20) & 0x3fff) == 0);
    if (!gate.closed || dhcp)
        return;
    require(destination >> 24 != 127 && destination >> 24 != 0 && destination < 0xe0000000);
    if (gate.quiet)
        require(destination >> 16 != 0xa9fe);
}

static bool keep_out(void *context, const uint8_t *frame, uint32_t bytes)
{
    struct net_head head = head_of(frame, bytes);
    struct net_packet packet = { 0 };
    enum net_verdict verdict = net_judge(&gate.world, &gate.vm, &gate.rules, &head, &packet);

    (void)context;
    require(verdict < NET_VERDICT_COUNT);
    net_count(&gate.drops, verdict, &packet);
    if (verdict != NET_PASSED)
        return false;
    look_again(frame, bytes);
    datagrams_note(&gate.world, &gate.vm, &gate.datagrams, &packet);
    return true;
}

static bool keep_in(void *context, const uint8_t *frame, uint32_t bytes)
{
    struct net_head head = head_of(frame, bytes);

    (void)context;
    gate.quiet = false; /* whoever that was may be answered */
    net_note(&gate.world, &gate.vm, &gate.rules, &head, gate.bridged);
    return datagrams_enter(&gate.world, &gate.vm, &gate.datagrams, &head);
}

/* Whatever is about to go is whole frames. */
static void check_lane(const struct lane *lane)
{
    uint32_t at = 0;

    require(lane->sent <= lane->ready && lane->ready <= lane->end && lane->end <= LANE_BYTES);
    while (at < lane->ready) {
        uint32_t bytes = net_read32(lane->buffer + at);

        require(bytes >= LANE_FRAME_BYTES_MIN && bytes <= LANE_FRAME_BYTES_MAX);
        at += LANE_LENGTH_BYTES + bytes;
    }
    require(at == lane->ready);
}

/* One piece comes, and as much goes as the other end takes. False: the stream is at its end. */
static bool piece(struct fuzz_input *input)
{
    uint8_t what = fuzz_u8(input), count = fuzz_u8(input), bytes[256], sink[4096];
    struct lane *lane = &gate.lane[what & 1];
    int from[2], to[2];
    bool goes_on = true;

    require(socketpair(AF_UNIX, SOCK_STREAM, 0, from) == 0 &&
            socketpair(AF_UNIX, SOCK_STREAM, 0, to) == 0);
    size_t there = fuzz_take(input, bytes, count);
    if (what & 2)
        lane_cut_target(lane);
    if (what & 4)
        lane_cut_source(lane);
    require(send(from[0], bytes, there, 0) == (ssize_t)there);
    if (there)
        lane_fill(lane, from[1]);
    if (lane_sift(lane, what & 1 ? keep_in : keep_out, NULL) < 0)
        goes_on = false;
    else if (what & 8)
        lane_drain(lane, to[1]);
    check_lane(lane);
    while (recv(to[0], sink, sizeof sink, MSG_DONTWAIT) > 0)
        ;
    for (unsigned i = 0; i < 2; i++) {
        close(from[i]);
        close(to[i]);
    }
    return goes_on && input->bytes > 0;
}

static void take_list(struct fuzz_input *input, char text[LIST_BYTES])
{
    size_t bytes = fuzz_u8(input) % LIST_BYTES;

    text[fuzz_take(input, text, bytes)] = '\0';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct gate_host host = { .count = 1, .range = { { 0xc0000201, 0xc00002ff } } };
    struct fuzz_input input = { data, bytes };
    char allow[LIST_BYTES], deny[LIST_BYTES];
    struct err err = { 0 };

    memset(&gate, 0, offsetof(struct gate, lane));
    for (unsigned i = 0; i < 2; i++)
        gate.lane[i].sent = gate.lane[i].ready = gate.lane[i].end = 0;
    gate.world.host = &host;
    uint8_t checks = fuzz_u8(&input), traits = fuzz_u8(&input);
    gate.vm = (struct net_vm){ .address = 0x0a000002,
                               .mac = { 2, 'V', 10, 0, 0, 2 },
                               .source_check = checks & 1,
                               .passt = traits & 1 };
    gate.bridged = traits >> 1 & 1;
    take_list(&input, allow);
    take_list(&input, deny);
    if (net_policy_parse(allow, deny, 0x0a000001, gate.vm.passt, &gate.rules, &err) < 0) {
        require(err.code == EINVAL && err.msg[0]);
        allow[0] = deny[0] = '\0';
        require(net_policy_parse("", "", 0x0a000001, gate.vm.passt, &gate.rules, &err) == 0);
    }
    require(gate.rules.count <= NET_RULES_MAX);
    gate.closed = !allow[0];
    gate.quiet = true;
    while (piece(&input))
        ;
    return 0;
}
