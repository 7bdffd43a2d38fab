/* SPDX-License-Identifier: Apache-2.0 */
/* What the rude guests share: a driver for virtio-mmio that does as little as it can and checks
 * nothing, and the page in which they tell the test what they saw. */
#ifndef VOLT_TESTS_RUDE_H
#define VOLT_TESTS_RUDE_H

#include "guest.h"

/* The test writes `seed` before the start and `stop` at any time, and reads the rest. */
#define RUDE_REPORT_GPA 0x90000u

struct rude_report {
    uint64_t seed;
    uint64_t rounds; /* how far it has come */
    uint64_t failed; /* one bit for each case that did not go as the guest expects */
    uint64_t broken; /* how often a device asked for a reset */
    uint64_t stop;   /* it has been long enough */
};

#ifndef RUDE_HOST_SIDE

#define SLOT_VSOCK 0u
#define SLOT_RNG 1u
#define QUEUE_NUM 8u
#define DESC_GPA 0x100000u
#define AVAIL_GPA 0x101000u
#define USED_GPA 0x102000u
#define BUFFER_GPA 0x103000u
#define BUFFER_BYTES 64u

#define REG_DRIVER_FEATURES 0x20u
#define REG_DRIVER_FEATURES_SEL 0x24u
#define REG_QUEUE_SEL 0x30u
#define REG_QUEUE_NUM 0x38u
#define REG_QUEUE_READY 0x44u
#define REG_QUEUE_NOTIFY 0x50u
#define REG_INTERRUPT_ACK 0x64u
#define REG_STATUS 0x70u
#define REG_QUEUE_DESC 0x80u
#define REG_QUEUE_DRIVER 0x90u
#define REG_QUEUE_DEVICE 0xa0u

#define STATUS_READY_FOR_QUEUES 0x0bu /* ACKNOWLEDGE, DRIVER, FEATURES_OK */
#define STATUS_DRIVER_OK 0x04u
#define STATUS_NEEDS_RESET 0x40u

#define DESC_F_NEXT 1u
#define DESC_F_WRITE 2u
#define DESC_F_INDIRECT 4u

struct desc {
    uint64_t gpa;
    uint32_t bytes;
    uint16_t flags, next;
};

struct rings {
    uint64_t desc, avail, used;
    uint32_t num;
};

static const struct rings good_rings = { DESC_GPA, AVAIL_GPA, USED_GPA, QUEUE_NUM };

static inline volatile struct rude_report *report(void)
{
    return (volatile struct rude_report *)(uintptr_t)RUDE_REPORT_GPA;
}

static inline volatile struct desc *desc_table(void)
{
    return (volatile struct desc *)(uintptr_t)DESC_GPA;
}

/* flags, idx, ring[]. */
static inline volatile uint16_t *avail_ring(void)
{
    return (volatile uint16_t *)(uintptr_t)AVAIL_GPA;
}

static inline volatile uint16_t *used_ring(void)
{
    return (volatile uint16_t *)(uintptr_t)USED_GPA;
}

/* The harness maps the first slot at 1 GiB, the others behind it. */
static inline volatile uint32_t *reg(uint32_t slot, uint32_t offset)
{
    return (volatile uint32_t *)(uintptr_t)(0x40000000u + slot * 0x1000u + offset);
}

static inline void reg_set64(uint32_t slot, uint32_t offset, uint64_t value)
{
    *reg(slot, offset) = (uint32_t)value;
    *reg(slot, offset + 4) = (uint32_t)(value >> 32);
}

/* Resets the device and sets up one queue; false when the device asks for a reset at once. */
static inline int device_start(uint32_t slot, uint32_t queue, const struct rings *rings)
{
    *reg(slot, REG_STATUS) = 0;
    for (uint32_t i = 0; i < 2 + QUEUE_NUM; i++)
        avail_ring()[i] = used_ring()[i] = 0;
    *reg(slot, REG_STATUS) = 3;
    *reg(slot, REG_DRIVER_FEATURES_SEL) = 1;
    *reg(slot, REG_DRIVER_FEATURES) = 1; /* VERSION_1 and nothing else */
    *reg(slot, REG_STATUS) = STATUS_READY_FOR_QUEUES;
    *reg(slot, REG_QUEUE_SEL) = queue;
    *reg(slot, REG_QUEUE_NUM) = rings->num;
    reg_set64(slot, REG_QUEUE_DESC, rings->desc);
    reg_set64(slot, REG_QUEUE_DRIVER, rings->avail);
    reg_set64(slot, REG_QUEUE_DEVICE, rings->used);
    *reg(slot, REG_QUEUE_READY) = 1;
    *reg(slot, REG_STATUS) = STATUS_READY_FOR_QUEUES | STATUS_DRIVER_OK;
    return !(*reg(slot, REG_STATUS) & STATUS_NEEDS_RESET);
}

/* Makes chains from `head` available, up to the index. */
static inline void offer(uint32_t slot, uint32_t queue, uint16_t head, uint16_t index)
{
    avail_ring()[2 + (uint16_t)(index - 1) % QUEUE_NUM] = head;
    avail_ring()[1] = index;
    *reg(slot, REG_QUEUE_NOTIFY) = queue;
}

/* A xorshift generator: the same seed is the same attack. */
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif /* RUDE_HOST_SIDE */

#endif
