/* SPDX-License-Identifier: Apache-2.0 */
/* Parks and answers wrongly. */
#include "guest.h"

GUEST_MAIN
{
    park_and_answer(1);
    for (;;)
        outl(DOORBELL_PORT_PARK, 0);
}
