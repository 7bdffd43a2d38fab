/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded text without stdio, and the error object of volt-init: stdio alone would take a quarter
 * of the program's size limit. Everything here is pure and compiles for host tests too.
 */
#ifndef GUEST_TEXT_H
#define GUEST_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))

/* A growing string in a caller's buffer. Always NUL-terminated; what does not fit is cut. */
struct text {
    char *data;
    size_t length;
    size_t room; /* bytes of data, with the NUL */
};

void text_init(struct text *text, char *buffer, size_t buffer_bytes);
void text_add(struct text *text, const char *string);
void text_add_bytes(struct text *text, const char *bytes, size_t count);
void text_add_u64(struct text *text, uint64_t value);
/* Adds spaces until the text is `column` long. */
void text_pad(struct text *text, size_t column);

/* Parses the decimal number that `string` is, whole. -1: not a number, or above `max`. */
int64_t text_to_number(const char *string, int64_t max);

/* What went wrong: an errno value and a sentence. Owned by the caller, any use. */
struct fail {
    int code;
    char sentence[320];
};

/* Sets code and "<what> '<subject>'<why>"; subject and why may be NULL. Returns -code. */
int fail_set(struct fail *fail, int code, const char *what, const char *subject, const char *why);

/* The same with ": " and strerror(code) as the reason. */
int fail_set_errno(struct fail *fail, int code, const char *what, const char *subject);

#endif
