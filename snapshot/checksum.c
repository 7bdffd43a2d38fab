/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the only use of xxHash: inlined here, so that no program needs its shared library. */
#include "snapshot/checksum.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct checksum checksum_of(const void *bytes, size_t len)
{
    struct checksum checksum;
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, len));
    _Static_assert(sizeof canonical == sizeof checksum, "XXH3-128 has 16 bytes");
    memcpy(&checksum, &canonical, sizeof checksum);
    return checksum;
}

bool checksum_equal(const struct checksum *a, const struct checksum *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

const char *checksum_to_hex(const struct checksum *checksum, char ret_hex[CHECKSUM_HEX_BYTES])
{
    return hex_format(checksum->byte, CHECKSUM_BYTES, ret_hex);
}
