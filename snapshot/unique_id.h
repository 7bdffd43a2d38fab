/* SPDX-License-Identifier: Apache-2.0 */
/* Unique ids: 16 random bytes that tell one snapshot, or one pack of chunks, from all others. They
 * say nothing of contents. */
#ifndef VOLT_SNAPSHOT_UNIQUE_ID_H
#define VOLT_SNAPSHOT_UNIQUE_ID_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/util.h"
#include "snapshot/hex.h"

#define UNIQUE_ID_BYTES 16u
#define UNIQUE_ID_HEX_BYTES HEX_BYTES(UNIQUE_ID_BYTES)

struct unique_id {
    uint8_t byte[UNIQUE_ID_BYTES];
};

static inline struct unique_id unique_id_make(void)
{
    struct unique_id id;

    random_bytes(id.byte, sizeof id.byte);
    return id;
}

static inline bool unique_id_equal(const struct unique_id *a, const struct unique_id *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static inline const char *unique_id_to_hex(const struct unique_id *id,
                                           char ret_hex[UNIQUE_ID_HEX_BYTES])
{
    return hex_format(id->byte, UNIQUE_ID_BYTES, ret_hex);
}

static inline bool unique_id_from_hex(const char *hex, struct unique_id *ret_id)
{
    return hex_parse(hex, ret_id->byte, UNIQUE_ID_BYTES);
}

#endif
