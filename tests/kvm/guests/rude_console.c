/* SPDX-License-Identifier: Apache-2.0 */
/* Floods the console with half as much again as is kept of it, as fast as it can, without a look at
 * the line status. */
#include "rude.h"

#define THR 0x3f8
#define PIECE_BYTES 4096u
#define PIECES 24u

GUEST_MAIN
{
    for (uint32_t i = 0; i < PIECES; i++) {
        const uint8_t *from = (const uint8_t *)(uintptr_t)GUEST_CODE_GPA;
        uint64_t count = PIECE_BYTES;

        __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(THR) : "memory");
        report()->rounds++;
    }
    stop();
}
