/* SPDX-License-Identifier: Apache-2.0 */
/* The one digest of the snapshot format: XXH3-128, seed 0, in xxHash's canonical (big-endian)
 * form. It finds damage and mix-ups; it is not a MAC and does not stop a forger who can write the
 * store (the store is readable and writable by its owner only).
 */
#ifndef VOLT_SNAPSHOT_DIGEST_H
#define VOLT_SNAPSHOT_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES 16u
#define DIGEST_HEX_BYTES 33u /* with the NUL */

struct digest {
    uint8_t byte[DIGEST_BYTES];
};

/* XXH3-128 of bytes[0..len). Any thread. */
struct digest digest_of(const void *bytes, size_t len);

bool digest_equal(const struct digest *a, const struct digest *b);

/* Lower-case hex, as it stands in the manifest and in error sentences. */
const char *digest_to_hex(const struct digest *digest, char ret_hex[DIGEST_HEX_BYTES]);

/* Takes exactly 32 lower-case hex digits and a NUL; false on anything else. */
bool digest_from_hex(const char *hex, struct digest *ret_digest);

#endif
