/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the reading of a guest's HTTP answer: whatever comes, in whatever pieces, what is taken of it is
 * within its bounds and has no line's end in it, and what is refused is refused with a sentence. Input:
 * a byte of flags, then pieces, each a byte of length and that much of the answer. */
#include <stdlib.h>
#include <string.h>

#include "functions/http_answer.h"
#include "fuzz.h"

#define HEAD_MAX 256u
#define BODY_MAX 512u

static void text_check(const char *text)
{
    if (strlen(text) >= HEAD_MAX || strpbrk(text, "\r\n\x1b\x7f"))
        abort();
}

static void answer_check(const struct http_answer *answer)
{
    if (answer->body_bytes > BODY_MAX || answer->header_count > HTTP_ANSWER_HEADERS_MAX)
        abort();
    if (!answer->whole)
        return;
    if (answer->status < 200 || answer->status > 999)
        abort();
    for (unsigned i = 0; i < answer->header_count; i++) {
        text_check(http_answer_name(answer, i));
        text_check(http_answer_value(answer, i));
        if (!*http_answer_name(answer, i) || strpbrk(http_answer_name(answer, i), " \t"))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input input = { data, bytes };
    struct http_answer answer;
    struct err err = { 0 };
    int rc = 0;

    http_answer_init(&answer, HEAD_MAX, BODY_MAX, fuzz_u8(&input) & 1);
    while (rc == 0 && input.bytes > 0 && !answer.whole) {
        char piece[256];
        const size_t wanted = fuzz_u8(&input), there = fuzz_take(&input, piece, wanted);

        rc = http_answer_feed(&answer, piece, there, &err);
    }
    if (rc == 0 && !answer.whole)
        rc = http_answer_end(&answer, &err);
    if ((rc < 0) != (err.code != 0) || (rc == 0) != answer.whole)
        abort();
    answer_check(&answer);
    http_answer_fini(&answer);
    return 0;
}
