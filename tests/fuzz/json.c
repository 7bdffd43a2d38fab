/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the JSON bodies of poold's API: whatever a client sends is refused with a sentence, or
 * leaves every field within its range. Input: a body. */
#include <stdlib.h>

#include "base/util.h"
#include "fuzz.h"
#include "http/json_keys.h"

struct body {
    char text[32], path[64], name[64];
    uint32_t count;
    uint64_t number, size;
    bool flag;
};

static const struct json_key keys[] = {
    JSON_TEXT_KEY(struct body, text, "text", JSON_KEY_TEXT, true, 1),
    JSON_TEXT_KEY(struct body, path, "path", JSON_KEY_PATH, false, 1),
    JSON_TEXT_KEY(struct body, name, "name", JSON_KEY_NAME, false, 1),
    JSON_NUMBER_KEY(struct body, count, "count", JSON_KEY_COUNT, false, 1, 64),
    JSON_NUMBER_KEY(struct body, number, "number", JSON_KEY_LONG, false, 0, 1ull << 40),
    JSON_NUMBER_KEY(struct body, size, "size", JSON_KEY_SIZE, false, 4096, 1ull << 36),
    { "flag", JSON_KEY_BOOL, false, 0, 0, offsetof(struct body, flag) },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    json_t *object = json_loadb((const char *)data, bytes, JSON_REJECT_DUPLICATES, NULL);
    struct body body = { .count = 1, .size = 4096 };
    struct err err = { 0 };

    if (!object)
        return 0;
    if (json_keys_read(object, keys, ARRAY_LEN(keys), &body, &err) == 0) {
        if (strlen(body.text) < 1 || strnlen(body.text, sizeof(body.text)) == sizeof(body.text) ||
            (body.path[0] && body.path[0] != '/') ||
            (body.name[0] && !pool_name_valid(body.name)) || body.count < 1 || body.count > 64 ||
            body.number > 1ull << 40 || body.size < 4096 || body.size > 1ull << 36)
            abort();
    } else if (err.msg[0] == '\0') {
        abort();
    }
    json_decref(object);
    return 0;
}
