/* SPDX-License-Identifier: Apache-2.0 */
/* Touches an unmapped address with no interrupt table: page fault, double fault, triple fault. */
#include "guest.h"

GUEST_MAIN
{
    *(volatile uint32_t *)0x7f000000ul = 1;
    for (;;)
        ;
}
