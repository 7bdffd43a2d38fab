/* SPDX-License-Identifier: Apache-2.0 */
/* Prints, then echoes what is typed, polling, until a 'q'; stops. */
#include "guest.h"

#define THR 0x3f8
#define LSR 0x3fd

static void put(uint8_t byte)
{
    while (!(inb(LSR) & 0x20))
        ;
    outb(THR, byte);
}

GUEST_MAIN
{
    uint8_t byte = 0;

    put('h');
    put('i');
    put('\n');
    while (byte != 'q') {
        while (!(inb(LSR) & 1))
            ;
        byte = inb(THR);
        put(byte);
    }
    stop();
}
