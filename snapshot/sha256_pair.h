/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256's compression of two messages at once, by the CPU's SHA instructions.
 *
 * Each round waits for the one before it, so that one message leaves half of such a CPU's unit idle:
 * two that take turns are hashed in little more than the time of one. Nothing else of SHA-256 is here;
 * digest.h has it. Any thread. */
#ifndef VOLT_SNAPSHOT_SHA256_PAIR_H
#define VOLT_SNAPSHOT_SHA256_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_BLOCK_BYTES 64u

/* Whether this CPU has what the next needs. */
bool sha256_pair_supported(void);

/* Goes on with both: `blocks` whole blocks at a into a_state, as many at b into b_state, which are the
 * eight words of FIPS 180-4's hash value, in the host's byte order. */
void sha256_pair(uint32_t a_state[8], const uint8_t *a, uint32_t b_state[8], const uint8_t *b,
                 size_t blocks);

#endif
