/* SPDX-License-Identifier: Apache-2.0 */
/* What a test's guest program runs on: ring 3 of long mode with IOPL 3, the first 2 MiB
 * identity-mapped, stack below GUEST_STACK_GPA, no interrupt table. Freestanding; a flat binary
 * linked at GUEST_CODE_GPA whose first function is guest_main. */
#ifndef VOLT_TESTS_GUEST_H
#define VOLT_TESTS_GUEST_H

#include <stdint.h>

#include "guest_abi.h"

#define GUEST_CODE_GPA 0x10000u
#define GUEST_STACK_GPA 0x70000u
#define GUEST_STACK_BYTES 0x4000u /* of each vCPU */

#define GUEST_MAIN __attribute__((section(".text.guest_main"), used)) void guest_main(void)

/* Ports that no device has: the harness reads what is written there as results. */
#define RESULT_PORT 0x0c00u

static inline void outb(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void outw(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t inb(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline uint32_t inl(uint16_t port)
{
    uint32_t value;

    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline volatile struct doorbell_mailbox *mailbox(void)
{
    return (volatile struct doorbell_mailbox *)(uintptr_t)DOORBELL_MAILBOX_GPA;
}

/* Parks; on waking stores the right answer, spoilt by `spoil`, and rings. */
static inline void park_and_answer(uint64_t spoil)
{
    volatile struct doorbell_mailbox *box = mailbox();
    uint8_t id[16];

    outl(DOORBELL_PORT_PARK, 0);
    for (int i = 0; i < 16; i++)
        id[i] = box->generation_id[i];
    uint64_t answer = doorbell_answer(box->nonce, id) ^ spoil;
    box->answer = answer;
    outl(DOORBELL_PORT_AWAKE, doorbell_ring_value(answer));
}

static inline void stop(void)
{
    for (;;)
        outb(0x64, 0xfe);
}

#endif
