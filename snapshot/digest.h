/* SPDX-License-Identifier: Apache-2.0 */
/* Digests: SHA-256, the names of contents. Two contents with one digest can't be made, by whoever
 * chooses them, so what has an equal digest may be taken for the same: chunks of images, the images
 * themselves, and every part that a snapshot's manifest speaks of.
 *
 * A digest says nothing of who made the contents: it is no MAC. What is only to be found damaged
 * has a checksum (checksum.h); what is only to be told apart, a random id (unique_id.h).
 *
 * SHA-256 is OpenSSL's, by its low-level functions: no table of algorithms is loaded, nothing is
 * allocated, no file is read, and it fits into the process that VMs are forked from. It picks the
 * CPU's SHA instructions, AVX2 or plain code when the program starts. Any thread. */
#ifndef VOLT_SNAPSHOT_DIGEST_H
#define VOLT_SNAPSHOT_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/hex.h"

#define DIGEST_BYTES 32u
#define DIGEST_HEX_BYTES HEX_BYTES(DIGEST_BYTES)

struct digest {
    uint8_t byte[DIGEST_BYTES];
};

/* Of bytes[0..len). */
struct digest digest_of(const void *bytes, size_t len);

/* The same of bytes that come in pieces: start, add each, end. */
struct digest_work {
    _Alignas(8) uint8_t state[112];
};
void digest_start(struct digest_work *work);
void digest_add(struct digest_work *work, const void *bytes, size_t len);
struct digest digest_end(struct digest_work *work);

/* digest_add to both, `len` bytes each: on a CPU with SHA instructions in little more than the time of
 * one, if both have had whole blocks of 64 bytes until now. */
void digest_add_both(struct digest_work *a, const void *a_bytes, struct digest_work *b,
                     const void *b_bytes, size_t len);

bool digest_equal(const struct digest *a, const struct digest *b);

/* All bytes zero: no contents have that one; it stands for none. */
bool digest_is_none(const struct digest *digest);

/* As it stands in manifests and in error sentences: 64 hex digits. */
const char *digest_to_hex(const struct digest *digest, char ret_hex[DIGEST_HEX_BYTES]);
bool digest_from_hex(const char *hex, struct digest *ret_digest);

#endif
