/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as lower-case hex digits, the one form that digests, checksums and ids have in text. */
#ifndef VOLT_SNAPSHOT_HEX_H
#define VOLT_SNAPSHOT_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEX_BYTES(count) (2u * (count) + 1u) /* with the NUL */

/* Writes HEX_BYTES(count) characters; returns ret_hex. Any thread. */
const char *hex_format(const uint8_t *bytes, size_t count, char *ret_hex);

/* Takes exactly 2 * count lower-case hex digits and a NUL; false on anything else, and on NULL.
 * ret_bytes is untouched then. */
bool hex_parse(const char *hex, uint8_t *ret_bytes, size_t count);

#endif
