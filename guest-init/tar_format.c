/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and checksums of tar headers, for reading and writing. */
#include "tar.h"

#include <string.h>

uint32_t tar_header_sum(const struct tar_header *header)
{
    const uint8_t *bytes = (const uint8_t *)header;
    const size_t from = offsetof(struct tar_header, checksum);
    uint32_t sum = 0;

    for (size_t i = 0; i < TAR_BLOCK_BYTES; i++)
        sum += i >= from && i < from + sizeof(header->checksum) ? ' ' : bytes[i];
    return sum;
}

static bool base256_get(const uint8_t *field, size_t field_bytes, uint64_t *ret_value)
{
    uint64_t value = field[0] & 0x7f;

    if (field[0] & 0x40)
        return false; /* negative */
    for (size_t i = 1; i < field_bytes; i++) {
        if (value >> 55)
            return false;
        value = value << 8 | field[i];
    }
    *ret_value = value;
    return true;
}

bool tar_number_get(const char *field, size_t field_bytes, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t i = 0;

    if ((uint8_t)field[0] & 0x80)
        return base256_get((const uint8_t *)field, field_bytes, ret_value);
    while (i < field_bytes && field[i] == ' ')
        i++;
    for (; i < field_bytes && field[i] >= '0' && field[i] <= '7'; i++)
        value = value << 3 | (uint64_t)(field[i] - '0');
    if (i < field_bytes && field[i] != '\0' && field[i] != ' ')
        return false;
    *ret_value = value;
    return true;
}

void tar_number_put(char *field, size_t field_bytes, uint64_t value)
{
    const size_t digits = field_bytes - 1;
    uint64_t rest = value;

    if (digits * 3 < 64 && value >> (digits * 3)) {
        for (size_t i = field_bytes; i-- > 1; value >>= 8)
            field[i] = (char)(value & 0xff);
        field[0] = (char)0x80;
        return;
    }
    field[digits] = '\0';
    for (size_t i = digits; i-- > 0; rest >>= 3)
        field[i] = (char)('0' + (rest & 7));
}
