/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what a VM's process has the host's kernel do to a frame of a tap, after it was judged, makes
 * nothing else of it: checksums, segments, whatever its virtio header says. Method: that of
 * net_kernel.c, where the network's end takes no offloads, so that the kernel does all of it before.
 */
#include <stdlib.h>

#include "kernel_lab.h"

/* The virtio header tells where the kernel is to write a checksum, when the frame leaves the host:
 * elsewhere than where TCP and UDP have it, it would change an address or a port that was judged. */
START_TEST(checksums_go_where_they_belong)
{
    static const struct {
        uint8_t protocol;
        uint16_t start, offset;
        bool passes;
    } rows[] = {
        { NET_TCP, 34, 16, true },  { NET_UDP, 34, 6, true },   { NET_TCP, 34, 6, false },
        { NET_UDP, 34, 16, false }, { NET_TCP, 34, 2, false },  { NET_TCP, 34, 0, false },
        { NET_TCP, 20, 10, false }, { NET_TCP, 20, 12, false }, { NET_TCP, 20, 6, false },
        { NET_TCP, 30, 0, false },  { NET_TCP, 36, 14, false }, { NET_ICMP, 34, 2, false },
        { NET_ICMP, 34, 6, false },
    };
    struct lab lab;

    if (!lab_open(&lab))
        return;
    on_bridge(&lab);
    know(&lab, lab.index);
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        const struct virtio_net_hdr header = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                               .csum_start = rows[i].start,
                                               .csum_offset = rows[i].offset };
        const struct frame_spec spec = { .protocol = rows[i].protocol,
                                         .flags = rows[i].protocol == NET_TCP ? NET_TCP_SYN
                                                                              : NET_ICMP_ECHO,
                                         .peer = "8.8.8.8" };
        struct pollfd polled = { .fd = lab.peer_fd, .events = POLLIN };
        uint8_t frame[FRAMES_BYTES], got[2048];
        uint32_t bytes = frames_build(&spec, frame);

        int rc = write_frame(&lab, lab.vm_fd, &header, frame, bytes);
        if (rows[i].passes) {
            ck_assert_int_eq(rc, 0);
            ck_assert(arrives(&lab, lab.peer_fd, frame, bytes, LOUD_MS));
            continue;
        }
        while (poll(&polled, 1, QUIET_MS) > 0 && read(lab.peer_fd, got, sizeof got) > 0)
            ck_assert_msg(memcmp(got, frame, 12) != 0, "row %u passes", i);
    }
    lab_close(&lab);
}
END_TEST

/* One header of all that there can be, the likely ones more often. */
static struct virtio_net_hdr any_header(unsigned *seed)
{
    static const uint8_t kinds[] = { VIRTIO_NET_HDR_GSO_NONE, VIRTIO_NET_HDR_GSO_TCPV4,
                                     VIRTIO_NET_HDR_GSO_UDP, VIRTIO_NET_HDR_GSO_TCPV6,
                                     5 /* of UDP, into datagrams */ };
    static const uint16_t starts[] = { 34, 34, 34, 14, 20, 22, 30, 36, 38 };
    struct virtio_net_hdr header = { .flags = (uint8_t)(rand_r(seed) % 4),
                                     .gso_type = kinds[(unsigned)rand_r(seed) % ARRAY_LEN(kinds)],
                                     .hdr_len = (uint16_t)(rand_r(seed) % 80),
                                     .gso_size = (uint16_t)(rand_r(seed) % 40),
                                     .csum_start =
                                         starts[(unsigned)rand_r(seed) % ARRAY_LEN(starts)],
                                     .csum_offset = (uint16_t)(rand_r(seed) % 20) };

    if (rand_r(seed) % 4 == 0)
        header.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
    return header;
}

/* What comes out is from the VM, to where it was judged to go; and a port, where it has one, is the
 * one that was judged. It may be of an earlier round: of UDP, or of TCP, each with a port of its own. */
static void check_out(const uint8_t *got, ssize_t bytes, const uint8_t judged[2][FRAMES_BYTES],
                      unsigned round)
{
    const uint8_t *frame = judged[got[23] == NET_TCP];
    bool later = (net_read16(got + 20) & NET_FRAGMENT_OFFSET) != 0;

    if (bytes < 42 || memcmp(got, frame, 12) != 0)
        return; /* the lab's own */
    ck_assert_msg(memcmp(got + 12, frame + 12, 3) == 0 && memcmp(got + 26, frame + 26, 8) == 0 &&
                      got[23] == frame[23] && (later || memcmp(got + 34, frame + 34, 4) == 0),
                  "round %u: another frame comes out", round);
}

START_TEST(whatever_the_header_says)
{
    enum { ROUNDS = 20000 };
    unsigned seed = 20261129, came = 0;
    uint8_t judged[2][FRAMES_BYTES];
    uint32_t bytes[2];
    struct lab lab;

    if (!lab_open(&lab))
        return;
    on_bridge(&lab);
    know(&lab, lab.index);
    for (unsigned i = 0; i < 2; i++)
        bytes[i] = frames_build(&(struct frame_spec){ .protocol = i ? NET_TCP : NET_UDP,
                                                      .flags = NET_TCP_ACK,
                                                      .peer = "8.8.8.8",
                                                      .port = (uint16_t)(65534 + i) },
                                judged[i]);
    for (unsigned round = 0; round < ROUNDS; round++) {
        const struct virtio_net_hdr header = any_header(&seed);
        uint8_t got[2048];
        ssize_t n;

        write_frame(&lab, lab.vm_fd, &header, judged[round % 2], bytes[round % 2]);
        while ((n = read(lab.peer_fd, got, sizeof got)) > 0) {
            check_out(got, n, judged, round);
            came++;
        }
    }
    ck_assert_uint_gt(came, ROUNDS / 20);
    lab_close(&lab);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_offloads");
    TCase *tests = tap_case(suite, "offloads");

    tcase_add_test(tests, checksums_go_where_they_belong);
    tcase_add_test(tests, whatever_the_header_says);
    return tap_main(suite);
}
