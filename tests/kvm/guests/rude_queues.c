/* SPDX-License-Identifier: Apache-2.0 */
/* Breaks every rule of virtqueues in turn, on every queue of every device. Each time the device
 * must ask for a reset, and work again after it. */
#include "rude.h"

#define GUEST_RAM_END (32ull << 20)
/* The device thread has its own pace. */
#define PATIENCE 2000000u

struct rude_case {
    struct desc desc[3];
    uint16_t head;
    uint16_t index; /* avail.idx at once */
};

#define FINE(flags, next)                                                                          \
    {                                                                                              \
        BUFFER_GPA, BUFFER_BYTES, flags, next                                                      \
    }

static const struct rude_case cases[] = {
    { { FINE(DESC_F_NEXT | DESC_F_WRITE, 0) }, 0, 1 },             /* a loop of one */
    { { FINE(DESC_F_NEXT, 1), FINE(DESC_F_NEXT, 0) }, 0, 1 },      /* and of two */
    { { FINE(DESC_F_NEXT | DESC_F_WRITE, QUEUE_NUM) }, 0, 1 },     /* next out of the table */
    { { FINE(DESC_F_NEXT | DESC_F_WRITE, 0xffff) }, 0, 1 },        /* far out */
    { { { GUEST_RAM_END, 64, DESC_F_WRITE, 0 } }, 0, 1 },          /* outside memory */
    { { { GUEST_RAM_END - 1, 2, DESC_F_WRITE, 0 } }, 0, 1 },       /* across its end */
    { { { 0xfffffffffffff000, 0x2000, DESC_F_WRITE, 0 } }, 0, 1 }, /* wraps around */
    { { { 0, 0xffffffff, DESC_F_WRITE, 0 } }, 0, 1 },              /* all there is and more */
    { { { 0xd0000000, 64, DESC_F_WRITE, 0 } }, 0, 1 },             /* the device itself */
    { { { BUFFER_GPA, 0, DESC_F_WRITE, 0 } }, 0, 1 },              /* nothing */
    { { FINE(DESC_F_INDIRECT, 0) }, 0, 1 },                        /* not offered */
    { { FINE(DESC_F_NEXT | DESC_F_WRITE, 1), FINE(0, 0) }, 0, 1 }, /* readable after writable */
    { { FINE(DESC_F_WRITE, 0) }, QUEUE_NUM, 1 },                   /* head out of the table */
    { { FINE(DESC_F_WRITE, 0) }, 0xffff, 1 },                      /* far out */
    { { FINE(DESC_F_WRITE, 0) }, 0, QUEUE_NUM + 1 },               /* more than the ring holds */
    { { FINE(DESC_F_WRITE, 0) }, 0, 0xffff },                      /* an index that went back */
};

static const struct rings bad_rings[] = {
    { GUEST_RAM_END, AVAIL_GPA, USED_GPA, QUEUE_NUM },
    { DESC_GPA, 1ull << 63, USED_GPA, QUEUE_NUM },
    { DESC_GPA, AVAIL_GPA, ~3ull, QUEUE_NUM },
    { DESC_GPA + 8, AVAIL_GPA, USED_GPA, QUEUE_NUM },
    { DESC_GPA, AVAIL_GPA + 1, USED_GPA, QUEUE_NUM },
    { DESC_GPA, AVAIL_GPA, USED_GPA + 2, QUEUE_NUM },
    { DESC_GPA, AVAIL_GPA, USED_GPA, 0 },
    { DESC_GPA, AVAIL_GPA, USED_GPA, 3 },
    { DESC_GPA, AVAIL_GPA, USED_GPA, 512 },
    { DESC_GPA, AVAIL_GPA, USED_GPA, 65536 + 8 },
    { 0xd0000000, 0xd0000000, 0xd0000000, QUEUE_NUM },
};

#define CASE_COUNT (sizeof cases / sizeof cases[0])
#define RINGS_COUNT (sizeof bad_rings / sizeof bad_rings[0])

static int asks_for_reset(uint32_t slot)
{
    for (uint32_t i = 0; i < PATIENCE; i++) {
        if (*reg(slot, REG_STATUS) & STATUS_NEEDS_RESET)
            return 1;
    }
    return 0;
}

static int try_case(uint32_t slot, uint32_t queue, const struct rude_case *attack)
{
    for (uint32_t i = 0; i < 3; i++)
        desc_table()[i] = attack->desc[i];
    if (!device_start(slot, queue, &good_rings))
        return 0;
    offer(slot, queue, attack->head, attack->index);
    return asks_for_reset(slot);
}

/* The entropy device serves a request that is as it should be. */
static int rng_works(void)
{
    volatile uint64_t *buffer = (volatile uint64_t *)(uintptr_t)BUFFER_GPA;

    buffer[0] = buffer[1] = 0;
    desc_table()[0] = (struct desc){ BUFFER_GPA, BUFFER_BYTES, DESC_F_WRITE, 0 };
    if (!device_start(SLOT_RNG, 0, &good_rings))
        return 0;
    offer(SLOT_RNG, 0, 0, 1);
    for (uint32_t i = 0; i < PATIENCE && used_ring()[1] == 0; i++)
        (void)*reg(SLOT_RNG, REG_STATUS);
    return used_ring()[1] == 1 && (buffer[0] | buffer[1]) != 0;
}

/* vsock's receive queue is looked at when there is something to say, which is never here; its
 * transmit queue and the entropy queue at every notification. */
static const struct {
    uint32_t slot, queue;
} targets[] = { { SLOT_VSOCK, 1 }, { SLOT_RNG, 0 } };

static void tell(uint32_t bit, int went_well)
{
    if (!went_well)
        report()->failed |= 1ull << bit;
    report()->rounds++;
}

GUEST_MAIN
{
    for (uint32_t target = 0; target < 2; target++) {
        uint32_t slot = targets[target].slot, queue = targets[target].queue;

        for (uint32_t i = 0; i < CASE_COUNT; i++)
            tell(i, try_case(slot, queue, &cases[i]) && rng_works());
        for (uint32_t i = 0; i < RINGS_COUNT; i++)
            tell(CASE_COUNT + i, !device_start(slot, queue, &bad_rings[i]) && rng_works());
    }
    stop();
}
