/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel of a hundred instructions, booted as Linux is: prints, says that it is up, parks; answers
 * what wakes it, says READY to a restore, prints again, and parks where it may, or resets. */
#include "guest.h"

#define UART_PORT 0x3f8

static void print(const char *text)
{
    for (; *text; text++)
        outb(UART_PORT, (uint8_t)*text);
}

GUEST_MAIN
{
    print("up\n");
    outl(DOORBELL_PORT_BANNER, 0);
    for (;;) {
        park_and_answer(0);
        if (mailbox()->op == DOORBELL_OP_RESTORE) {
            mailbox()->ready_status = 0;
            outl(DOORBELL_PORT_READY, 0);
        }
        print("awake\n");
        if (!(mailbox()->flags & (DOORBELL_FLAG_PARK_AGAIN | DOORBELL_FLAG_PARK_LATER)))
            stop();
    }
}
