/* SPDX-License-Identifier: Apache-2.0 */
/* JSON files that end in a seal: manifests of snapshots and of images. The last key is `"digest"`,
 * of all bytes before its line, so any changed byte is found. */
#ifndef VOLT_SNAPSHOT_SEALED_JSON_H
#define VOLT_SNAPSHOT_SEALED_JSON_H

#include <stddef.h>

#include "base/err.h"

enum seal {
    SEAL_CHECKSUM, /* format version 1: XXH3-128, 32 digits */
    SEAL_DIGEST,   /* all later ones: SHA-256, 64 digits */
};

/* Checks length and seal of text[0..len); nothing of it has been parsed. `file` begins the
 * sentences. *ret_seal is the kind that it has: the caller compares it with the format version. 0
 * or -EINVAL. Any thread. */
int sealed_json_check(const char *file, const char *text, size_t len, size_t max,
                      enum seal *ret_seal, struct err *err);

/* Seals the text of a JSON object as jansson indents it, ending in "\n}", with a digest. *ret_text
 * is malloc'ed, the caller's. 0 or -ENOMEM. */
int sealed_json_seal(const char *file, const char *body, char **ret_text, size_t *ret_len,
                     struct err *err);

#endif
