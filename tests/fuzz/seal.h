/* SPDX-License-Identifier: Apache-2.0 */
/* Makes what a fuzzer wrote a sealed file: a forger can do that too, and without it no input would
 * get past the digest. */
#ifndef VOLT_FUZZ_SEAL_H
#define VOLT_FUZZ_SEAL_H

#include <stdio.h>

#include "snapshot/checksum.h"
#include "snapshot/digest.h"

#define SEAL_ROOM 128u /* bytes behind the text */

/* Puts the last lines behind text[0..len), as format version 1 had them or as they are today.
 * Returns the length of all. */
static inline size_t seal(char *text, size_t len, bool v1)
{
    char hex[DIGEST_HEX_BYTES];
    struct digest digest = digest_of(text, len);
    struct checksum sum = checksum_of(text, len);

    return len + (size_t)snprintf(text + len, SEAL_ROOM, "  \"digest\": \"%s\"\n}\n",
                                  v1 ? checksum_to_hex(&sum, hex) : digest_to_hex(&digest, hex));
}

#endif
