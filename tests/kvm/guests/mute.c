/* SPDX-License-Identifier: Apache-2.0 */
/* Parks, and never answers when it is woken: it computes for ever. */
#include "rude.h"

GUEST_MAIN
{
    outl(DOORBELL_PORT_PARK, 0);
    for (;;)
        report()->rounds++;
}
