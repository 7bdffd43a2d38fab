/* SPDX-License-Identifier: Apache-2.0 */
/* Parks, answers, says READY, and again, for ever; a counter in memory tells the rounds. */
#include "guest.h"

#define COUNTER_GPA 0x90000ul

GUEST_MAIN
{
    volatile uint64_t *counter = (volatile uint64_t *)COUNTER_GPA;

    for (;;) {
        park_and_answer(0);
        *counter += 1;
        if (mailbox()->op == DOORBELL_OP_RESTORE) {
            mailbox()->ready_status = (uint32_t)*counter;
            outl(DOORBELL_PORT_READY, (uint32_t)*counter);
        }
    }
}
