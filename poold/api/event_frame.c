/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the framing of AWS' event streams; see event_frame.h. */
#include "api/event_frame.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define PRELUDE_BYTES 12u
#define TYPE_TEXT 7

/* CRC-32 of IEEE 802.3, reflected: what a byte comes to. Made at the first use, which is the loop's, as
 * all others are. */
static uint32_t steps[256];

static void steps_make(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;

        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        steps[byte] = crc;
    }
}

static uint32_t crc32_of(const char *bytes, size_t count)
{
    uint32_t crc = UINT32_MAX;

    if (!steps[1])
        steps_make();
    for (size_t i = 0; i < count; i++)
        crc = crc >> 8 ^ steps[(crc ^ (unsigned char)bytes[i]) & 0xff];
    return ~crc;
}

static char *put_number(char *to, uint32_t number)
{
    number = htobe32(number);
    memcpy(to, &number, sizeof number);
    return to + sizeof number;
}

static char *put_header(char *to, const char *name, const char *value)
{
    const size_t name_bytes = strlen(name), value_bytes = strlen(value);

    *to++ = (char)name_bytes;
    memcpy(to, name, name_bytes);
    to += name_bytes;
    *to++ = TYPE_TEXT;
    *to++ = (char)(value_bytes >> 8);
    *to++ = (char)value_bytes;
    memcpy(to, value, value_bytes);
    return to + value_bytes;
}

size_t event_frame_make(char *ret_frame, const char *type, const char *content_type,
                        const char *payload, size_t bytes)
{
    char *const headers = ret_frame + PRELUDE_BYTES;
    char *at = put_header(headers, ":message-type", "event");
    size_t total;

    at = put_header(at, ":event-type", type);
    at = put_header(at, ":content-type", content_type);
    total = (size_t)(at - ret_frame) + bytes + sizeof(uint32_t);
    put_number(ret_frame, (uint32_t)total);
    put_number(ret_frame + 4, (uint32_t)(at - headers));
    put_number(ret_frame + 8, crc32_of(ret_frame, 8));
    memcpy(at, payload, bytes);
    put_number(at + bytes, crc32_of(ret_frame, total - sizeof(uint32_t)));
    return total;
}
