/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes random values, in random widths, at random registers of every device. What it
 * sets up by chance may well overwrite its own memory. */
#include "rude.h"

#define ROUNDS 30000u
#define I8042_COMMAND 0x64

static const uint16_t ports[] = {
    0x3f8,
    0x3f9,
    0x3fa,
    0x3fb,
    0x3fc,
    0x3fd,
    0x3fe,
    0x3ff,
    0x60,
    0x61,
    I8042_COMMAND,
    DOORBELL_PORT_AWAKE,
    DOORBELL_PORT_READY,
    DOORBELL_PORT_BANNER,
};

static void poke_port(uint64_t word)
{
    uint16_t port = ports[(word >> 8) % (sizeof ports / sizeof ports[0])];
    uint32_t value = (uint32_t)(word >> 32);

    /* A pulse of the reset line would end the attack. */
    if (port == I8042_COMMAND)
        value &= 0x7f;
    switch (word & 7) {
    case 0:
        inb(port);
        break;
    case 1:
        inl(port);
        break;
    case 2:
        outw(port == I8042_COMMAND ? 0x62 : port, (uint16_t)value);
        break;
    case 3:
        outl(port == I8042_COMMAND ? 0x62 : port, value);
        break;
    default:
        outb(port, (uint8_t)value);
        break;
    }
}

static void poke_register(uint64_t word)
{
    uint32_t slot = word >> 8 & 1;
    uint32_t offset = (word >> 16 & 0x1ff) & ~3u;
    uint32_t value = (uint32_t)(word >> 32);

    /* Half of the addresses point into memory, so that queues do come up. */
    if (word >> 9 & 1)
        value &= 0x1ff000;
    if (offset == REG_QUEUE_NUM)
        value = 1u << (value & 0x1f);
    if (offset == REG_STATUS || offset == REG_QUEUE_SEL)
        value &= 0x0f;
    switch (word & 7) {
    case 0:
        (void)*reg(slot, offset);
        break;
    case 1:
        (void)*((volatile uint8_t *)reg(slot, offset) + (value & 3));
        break;
    case 2:
        *((volatile uint16_t *)reg(slot, offset) + (value & 1)) = (uint16_t)value;
        break;
    default:
        *reg(slot, offset) = value;
        break;
    }
}

GUEST_MAIN
{
    uint64_t state = report()->seed | 1;

    for (uint32_t i = 0; i < ROUNDS && !report()->stop; i++) {
        uint64_t word = random_next(&state);

        if (word >> 63)
            poke_port(word);
        else
            poke_register(word);
        report()->rounds = i + 1;
    }
    stop();
}
