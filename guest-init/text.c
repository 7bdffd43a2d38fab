/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded text and error sentences: see text.h. */
#include "text.h"

#include <string.h>

void text_init(struct text *text, char *buffer, size_t buffer_bytes)
{
    text->data = buffer;
    text->length = 0;
    text->room = buffer_bytes;
    buffer[0] = '\0';
}

void text_add_bytes(struct text *text, const char *bytes, size_t count)
{
    count = MIN_OF(count, text->room - 1 - text->length);
    memcpy(text->data + text->length, bytes, count);
    text->length += count;
    text->data[text->length] = '\0';
}

void text_add(struct text *text, const char *string)
{
    text_add_bytes(text, string, strlen(string));
}

void text_add_u64(struct text *text, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    text_add_bytes(text, digits + at, sizeof(digits) - at);
}

void text_pad(struct text *text, size_t column)
{
    while (text->length < column && text->length + 1 < text->room)
        text_add(text, " ");
}

int64_t text_to_number(const char *string, int64_t max)
{
    int64_t value = 0;

    if (!*string)
        return -1;
    for (; *string; string++) {
        if (*string < '0' || *string > '9')
            return -1;
        value = value * 10 + (*string - '0');
        if (value > max)
            return -1;
    }
    return value;
}

int fail_set(struct fail *fail, int code, const char *what, const char *subject, const char *why)
{
    struct text text;

    fail->code = code;
    text_init(&text, fail->sentence, sizeof(fail->sentence));
    text_add(&text, what);
    if (subject) {
        text_add(&text, " '");
        /* A long path must not push the reason out. */
        text_add_bytes(&text, subject, MIN_OF(strlen(subject), 160));
        text_add(&text, "'");
    }
    if (why)
        text_add(&text, why);
    return -code;
}

int fail_set_errno(struct fail *fail, int code, const char *what, const char *subject)
{
    char why[80];
    struct text text;

    text_init(&text, why, sizeof(why));
    text_add(&text, ": ");
    text_add(&text, strerror(code));
    return fail_set(fail, code, what, subject, why);
}
