/* SPDX-License-Identifier: Apache-2.0 */
/* Text on its way into JSON, or out of it. json_string() and json_pack()'s "s" give NULL for bytes
 * that are no UTF-8, and the key that they were for is silently lost: so poold's replies take their
 * texts from json_text, by json_pack's "o" (`tests/lint text` checks it). Any thread. */
#ifndef VOLT_BASE_JSON_TEXT_H
#define VOLT_BASE_JSON_TEXT_H

#include <jansson.h>

/* Longer texts are cut. */
#define JSON_TEXT_BYTES 16384u

/* The text, cleaned (base/text.h), as a new JSON string; never NULL. */
json_t *json_text(const char *text);

/* The same, but null for "". */
json_t *json_text_or_null(const char *text);

/* Cleans every string and key of a value that somebody else has written. Returns it. */
json_t *json_texts_clean(json_t *value);

#endif
