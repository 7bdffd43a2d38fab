/* SPDX-License-Identifier: Apache-2.0 */
/* Parks, and on waking parks again where its answer is due. */
#include "guest.h"

GUEST_MAIN
{
    for (;;)
        outl(DOORBELL_PORT_PARK, 0);
}
