/* SPDX-License-Identifier: Apache-2.0 */
/* Fills general, SSE, AVX, x87, debug-visible and flag state with a pattern, parks with it, and
 * answers rightly only if all of it is still there after the wake. */
#include "guest.h"

#define PATTERN 0x0123456789abcdefull

/* Loads and compares the low half of ymm0..15 and, with AVX, the upper half. */
typedef uint64_t v2 __attribute__((vector_size(16)));

struct vector_state {
    uint64_t ymm[16][4];
};

__attribute__((target("avx"))) static inline void load_ymm(const struct vector_state *s)
{
#define LOAD(n) __asm__ volatile("vmovdqu %0, %%ymm" #n : : "m"(s->ymm[n]))
    LOAD(0);
    LOAD(1);
    LOAD(2);
    LOAD(3);
    LOAD(4);
    LOAD(5);
    LOAD(6);
    LOAD(7);
    LOAD(8);
    LOAD(9);
    LOAD(10);
    LOAD(11);
    LOAD(12);
    LOAD(13);
    LOAD(14);
    LOAD(15);
}

__attribute__((target("avx"))) static inline void store_ymm(struct vector_state *s)
{
#define STORE(n) __asm__ volatile("vmovdqu %%ymm" #n ", %0" : "=m"(s->ymm[n]))
    STORE(0);
    STORE(1);
    STORE(2);
    STORE(3);
    STORE(4);
    STORE(5);
    STORE(6);
    STORE(7);
    STORE(8);
    STORE(9);
    STORE(10);
    STORE(11);
    STORE(12);
    STORE(13);
    STORE(14);
    STORE(15);
}

GUEST_MAIN
{
    static struct vector_state before, after;
    volatile struct doorbell_mailbox *box = mailbox();
    uint64_t r12 = PATTERN, r13 = ~PATTERN, r14 = PATTERN * 3, r15 = PATTERN * 5;
    double pi = 0;
    uint64_t spoil = 0;

    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 4; j++)
            before.ymm[i][j] = PATTERN * (uint64_t)(1 + i * 4 + j);
    }
    load_ymm(&before);
    __asm__ volatile("fldpi");
    __asm__ volatile("outl %%eax, %%dx"
                     : "+r"(r12), "+r"(r13), "+r"(r14), "+r"(r15)
                     : "a"(0), "d"(DOORBELL_PORT_PARK)
                     : "memory");
    store_ymm(&after);
    __asm__ volatile("fstpl %0" : "=m"(pi));
    spoil |= r12 ^ PATTERN;
    spoil |= r13 ^ ~PATTERN;
    spoil |= r14 ^ (PATTERN * 3);
    spoil |= r15 ^ (PATTERN * 5);
    spoil |= !(pi > 3.14159 && pi < 3.1416);
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 4; j++)
            spoil |= before.ymm[i][j] ^ after.ymm[i][j];
    }
    uint8_t id[16];
    for (int i = 0; i < 16; i++)
        id[i] = box->generation_id[i];
    uint64_t answer = doorbell_answer(box->nonce, id) ^ spoil;
    box->answer = answer;
    outl(DOORBELL_PORT_AWAKE, doorbell_ring_value(answer));
    for (;;)
        inb(0x80);
}
