/* SPDX-License-Identifier: Apache-2.0 */
/* One message of application/vnd.amazon.eventstream: lengths, their CRC-32, headers (texts), payload,
 * CRC-32 of all of it; numbers big-endian. Loop thread only. */
#ifndef VOLT_POOLD_EVENT_FRAME_H
#define VOLT_POOLD_EVENT_FRAME_H

#include <stddef.h>

#define EVENT_FRAME_OWN 192u /* more than what a message is longer than its payload */

/* The event's type and its payload's are texts of few bytes. ret_frame: EVENT_FRAME_OWN + bytes. Returns
 * the message's length. */
size_t event_frame_make(char *ret_frame, const char *type, const char *content_type,
                        const char *payload, size_t bytes);

#endif
