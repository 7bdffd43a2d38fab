/* SPDX-License-Identifier: Apache-2.0 */
/* Labels: what the client of a lease calls it, for people and scripts to find it by. Kept as the text
 * of a JSON object of strings with sorted keys, so that it goes into replies as it is, and into a
 * record of fixed size. Any thread. */
#ifndef VOLT_POOLD_LABELS_H
#define VOLT_POOLD_LABELS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

#define LABELS_BYTES 384u /* of the text, with its final 0 */
#define LABELS_MAX 16u
#define LABEL_KEY_BYTES_MAX 63u /* of A-Z a-z 0-9 - _ . / */

/* The text of an object that a client has sent; "" where it is empty. 0, or -EINVAL with a sentence:
 * it is no object of strings, a key is none, a value is not clean text (base/text.h), there are too
 * many, or all of it is too long. */
int labels_read(const json_t *object, char ret_text[LABELS_BYTES], struct err *err);
/* Whether text is what labels_read makes. */
bool labels_valid(const char *text);
/* Whether they have this one, "KEY=VALUE"; or, without a '=', one of that key. */
bool labels_have(const char *text, const char *wanted);

#endif
