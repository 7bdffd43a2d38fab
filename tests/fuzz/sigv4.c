/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the reading of signatures: whatever stands in a request's head, what is read of it is within its
 * bounds, what is refused is refused with a sentence, and nothing matches a secret that was not used.
 * Input: lines, each ended by a NUL: method, target, then a header's name and value by turns. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "fuzz.h"
#include "http/sigv4.h"

#define HEADERS_MAX 32u
#define SECRET "a secret that no input has"

static void claim_check(const struct sigv4_claim *claim)
{
    const char *const texts[] = { claim->key_id,  claim->date,  claim->region,
                                  claim->service, claim->stamp, claim->signed_headers };
    const size_t rooms[] = { sizeof claim->key_id, sizeof claim->date,
                             sizeof claim->region, sizeof claim->service,
                             sizeof claim->stamp,  sizeof claim->signed_headers };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const size_t bytes = strnlen(texts[i], rooms[i]);

        if (bytes == 0 || bytes == rooms[i])
            abort();
    }
}

/* The next line of text; "" when there is no more. */
static const char *line(const char **at, const char *end)
{
    const char *text = *at;

    if (text >= end)
        return "";
    *at += strlen(text) + 1;
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const uint8_t body[SIGV4_SHA256_BYTES];
    char *text = malloc(bytes + 1);
    struct sigv4_header headers[HEADERS_MAX];
    struct sigv4_request request = { .headers = headers };
    struct sigv4_claim claim;
    struct err err = { 0 };
    const char *at = text;

    if (bytes)
        memcpy(text, data, bytes);
    text[bytes] = '\0';
    request.method = line(&at, text + bytes);
    request.target = line(&at, text + bytes);
    while (request.header_count < HEADERS_MAX && at < text + bytes) {
        struct sigv4_header *header = &headers[request.header_count++];

        header->name = line(&at, text + bytes);
        header->value = at < text + bytes ? line(&at, text + bytes) : NULL;
    }
    if (sigv4_read(&claim, &request, &err) == 0) {
        claim_check(&claim);
        if (sigv4_matches(&claim, &request, SECRET, body))
            abort();
        if (sigv4_check(&claim, &request, "lambda", 1440938160, &err) < 0 && !err.msg[0])
            abort();
    } else if (!err.msg[0]) {
        abort();
    }
    free(text);
    return 0;
}
