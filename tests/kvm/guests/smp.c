/* SPDX-License-Identifier: Apache-2.0 */
/* vCPU 0 parks, answers and parks again, for ever. The others count in a register and in memory at
 * once; one that finds the two apart, an exit's answer wrong, or no doorbell, says so and stops
 * counting. */
#include "smp.h"
#include "guest.h"

static void count(volatile struct smp_counter *counter)
{
    for (uint64_t rounds = 1;; rounds++) {
        if (counter->rounds != rounds - 1 || inl(RESULT_PORT) != UINT32_MAX ||
            inl(DOORBELL_PORT_PARK) != DOORBELL_MAGIC) {
            counter->wrong = 1;
            stop();
        }
        counter->rounds = rounds;
    }
}

GUEST_MAIN
{
    uint64_t index;

    __asm__ volatile("" : "=D"(index));
    if (index > 0)
        count((volatile struct smp_counter *)SMP_COUNTERS_GPA + index);
    for (;;)
        park_and_answer(0);
}
