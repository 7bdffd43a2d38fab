/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's attempts to reach what it should not: frames made by hand, so that nothing of the guest's
 * own network stack stands in the way, and what comes back.
 *
 * usage: net_probe INTERFACE GATEWAY WAIT_MS KIND:ADDRESS:PORT[:OPTION]...
 *   KIND: tcp (a SYN), udp, icmp (a ping), fragments (a datagram in two), arp (a question), ipv6
 *   OPTION: from=ADDRESS, as another; own=PORT, from that one; mac, from another MAC; tagged, with a
 *   VLAN's tag
 * All are sent at once, and once a second those that have no answer. For each it prints the text and
 * " answered" or " silent" when all have one, or WAIT_MS are over. */
#include <arpa/inet.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <netinet/if_ether.h>
#include <netpacket/packet.h>

#define OWN_PORT 40000u
#define PROBES_MAX 40

struct card {
    int fd;
    uint8_t mac[6], gateway_mac[6];
    uint32_t address; /* network byte order, as all here */
};

struct probe {
    char kind[16];
    uint32_t to, from;
    uint16_t port, own_port;
    bool tagged, answered;
    uint8_t mac[6], to_mac[6];
    uint8_t by[6]; /* the MAC of who answered */
};

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint32_t sum(const uint8_t *at, unsigned bytes, uint32_t begin)
{
    for (unsigned i = 0; i < bytes; i++)
        begin += i % 2 ? at[i] : (uint32_t)at[i] << 8;
    return begin;
}

static uint32_t fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
}

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The frame's header; where what follows begins. */
static uint8_t *begin(const struct probe *probe, uint32_t type, uint8_t frame[256])
{
    uint8_t *at = frame + 12;

    memset(frame, 0, 256);
    memcpy(frame, probe->to_mac, 6);
    memcpy(frame + 6, probe->mac, 6);
    if (probe->tagged) {
        put16(at, 0x8100);
        put16(at + 2, 7);
        at += 4;
    }
    put16(at, type);
    return at + 2;
}

static void put_frame(const struct card *card, const uint8_t *frame, const uint8_t *end)
{
    if (send(card->fd, frame, (size_t)(end - frame), 0) < 0)
        perror("send");
}

static uint8_t *put_ipv4(const struct probe *probe, uint8_t *at, uint8_t protocol, unsigned bytes,
                         unsigned fragment)
{
    at[0] = 0x45;
    put16(at + 2, 20 + bytes);
    put16(at + 4, probe->own_port);
    put16(at + 6, fragment);
    at[8] = 64;
    at[9] = protocol;
    memcpy(at + 12, &probe->from, 4);
    memcpy(at + 16, &probe->to, 4);
    put16(at + 10, fold(sum(at, 20, 0)));
    return at + 20;
}

static void put_arp(const struct card *card, const struct probe *probe)
{
    static const uint8_t begins[8] = { 0, 1, 8, 0, 6, 4, 0, 1 };
    uint8_t frame[256], *at = begin(probe, ETH_P_ARP, frame);

    memset(frame, 0xff, 6);
    memcpy(at, begins, 8);
    memcpy(at + 8, probe->mac, 6);
    memcpy(at + 14, &probe->from, 4);
    memcpy(at + 24, &probe->to, 4);
    put_frame(card, frame, at + 28);
}

static void put_ip(const struct card *card, const struct probe *probe, uint8_t protocol)
{
    unsigned bytes = protocol == 6 ? 20 : 16, check = protocol == 6 ? 16 : protocol == 17 ? 6 : 2;
    uint8_t frame[256], *ip = begin(probe, ETH_P_IP, frame);
    uint8_t *at = put_ipv4(probe, ip, protocol, bytes, 0);

    put16(at, probe->own_port);
    put16(at + 2, probe->port);
    if (protocol == 6) {
        at[12] = 0x50;
        at[13] = 2;
        put16(at + 14, 1024);
    } else if (protocol == 17) {
        put16(at + 4, bytes);
    } else {
        put16(at, 0x0800);
        put16(at + 2, 0);
        put16(at + 4, probe->own_port);
    }
    put16(at + check, fold(sum(at, bytes, protocol == 1 ? 0 : sum(ip + 12, 8, protocol + bytes))));
    put_frame(card, frame, at + bytes);
}

static void put_fragments(const struct card *card, const struct probe *probe)
{
    uint8_t frame[256], *ip = begin(probe, ETH_P_IP, frame);
    uint8_t *at = put_ipv4(probe, ip, 17, 16, 0x2000);

    put16(at, probe->own_port);
    put16(at + 2, probe->port);
    put16(at + 4, 24);
    put_frame(card, frame, at + 16);
    at = put_ipv4(probe, begin(probe, ETH_P_IP, frame), 17, 8, 2);
    put_frame(card, frame, at + 8);
}

static void put_ipv6(const struct card *card, const struct probe *probe)
{
    uint8_t frame[256], *at = begin(probe, ETH_P_IPV6, frame);

    at[0] = 0x60;
    put16(at + 4, 8);
    at[6] = 17;
    at[7] = 64;
    at[8] = at[24] = 0xfd;
    at[23] = 2;
    at[39] = 1;
    put16(at + 40, probe->own_port);
    put16(at + 42, probe->port);
    put16(at + 44, 8);
    put_frame(card, frame, at + 48);
}

