/* SPDX-License-Identifier: Apache-2.0 */
/* Raises interrupts as fast as it can: the UART's by switching it on and off, the entropy device's
 * by requests and notifications, and acknowledges none but by accident. */
#include "rude.h"

#define IER 0x3f9
#define IER_ALL 0x0f
#define ROUNDS 10000u

GUEST_MAIN
{
    desc_table()[0] = (struct desc){ BUFFER_GPA, BUFFER_BYTES, DESC_F_WRITE, 0 };
    device_start(SLOT_RNG, 0, &good_rings);
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        outb(IER, i & 1 ? IER_ALL : 0);
        offer(SLOT_RNG, 0, 0, (uint16_t)i);
        *reg(SLOT_RNG, REG_QUEUE_NOTIFY) = i; /* mostly no such queue */
        if (i % 64 == 0)
            *reg(SLOT_RNG, REG_INTERRUPT_ACK) = i;
        report()->rounds = i;
    }
    stop();
}
