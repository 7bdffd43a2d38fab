/* SPDX-License-Identifier: Apache-2.0 */
/* A guest program: timers, a disk, a network and vector registers kept busy while the VM is
 * snapshotted and restored, and checked all the time. Each kind of load counts its rounds in a file
 * that `check` maps too; a kind that stands still after a restore is stuck, a wrong byte is broken.
 *
 *   load run FILE DISK ADDRESS   loads until killed; writes DISK from DISK_FROM on, pings ADDRESS
 *   load check FILE              exit status 0 once every kind has gone on, 1 if one is stuck or broken
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/ip_icmp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DISK_FROM (2u << 20)
#define DISK_BLOCK 65536u
#define DISK_BLOCKS 64u
#define PING_ID 0x4c64u
#define VECTORS 16u
#define SPINS 1000000u
#define CHECK_S 120

enum kind { TIMER, DISK, PING_SENT, PING_ANSWERED, VECTOR, KIND_COUNT };

static const char *const kind_name[KIND_COUNT] = { "timer", "disk", "sent", "answered", "vector" };
/* Rounds that must be seen after a restore: more than could have been under way. */
static const unsigned rounds_wanted[KIND_COUNT] = { 50, 5, 5, 3, 5 };

struct state {
    atomic_uint_fast64_t rounds[KIND_COUNT];
    atomic_uint_fast64_t broken[KIND_COUNT];
};

static struct state *state;
static int disk_fd = -1, ping_fd = -1;

static void sleep_us(long us)
{
    nanosleep(&(struct timespec){ .tv_nsec = us * 1000 }, NULL);
}

static void *timer_run(void *arg)
{
    struct timespec last = { 0 }, now;

    (void)arg;
    for (;;) {
        sleep_us(500);
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec < last.tv_sec || (now.tv_sec == last.tv_sec && now.tv_nsec < last.tv_nsec))
            atomic_fetch_add(&state->broken[TIMER], 1);
        last = now;
        atomic_fetch_add(&state->rounds[TIMER], 1);
    }
    return NULL;
}

/* Past the page cache, so that every round is a request of each kind to the device. */
static void *disk_run(void *arg)
{
    uint64_t *wanted = arg, *got = wanted + DISK_BLOCK / sizeof(*wanted);

    for (uint64_t round = 0;; round++) {
        off_t at = DISK_FROM + (off_t)(round % DISK_BLOCKS) * DISK_BLOCK;

        for (unsigned i = 0; i < DISK_BLOCK / sizeof(*wanted); i++)
            wanted[i] = (round << 16 | i) * 0x9e3779b97f4a7c15u;
        if (pwrite(disk_fd, wanted, DISK_BLOCK, at) != DISK_BLOCK ||
            (round % 8 == 0 && fdatasync(disk_fd) < 0) ||
            pread(disk_fd, got, DISK_BLOCK, at) != DISK_BLOCK ||
            memcmp(wanted, got, DISK_BLOCK) != 0)
            atomic_fetch_add(&state->broken[DISK], 1);
        atomic_fetch_add(&state->rounds[DISK], 1);
        sleep_us(1000);
    }
    return NULL;
}

static uint16_t checksum(const uint16_t *words, unsigned count)
{
    uint32_t sum = 0;

    for (unsigned i = 0; i < count; i++)
        sum += words[i];
    sum = (sum >> 16) + (sum & 0xffff);
    return (uint16_t) ~(sum + (sum >> 16));
}

/* Before a VM has its address, nothing can be sent: that is no fault. */
static void *ping_send(void *arg)
{
    union {
        struct icmphdr header;
        uint16_t words[32];
    } packet;

    for (uint16_t sequence = 0;; sequence++) {
        memset(&packet, 0x5a, sizeof(packet));
        packet.header = (struct icmphdr){ .type = ICMP_ECHO };
        packet.header.un.echo.id = PING_ID;
        packet.header.un.echo.sequence = sequence;
        packet.header.checksum = checksum(packet.words, 32);
        if (sendto(ping_fd, &packet, sizeof(packet), 0, arg, sizeof(struct sockaddr_in)) ==
            sizeof(packet))
            atomic_fetch_add(&state->rounds[PING_SENT], 1);
        sleep_us(2000);
    }
    return NULL;
}

static void *ping_receive(void *arg)
{
    uint8_t packet[2048];
    struct icmphdr header;

    (void)arg;
    for (;;) {
        ssize_t n = recv(ping_fd, packet, sizeof(packet), 0);
        unsigned at = (packet[0] & 0xfu) * 4; /* behind the IP header */

        if (n < (ssize_t)(at + sizeof(header)))
            continue;
        memcpy(&header, packet + at, sizeof(header));
        if (header.type == ICMP_ECHOREPLY && header.un.echo.id == PING_ID)
            atomic_fetch_add(&state->rounds[PING_ANSWERED], 1);
    }
    return NULL;
}