static void put_probe(const struct card *card, const struct probe *probe)
{
    if (strcmp(probe->kind, "arp") == 0)
        put_arp(card, probe);
    else if (strcmp(probe->kind, "fragments") == 0)
        put_fragments(card, probe);
    else if (strcmp(probe->kind, "ipv6") == 0)
        put_ipv6(card, probe);
    else
        put_ip(card, probe, probe->kind[0] == 't' ? 6 : probe->kind[0] == 'u' ? 17 : 1);
}

/* passt answers for the host's own addresses with others: so ports decide. */
static bool answers(const struct probe *probe, const uint8_t *frame, ssize_t bytes)
{
    const uint8_t *ip = frame + 14, *at = ip + 20;

    if (bytes < 42)
        return false;
    if (strcmp(probe->kind, "arp") == 0)
        return frame[12] == 8 && frame[13] == 6 && ip[7] == 2 &&
               memcmp(ip + 14, &probe->to, 4) == 0;
    if (frame[12] != 8 || frame[13] != 0)
        return false;
    if (ip[9] == 1 && at[0] == 0)
        return (at[4] << 8 | at[5]) == probe->own_port;
    return (ip[9] == 6 || ip[9] == 17) && (at[0] << 8 | at[1]) == probe->port &&
           (at[2] << 8 | at[3]) == probe->own_port;
}

/* Sends those that have no answer, once a second, as what is on the way may have to find its own way
 * first; until all have one, or the time is over. */
static void ask(const struct card *card, struct probe *probes, int count, unsigned wait_ms)
{
    struct pollfd polled = { .fd = card->fd, .events = POLLIN };
    uint64_t end = now_ms() + wait_ms, again = 0;
    int left = count;
    uint8_t frame[2048];

    while (left > 0 && now_ms() < end) {
        for (int i = 0; i < count && now_ms() >= again; i++) {
            if (!probes[i].answered)
                put_probe(card, &probes[i]);
        }
        if (now_ms() >= again)
            again = now_ms() + 1000;
        if (poll(&polled, 1, 50) <= 0)
            continue;
        ssize_t bytes = recv(card->fd, frame, sizeof frame, 0);
        for (int i = 0; i < count; i++) {
            if (probes[i].answered || !answers(&probes[i], frame, bytes))
                continue;
            probes[i].answered = true;
            memcpy(probes[i].by, frame + 6, 6);
            left--;
        }
    }
}

static bool parse(const struct card *card, char *text, struct probe *ret)
{
    char *kind = strtok(text, ":"), *address = strtok(NULL, ":"), *port = strtok(NULL, ":"),
         *option;

    if (!kind || !address || !port || inet_pton(AF_INET, address, &ret->to) != 1)
        return false;
    snprintf(ret->kind, sizeof ret->kind, "%s", kind);
    ret->port = (uint16_t)atoi(port);
    memcpy(ret->mac, card->mac, 6);
    memcpy(ret->to_mac, card->gateway_mac, 6);
    ret->from = card->address;
    while ((option = strtok(NULL, ":"))) {
        if (strncmp(option, "from=", 5) == 0)
            inet_pton(AF_INET, option + 5, &ret->from);
        else if (strncmp(option, "own=", 4) == 0)
            ret->own_port = (uint16_t)atoi(option + 4);
        else if (strcmp(option, "mac") == 0)
            ret->mac[5] ^= 0x55;
        else if (strcmp(option, "tagged") == 0)
            ret->tagged = true;
        else
            return false;
    }
    return true;
}

static bool open_card(const char *interface, const char *gateway, struct card *card)
{
    struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
    struct probe who = { .kind = "arp" };
    struct ifreq request = { 0 };
    int control = socket(AF_INET, SOCK_DGRAM, 0);

    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface);
    card->fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    at.sll_ifindex = (int)if_nametoindex(interface);
    if (card->fd < 0 || bind(card->fd, (struct sockaddr *)&at, sizeof at) < 0 ||
        ioctl(control, SIOCGIFHWADDR, &request) < 0)
        return false;
    memcpy(card->mac, request.ifr_hwaddr.sa_data, 6);
    if (ioctl(control, SIOCGIFADDR, &request) < 0)
        return false;
    card->address = ((struct sockaddr_in *)(void *)&request.ifr_addr)->sin_addr.s_addr;
    memcpy(who.mac, card->mac, 6);
    who.from = card->address;
    if (inet_pton(AF_INET, gateway, &who.to) == 1)
        ask(card, &who, 1, 60000);
    memcpy(card->gateway_mac, who.by, 6);
    return who.answered;
}

int main(int argc, char **argv)
{
    static struct probe probes[PROBES_MAX];
    struct card card;

    if (argc < 5 || argc - 4 > PROBES_MAX || !open_card(argv[1], argv[2], &card)) {
        fprintf(stderr, "net_probe: no card, or its gateway does not answer\n");
        return 1;
    }
    for (int i = 4; i < argc; i++) {
        char text[128];

        snprintf(text, sizeof text, "%s", argv[i]);
        probes[i - 4].own_port = (uint16_t)(OWN_PORT + getpid() % 600 * 40 + i);
        if (!parse(&card, text, &probes[i - 4])) {
            fprintf(stderr, "net_probe: '%s'?\n", argv[i]);
            return 1;
        }
    }
    ask(&card, probes, argc - 4, (unsigned)atoi(argv[3]));
    for (int i = 4; i < argc; i++)
        printf("%s %s\n", argv[i], probes[i - 4].answered ? "answered" : "silent");
    return 0;
}
