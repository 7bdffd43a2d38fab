/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the only use of xxHash: inlined here, so that no program needs its shared library. */
#include "snapshot/digest.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct digest digest_of(const void *bytes, size_t len)
{
    struct digest digest;
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, len));
    _Static_assert(sizeof canonical == sizeof digest, "XXH3-128 has 16 bytes");
    memcpy(&digest, &canonical, sizeof digest);
    return digest;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

const char *digest_to_hex(const struct digest *digest, char ret_hex[DIGEST_HEX_BYTES])
{
    static const char hex[] = "0123456789abcdef";

    for (unsigned i = 0; i < DIGEST_BYTES; i++) {
        ret_hex[2 * i] = hex[digest->byte[i] >> 4];
        ret_hex[2 * i + 1] = hex[digest->byte[i] & 15];
    }
    ret_hex[2 * DIGEST_BYTES] = '\0';
    return ret_hex;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool digest_from_hex(const char *hex, struct digest *ret_digest)
{
    struct digest digest;

    for (unsigned i = 0; i < DIGEST_BYTES; i++) {
        int high = hex_value(hex[2 * i]);
        int low = high < 0 ? -1 : hex_value(hex[2 * i + 1]);

        if (low < 0)
            return false;
        digest.byte[i] = (uint8_t)(high << 4 | low);
    }
    if (hex[2 * DIGEST_BYTES] != '\0')
        return false;
    *ret_digest = digest;
    return true;
}
