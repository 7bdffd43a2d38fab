/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes what the gateway for E2B reads: a client's envelope, base64, and a guest's entries of files.
 * Input: a byte that says which, and what is read. */
#include <stdlib.h>
#include <string.h>

#include "e2b/guest_command.h"
#include "e2b/rpc.h"
#include "fuzz.h"

static void envelope_check(const char *data, size_t bytes)
{
    const char *message;
    size_t message_bytes;
    struct err err = { 0 };

    if (rpc_envelope_parse(data, bytes, &message, &message_bytes, &err) == 0) {
        if (message != data + RPC_ENVELOPE_BYTES || message_bytes + RPC_ENVELOPE_BYTES != bytes)
            abort();
    } else if (!err.msg[0]) {
        abort();
    }
}

/* What is decoded is encoded as the same again. */
static void base64_check(const char *data, size_t bytes)
{
    json_t *text = json_stringn_nocheck(data, bytes);
    size_t count = 0, again_count = 0;
    uint8_t *decoded = rpc_bytes_decode(text, &count);

    if (decoded) {
        json_t *encoded = rpc_bytes_encode(decoded, count);
        uint8_t *again = rpc_bytes_decode(encoded, &again_count);

        if (!again || again_count != count || memcmp(again, decoded, count) != 0)
            abort();
        free(again);
        json_decref(encoded);
    }
    free(decoded);
    json_decref(text);
}

static void entries_check(const uint8_t *data, size_t bytes)
{
    size_t at = 0, count = 0;
    json_t *entry;

    while ((entry = guest_entry_parse(data + at, bytes - at, &count)) != NULL) {
        if (count < FILES_ENTRY_FIELDS || count > bytes - at ||
            !json_is_string(json_object_get(entry, "path")))
            abort();
        char *text = json_dumps(entry, JSON_COMPACT);
        if (!text)
            abort();
        free(text);
        json_decref(entry);
        at += count;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *copy;

    if (bytes < 1)
        return 0;
    copy = malloc(bytes); /* of its very size, so that a byte too much is seen */
    if (!copy)
        return 0;
    memcpy(copy, data + 1, bytes - 1);
    if (data[0] == 'e')
        envelope_check(copy, bytes - 1);
    else if (data[0] == 'b')
        base64_check(copy, bytes - 1);
    else
        entries_check((const uint8_t *)copy, bytes - 1);
    free(copy);
    return 0;
}
