/* SPDX-License-Identifier: Apache-2.0 */
/* Rings every doorbell port a hundred thousand times and more when nothing is due, or once, then stops. */
#include "guest.h"

GUEST_MAIN
{
    for (uint32_t i = 0; i < 25000; i++) {
        outl(DOORBELL_PORT_AWAKE, i);
        outl(DOORBELL_PORT_READY, i);
        outb(DOORBELL_PORT_PARK, (uint8_t)i);
        inb(DOORBELL_PORT_BANNER);
        outl(DOORBELL_PORT_BANNER, DOORBELL_BANNER_FAILED);
    }
    stop();
}
