/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what clean text is; see text.h. */
#include "base/text.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

#define ESCAPE_BYTES 11u /* "\u{10ffff}" with a final 0 */
#define CUT "..."

/* Characters that are written as escapes, in order: the control characters, Unicode's
 * Default_Ignorable_Code_Point and Bidi_Control, line and paragraph separator, annotations, private
 * use, and noncharacters (but for the last two of each plane, which unseen() knows). */
static const struct {
    uint32_t first, last;
} unseen_ranges[] = {
    { 0x0000, 0x001f },   { 0x007f, 0x009f },   { 0x00ad, 0x00ad },     { 0x034f, 0x034f },
    { 0x061c, 0x061c },   { 0x115f, 0x1160 },   { 0x17b4, 0x17b5 },     { 0x180b, 0x180f },
    { 0x200b, 0x200f },   { 0x2028, 0x202e },   { 0x2060, 0x206f },     { 0x3164, 0x3164 },
    { 0xe000, 0xf8ff },   { 0xfdd0, 0xfdef },   { 0xfe00, 0xfe0f },     { 0xfeff, 0xfeff },
    { 0xffa0, 0xffa0 },   { 0xfff0, 0xfffb },   { 0x1bca0, 0x1bca3 },   { 0x1d173, 0x1d17a },
    { 0xe0000, 0xe0fff }, { 0xf0000, 0xfffff }, { 0x100000, 0x10ffff },
};

static bool unseen(uint32_t c)
{
    if (c >= ' ' && c < 0x7f)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(unseen_ranges) && unseen_ranges[i].first <= c; i++) {
        if (c <= unseen_ranges[i].last)
            return true;
    }
    return (c & 0xfffe) == 0xfffe;
}

/* By their first byte: how long characters are, and the least that is not shorter in fewer bytes. */
static const struct {
    uint8_t mask, lead, bytes;
    uint32_t least;
} forms[] = {
    { 0x80, 0x00, 1, 0 },
    { 0xe0, 0xc0, 2, 0x80 },
    { 0xf0, 0xe0, 3, 0x800 },
    { 0xf8, 0xf0, 4, 0x10000 },
};

/* The character at the start of `bytes` (at least 1) of src. Its length; 0: it is no UTF-8. */
static size_t decode(const uint8_t *src, size_t bytes, uint32_t *ret_c)
{
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        uint32_t c = src[0] & (uint8_t)~forms[i].mask;

        if ((src[0] & forms[i].mask) != forms[i].lead)
            continue;
        if (forms[i].bytes > bytes)
            return 0;
        for (size_t j = 1; j < forms[i].bytes; j++) {
            if ((src[j] & 0xc0) != 0x80)
                return 0;
            c = c << 6 | (src[j] & 0x3f);
        }
        *ret_c = c;
        return c < forms[i].least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0
                                                                                  : forms[i].bytes;
    }
    return 0;
}

static int escape(char text[ESCAPE_BYTES], uint8_t byte, bool is_character, uint32_t c)
{
    static const char letters[] = { ['\t'] = 't', ['\n'] = 'n', ['\r'] = 'r' };

    if (is_character && c < sizeof letters && letters[c])
        return snprintf(text, ESCAPE_BYTES, "\\%c", letters[c]);
    if (is_character && c >= 0x80)
        return snprintf(text, ESCAPE_BYTES, "\\u{%x}", c);
    return snprintf(text, ESCAPE_BYTES, "\\x%02x", byte);
}

/* What the next character, or byte that is part of none, is written as: its length in *ret_out, and
 * how much of src it takes. */
static size_t next_piece(const uint8_t *src, size_t bytes, char escaped[ESCAPE_BYTES],
                         const char **ret_text, size_t *ret_out)
{
    uint32_t c = 0;
    size_t taken = decode(src, bytes, &c);

    *ret_text = (const char *)src;
    *ret_out = taken;
    if (taken && !unseen(c))
        return taken;
    *ret_out = (size_t)escape(escaped, src[0], taken > 0, c);
    *ret_text = escaped;
    return taken ? taken : 1;
}

size_t text_clean(char *dst, size_t dst_bytes, const char *src, size_t src_bytes)
{
    const uint8_t *at = (const uint8_t *)src, *end = at + strnlen(src, src_bytes);
    size_t used = 0, fits = 0; /* fits: as much as leaves room for CUT */
    char escaped[ESCAPE_BYTES];
    const char *text;
    size_t out;

    assert(dst_bytes >= 16);
    while (at < end) {
        at += next_piece(at, (size_t)(end - at), escaped, &text, &out);
        if (used + out >= dst_bytes) {
            memcpy(dst + fits, CUT, sizeof CUT);
            return fits + strlen(CUT);
        }
        memcpy(dst + used, text, out);
        used += out;
        if (used + sizeof CUT <= dst_bytes)
            fits = used;
    }
    dst[used] = '\0';
    return used;
}

bool text_is_clean(const char *text)
{
    const uint8_t *at = (const uint8_t *)text, *end = at + strlen(text);
    uint32_t c;

    while (at < end) {
        size_t taken = decode(at, (size_t)(end - at), &c);

        if (!taken || unseen(c))
            return false;
        at += taken;
    }
    return true;
}
