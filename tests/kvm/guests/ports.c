/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes ports and addresses that no device has, in every width; stops. */
#include "guest.h"

GUEST_MAIN
{
    uint32_t bad = 0;

    outb(0x0d00, 1);
    outw(0x0d00, 2);
    outl(0x0d00, 3);
    bad |= inb(0x0d00) != 0xff;
    bad |= inl(0x0d00) != 0xffffffffu;
    bad |= inl(DOORBELL_PORT_PARK) != DOORBELL_MAGIC;
    bad |= inb(DOORBELL_PORT_PARK) != 0xff;
    outb(DOORBELL_PORT_PARK, 0);  /* too narrow: ignored */
    outl(DOORBELL_PORT_AWAKE, 7); /* nothing is due: ignored */
    outl(DOORBELL_PORT_READY, 7);
    if (!bad)
        outl(DOORBELL_PORT_BANNER, 0);
    stop();
}
