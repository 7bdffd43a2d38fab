/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: nothing that steers a terminal, ends a line, hides or is no UTF-8 gets through the gate for
 * text, and nothing is lost in JSON. Method: a table of what goes in and what comes out, every byte
 * and every character, every length of buffer. */
#include <check.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/json_text.h"
#include "base/text.h"
#include "base/util.h"
#include "control/control.h"
#include "tap_main.h"

#include <sys/socket.h>

static const struct {
    const char *name, *in, *out;
} texts[] = {
    { "plain", "opening '/dev/kvm': No such device", "opening '/dev/kvm': No such device" },
    { "empty", "", "" },
    { "UTF-8", "Grüße, 東京 🐟", "Grüße, 東京 🐟" },
    { "a line that ends", "ended\n2026-01-01T00:00:00Z error forged",
      "ended\\n2026-01-01T00:00:00Z error forged" },
    { "other space", "a\tb\r\vc", "a\\tb\\r\\x0bc" },
    { "terminal escapes", "\033[2J\033]0;title\007", "\\x1b[2J\\x1b]0;title\\x07" },
    { "C1 controls",
      "\xc2\x9b"
      "2J",
      "\\u{9b}2J" },
    { "delete", "a\177b", "a\\x7fb" },
    { "a byte of nothing", "a\xff\xfe", "a\\xff\\xfe" },
    { "a character that is cut off", "a\xe2\x82", "a\\xe2\\x82" },
    { "a slash written too long", "\xc0\xaf", "\\xc0\\xaf" },
    { "a surrogate", "\xed\xa0\x80", "\\xed\\xa0\\x80" },
    { "beyond Unicode", "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" },
    { "right to left", "exe.\u202egpj", "exe.\\u{202e}gpj" },
    { "isolates", "\u2066a\u2069", "\\u{2066}a\\u{2069}" },
    { "zero width", "pass\u200bword\ufeff", "pass\\u{200b}word\\u{feff}" },
    { "line separator", "a\u2028b", "a\\u{2028}b" },
    { "tags", "a\U000e0041", "a\\u{e0041}" },
    { "a noncharacter", "\U0001fffe", "\\u{1fffe}" },
    { "private use", "\ue000", "\\u{e000}" },
    { "backslash", "C:\\n", "C:\\n" },
};

START_TEST(texts_come_out_as_said)
{
    char out[128];

    ck_assert_uint_eq(text_clean(out, sizeof out, texts[_i].in, SIZE_MAX), strlen(texts[_i].out));
    ck_assert_msg(strcmp(out, texts[_i].out) == 0, "%s: '%s'", texts[_i].name, out);
    ck_assert(text_is_clean(out));
    ck_assert_int_eq(text_is_clean(texts[_i].in), strcmp(texts[_i].in, texts[_i].out) == 0);
}
END_TEST

/* In buffers of every size: whole pieces, the mark where something is missing, never too long. */
START_TEST(texts_are_cut_between_characters)
{
    const char *in = texts[_i].in;
    char whole[256], out[256];
    size_t all = text_clean(whole, sizeof whole, in, SIZE_MAX);

    for (size_t bytes = 16; bytes < sizeof out; bytes++) {
        memset(out, '#', sizeof out);
        size_t used = text_clean(out, bytes, in, SIZE_MAX);

        ck_assert_uint_eq(used, strlen(out));
        ck_assert_uint_lt(used, bytes);
        ck_assert(bytes == sizeof out - 1 || out[bytes] == '#');
        ck_assert(text_is_clean(out));
        if (all < bytes) {
            ck_assert_str_eq(out, whole);
        } else {
            ck_assert_str_eq(out + used - 3, "...");
            ck_assert(strncmp(out, whole, used - 3) == 0);
        }
    }
}
END_TEST

