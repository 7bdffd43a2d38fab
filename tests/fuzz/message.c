/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the reading of a guest's HTTP messages: whatever comes, in whatever pieces, what is taken of it is
 * within its bounds and has no line's end in it, and what is refused is refused with a sentence. Input:
 * a byte for the kind, then pieces, each a byte of length and that much of the message. */
#include <stdlib.h>
#include <string.h>

#include "functions/http_message.h"
#include "fuzz.h"

#define HEAD_MAX 256u
#define BODY_MAX 512u

static void text_check(const char *text)
{
    if (strlen(text) >= HEAD_MAX || strpbrk(text, "\r\n\x1b\x7f"))
        abort();
}

static void message_check(const struct http_message *message)
{
    if (message->body_bytes > BODY_MAX || message->header_count > HTTP_MESSAGE_HEADERS_MAX)
        abort();
    if (!message->whole)
        return;
    if (message->kind == HTTP_MESSAGE_REQUEST) {
        text_check(message->target);
        if (!*message->target || !*message->method)
            abort();
    } else if (message->status < 200 || message->status > 999) {
        abort();
    }
    for (unsigned i = 0; i < message->header_count; i++) {
        text_check(http_message_name(message, i));
        text_check(http_message_value(message, i));
        if (!*http_message_name(message, i) || strpbrk(http_message_name(message, i), " \t"))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input input = { data, bytes };
    const enum http_message_kind kind = fuzz_u8(&input) % 3;
    struct http_message message;
    struct err err = { 0 };
    int rc = 0;

    http_message_init(&message, HEAD_MAX, BODY_MAX, kind);
    while (rc == 0 && input.bytes > 0 && !message.whole) {
        char piece[256];
        const size_t wanted = fuzz_u8(&input), there = fuzz_take(&input, piece, wanted);

        rc = http_message_feed(&message, piece, there, &err);
    }
    if (rc == 0 && !message.whole)
        rc = http_message_end(&message, &err);
    if ((rc < 0) != (err.code != 0) || (rc == 0) != message.whole)
        abort();
    message_check(&message);
    http_message_fini(&message);
    return 0;
}
