/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as text of others, into buffers of any size: what comes out ends in its buffer, is clean,
 * stays the same when it is cleaned again, and is taken by JSON. */
#include <assert.h>
#include <jansson.h>
#include <string.h>

#include "base/json_text.h"
#include "base/text.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char out[4096], again[sizeof out];

    if (size < 2 || size > 1024)
        return 0;
    size_t room = 16 + (data[0] | (size_t)data[1] << 8) % (sizeof out - 16);
    size_t used = text_clean(out, room, (const char *)data + 2, size - 2);

    assert(used < room && out[used] == '\0' && strlen(out) == used && text_is_clean(out));
    assert(text_clean(again, sizeof again, out, used) == used && strcmp(out, again) == 0);
    json_t *string = json_string(out);
    assert(string);
    json_decref(string);
    json_t *value = json_texts_clean(
        json_loadb((const char *)data + 2, size - 2, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL));
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    assert(!value || text);
    free(text);
    json_decref(value);
    return 0;
}
