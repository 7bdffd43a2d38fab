/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums: XXH3-128, seed 0, in xxHash's canonical (big-endian) form. They find what a disk, a
 * copy or a crash did to bytes, several times faster than a digest (digest.h). They are no names:
 * other bytes with the same checksum are computed at once, so equal checksums say nothing about
 * bytes that somebody chose.
 *
 * Users: the sections of a state file (made while a guest is stopped; the manifest has the digest
 * of the whole file), the working set (a hint), and whatever format version 1 called a digest. */
#ifndef VOLT_SNAPSHOT_CHECKSUM_H
#define VOLT_SNAPSHOT_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/hex.h"

#define CHECKSUM_BYTES 16u
#define CHECKSUM_HEX_BYTES HEX_BYTES(CHECKSUM_BYTES)

struct checksum {
    uint8_t byte[CHECKSUM_BYTES];
};

/* Of bytes[0..len). Any thread. */
struct checksum checksum_of(const void *bytes, size_t len);

bool checksum_equal(const struct checksum *a, const struct checksum *b);

/* As it stands in error sentences: 32 hex digits. */
const char *checksum_to_hex(const struct checksum *checksum, char ret_hex[CHECKSUM_HEX_BYTES]);

#endif
