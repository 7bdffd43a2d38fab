/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the entropy device again and again, with a chain of three descriptors that the test rewrites
 * at the same time; resets the device when it gives up. Never stops. */
#include "rude.h"

static void chain_write(void)
{
    for (uint16_t i = 0; i < 3; i++)
        desc_table()[i] = (struct desc){ BUFFER_GPA + i * BUFFER_BYTES, BUFFER_BYTES,
                                         DESC_F_WRITE | (i < 2 ? DESC_F_NEXT : 0), i + 1 };
}

GUEST_MAIN
{
    uint16_t index = 0;

    device_start(SLOT_RNG, 0, &good_rings);
    for (;;) {
        chain_write();
        offer(SLOT_RNG, 0, 0, ++index);
        report()->rounds++;
        if (!(*reg(SLOT_RNG, REG_STATUS) & STATUS_NEEDS_RESET))
            continue;
        report()->broken++;
        device_start(SLOT_RNG, 0, &good_rings);
        index = 0;
    }
}