/* Fills all vector registers, computes for a while without leaving user mode of its own will, and
 * looks what is in them. The upper halves exist with AVX only. */
#define EACH_VECTOR(X)                                                                             \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define LOAD_YMM(n) "vmovdqu " #n "*32(%[from]), %%ymm" #n "\n\t"
#define STORE_YMM(n) "vmovdqu %%ymm" #n ", " #n "*32(%[to])\n\t"
#define CLOBBER(n) "xmm" #n,

__attribute__((target("avx"))) static void vectors_hold(const uint64_t *from, uint64_t *to)
{
    unsigned spins = SPINS;

    /* clang-format off */
    __asm__ volatile(EACH_VECTOR(LOAD_YMM)
                     "1: dec %[spins]\n\t"
                     "jnz 1b\n\t"
                     EACH_VECTOR(STORE_YMM)
                     : [spins] "+r"(spins)
                     : [from] "r"(from), [to] "r"(to)
                     : EACH_VECTOR(CLOBBER) "cc", "memory");
    /* clang-format on */
}

static void *vector_run(void *arg)
{
    uint64_t wanted[VECTORS * 4], got[VECTORS * 4];

    (void)arg;
    for (uint64_t round = 1;; round++) {
        for (unsigned i = 0; i < VECTORS * 4; i++)
            wanted[i] = (round << 8 | i) * 0x9e3779b97f4a7c15u;
        vectors_hold(wanted, got);
        if (memcmp(wanted, got, sizeof(wanted)) != 0)
            atomic_fetch_add(&state->broken[VECTOR], 1);
        atomic_fetch_add(&state->rounds[VECTOR], 1);
    }
    return NULL;
}

static int state_map(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0 || ftruncate(fd, sizeof(*state)) < 0)
        return -1;
    state = mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return state == MAP_FAILED ? -1 : 0;
}

static int run(const char *disk, const char *address)
{
    static _Alignas(4096) uint64_t blocks[2 * DISK_BLOCK / sizeof(uint64_t)];
    static struct sockaddr_in to = { .sin_family = AF_INET };
    static void *(*const load[])(void *) = { timer_run, disk_run, ping_send, ping_receive,
                                             vector_run };
    static void *const arg[] = { NULL, blocks, &to, NULL, NULL };
    pthread_t thread;

    disk_fd = open(disk, O_RDWR | O_DIRECT | O_CLOEXEC);
    ping_fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
    if (disk_fd < 0 || ping_fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1) {
        perror(disk_fd < 0 ? disk : address);
        return 2;
    }
    if (!__builtin_cpu_supports("avx")) {
        fprintf(stderr, "the CPU has no AVX\n");
        return 2;
    }
    for (unsigned i = 0; i < KIND_COUNT; i++) {
        if (pthread_create(&thread, NULL, load[i], arg[i]) != 0)
            return 2;
    }
    for (;;)
        pause();
}

static int check(void)
{
    uint64_t before[KIND_COUNT], rounds[KIND_COUNT];
    bool moved = false, broken = false;

    for (unsigned i = 0; i < KIND_COUNT; i++)
        before[i] = atomic_load(&state->rounds[i]);
    for (unsigned waited = 0; waited < CHECK_S * 20 && !moved; waited++) {
        sleep_us(50000);
        moved = true;
        for (unsigned i = 0; i < KIND_COUNT; i++) {
            rounds[i] = atomic_load(&state->rounds[i]) - before[i];
            moved = moved && rounds[i] >= rounds_wanted[i];
        }
    }
    for (unsigned i = 0; i < KIND_COUNT; i++) {
        uint64_t wrong = atomic_load(&state->broken[i]);

        printf("%s +%llu, %llu wrong\n", kind_name[i], (unsigned long long)rounds[i],
               (unsigned long long)wrong);
        broken = broken || wrong > 0;
    }
    return moved && !broken ? 0 : 1;
}

int main(int argc, char **argv)
{
    bool runs = argc == 5 && strcmp(argv[1], "run") == 0;

    if (!runs && (argc != 3 || strcmp(argv[1], "check") != 0)) {
        fprintf(stderr, "usage: load run FILE DISK ADDRESS | load check FILE\n");
        return 2;
    }
    if (state_map(argv[2]) < 0) {
        perror(argv[2]);
        return 2;
    }
    return runs ? run(argv[3], argv[4]) : check();
}
