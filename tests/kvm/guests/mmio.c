/* SPDX-License-Identifier: Apache-2.0 */
/* Reads an address that is neither RAM nor a device, then a virtio magic; reports by the banner. */
#include "guest.h"

/* The harness maps guest virtual 0x40000000 to the MMIO gap. */
#define MMIO_VIRTUAL 0x40000000ul

GUEST_MAIN
{
    volatile uint32_t *gap = (volatile uint32_t *)MMIO_VIRTUAL;

    if (gap[0x100000 / 4] == 0xffffffffu && gap[0] == 0x74726976u && gap[1] == 2)
        outl(DOORBELL_PORT_BANNER, 0);
    gap[0x100000 / 4] = 5;
    stop();
}
