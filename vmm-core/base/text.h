/* SPDX-License-Identifier: Apache-2.0 */
/* The gate for text of others (a VM's process, a guest, a file's name, a program that was started)
 * on its way into a log, JSON, a metric or a terminal: what comes out is one line of UTF-8 that shows
 * all that is in it. Any thread, no allocation. */
#ifndef VOLT_BASE_TEXT_H
#define VOLT_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Most bytes that one byte becomes: "\xff". Room for any text of n bytes: n * TEXT_GROWTH + 1. */
#define TEXT_GROWTH 4u

/* Writes src's bytes, up to the first NUL or src_bytes of them (SIZE_MAX: it has a NUL), as clean text with a final 0 into
 * dst, which does not overlap; dst_bytes is at least 16. What can't be seen or steers a terminal is
 * written as an escape: control characters and bytes that are no UTF-8 as \n, \t, \r or \xHH;
 * characters that are invisible, change the direction of text, end a line or have no meaning of
 * their own (private use, noncharacters) as \u{HEX}. A backslash stays as it is. What does not fit
 * is cut between characters, and "..." ends the text then. Returns its length. */
size_t text_clean(char *dst, size_t dst_bytes, const char *src, size_t src_bytes);

/* Whether text_clean would change nothing in it, however long it is. */
bool text_is_clean(const char *text);

#endif