START_TEST(no_byte_and_no_pair_gets_through_raw)
{
    char in[3], out[32];

    for (unsigned a = 1; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            snprintf(in, sizeof in, "%c%c", (int)a, (int)b);
            text_clean(out, sizeof out, in, sizeof in);
            ck_assert(text_is_clean(out));
            for (const char *c = out; *c; c++)
                ck_assert((unsigned char)*c >= ' ' && *c != 0x7f);
        }
    }
}
END_TEST

START_TEST(unterminated_text_ends_at_its_length)
{
    const char in[4] = { 'a', 'b', 'c', 'd' };
    char out[16];

    ck_assert_uint_eq(text_clean(out, sizeof out, in, sizeof in), 4);
    ck_assert_str_eq(out, "abcd");
    ck_assert_uint_eq(text_clean(out, sizeof out, in, 0), 0);
}
END_TEST

START_TEST(json_keeps_every_key)
{
    json_t *object = json_pack("{s:o, s:o, s:o}", "a", json_text("\xff\n"), "b",
                               json_text_or_null(""), "c", json_text("right"));

    ck_assert_ptr_nonnull(object);
    ck_assert_str_eq(json_string_value(json_object_get(object, "a")), "\\xff\\n");
    ck_assert(json_is_null(json_object_get(object, "b")));
    ck_assert_str_eq(json_string_value(json_object_get(object, "c")), "right");
    json_decref(object);
}
END_TEST

START_TEST(json_of_others_is_cleaned_to_its_leaves)
{
    json_t *value = json_texts_clean(json_loads(
        "{\"a\":[1,{\"b\\u001b\":\"\\u202e\"},\"x\\u0000y\"],\"c\":true,\"d\":\"\\u00e4\"}",
        JSON_ALLOW_NUL, NULL));
    char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);

    ck_assert_str_eq(text,
                     "{\"a\":[1,{\"b\\\\x1b\":\"\\\\u{202e}\"},\"x\"],\"c\":true,\"d\":\"ä\"}");
    free(text);
    json_decref(value);
    ck_assert_ptr_null(json_texts_clean(NULL));
}
END_TEST

/* What a VM sends is clean as soon as it is received. */
START_TEST(details_of_messages_are_clean)
{
    struct control_msg sent = { .type = CONTROL_EXITED }, got;
    int pair[2], fds[CONTROL_FDS_MAX];
    unsigned fd_count;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    memset(sent.u.exited.detail, '\n', sizeof sent.u.exited.detail); /* without a NUL */
    ck_assert_int_eq(control_send(pair[0], &sent, NULL, 0), 0);
    ck_assert_int_eq(control_recv(pair[1], &got, fds, &fd_count), 0);
    ck_assert_ptr_nonnull(memchr(got.u.exited.detail, 0, sizeof got.u.exited.detail));
    ck_assert(text_is_clean(got.u.exited.detail));
    ck_assert(strncmp(got.u.exited.detail, "\\n\\n", 4) == 0);
    sent = (struct control_msg){ .type = CONTROL_SNAPSHOT_DONE };
    memcpy(sent.u.snapshot_done.detail, "\033[2J\xff", 5);
    ck_assert_int_eq(control_send(pair[0], &sent, NULL, 0), 0);
    ck_assert_int_eq(control_recv(pair[1], &got, fds, &fd_count), 0);
    ck_assert_str_eq(got.u.snapshot_done.detail, "\\x1b[2J\\xff");
    close(pair[0]);
    close(pair[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base_text");
    TCase *tests = tap_case(suite, "text");

    tcase_add_loop_test(tests, texts_come_out_as_said, 0, ARRAY_LEN(texts));
    tcase_add_loop_test(tests, texts_are_cut_between_characters, 0, ARRAY_LEN(texts));
    tcase_add_test(tests, no_byte_and_no_pair_gets_through_raw);
    tcase_add_test(tests, unterminated_text_ends_at_its_length);
    tcase_add_test(tests, json_keeps_every_key);
    tcase_add_test(tests, json_of_others_is_cleaned_to_its_leaves);
    tcase_add_test(tests, details_of_messages_are_clean);
    return tap_main(suite);
}
