/* SPDX-License-Identifier: Apache-2.0 */
/* JSON files that end in a digest of themselves: manifests of snapshots and of images. The last key
 * is `"digest"`, the XXH3-128 of all bytes before its line, so any changed byte is found. */
#ifndef VOLT_SNAPSHOT_SEALED_JSON_H
#define VOLT_SNAPSHOT_SEALED_JSON_H

#include <stddef.h>

#include "base/err.h"

/* Checks length and digest of text[0..len); nothing of it has been parsed. `file` begins the
 * sentences. 0 or -EINVAL. Any thread. */
int sealed_json_check(const char *file, const char *text, size_t len, size_t max, struct err *err);

/* Seals the text of a JSON object as jansson indents it, ending in "\n}". *ret_text is malloc'ed,
 * the caller's. 0 or -ENOMEM. */
int sealed_json_seal(const char *file, const char *body, char **ret_text, size_t *ret_len,
                     struct err *err);

#endif
