/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: HTTP answers and requests of guests are read as they are meant, however it comes in pieces, and refused with
 * a sentence where it is none or too long. Method: each answer is fed whole, and byte by byte. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "functions/http_message.h"
#include "functions/runtime_api.h"
#include "tap_main.h"

#define HEAD_MAX 64u
#define BODY_MAX 16u

/* Feeds it in pieces, then ends it. */
static int feed(struct http_message *answer, const char *text, size_t piece, struct err *err)
{
    const size_t bytes = strlen(text);
    int rc = 0;

    for (size_t at = 0; rc == 0 && at < bytes; at += piece)
        rc = http_message_feed(answer, text + at, MIN_OF(piece, bytes - at), err);
    return rc == 0 && !answer->whole ? http_message_end(answer, err) : rc;
}

static const struct {
    const char *text;
    bool no_body;
    unsigned status, header_count;
    const char *name, *value, *body; /* of the last header */
} good[] = {
    { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false, 200, 1, "Content-Length", "2",
      "ok" },
    { "HTTP/1.1 200 OK\r\nX: y\r\n\r\nto its end", false, 200, 1, "X", "y", "to its end" },
    { "HTTP/1.0 404 No\r\nA: b\r\nEmpty:\r\nContent-Length: 0\r\n\r\n", false, 404, 3,
      "Content-Length", "0", "" },
    { "HTTP/1.1 200 OK\r\nLast-Empty:\r\n\r\n", true, 200, 1, "Last-Empty", "", "" },
    { "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", true, 200, 1, "Content-Length", "99", "" },
    { "HTTP/1.1 204 No\r\nX: y\r\n\r\n", false, 204, 1, "X", "y", "" },
    { "HTTP/1.1 100 Go on\r\nA: b\r\n\r\nHTTP/1.1 201 Made\r\nX: y\r\nContent-Length: 1\r\n\r\n!",
      false, 201, 2, "Content-Length", "1", "!" },
    { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n"
      "Trailer: left out\r\n\r\n",
      false, 200, 1, "Transfer-Encoding", "chunked", "abcde" },
    { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 behind it", false, 200, 1,
      "Content-Length", "2", "ok" },
    { "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n0123456789abcdef", false, 200, 1,
      "Content-Length", "16", "0123456789abcdef" },
};

START_TEST(answers_are_read)
{
    for (size_t piece = 1; piece < 64; piece++) {
        struct http_message answer;
        struct err err = { 0 };

        http_message_init(&answer, HEAD_MAX, BODY_MAX,
                          good[_i].no_body ? HTTP_MESSAGE_HEAD_ANSWER : HTTP_MESSAGE_ANSWER);
        ck_assert_msg(feed(&answer, good[_i].text, piece, &err) == 0, "%s: %s", good[_i].text,
                      err.msg);
        ck_assert(answer.whole);
        ck_assert_uint_eq(answer.status, good[_i].status);
        ck_assert_uint_eq(answer.header_count, good[_i].header_count);
        ck_assert_str_eq(http_message_name(&answer, answer.header_count - 1), good[_i].name);
        ck_assert_str_eq(http_message_value(&answer, answer.header_count - 1), good[_i].value);
        ck_assert_uint_eq(answer.body_bytes, strlen(good[_i].body));
        ck_assert_mem_eq(answer.body ? answer.body : "", good[_i].body, answer.body_bytes);
        http_message_fini(&answer);
    }
}
END_TEST

static const struct {
    const char *text;
    int code;
    const char *says;
} bad[] = {
    { "", EBADMSG, "without an answer" },
    { "HTTP/1.1 200 OK\r\n", EBADMSG, "not HTTP" },
    { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx", EBADMSG, "not HTTP" },
    { "GET / HTTP/1.1\r\n\r\n", EBADMSG, "not HTTP" },
    { "HTTP/1.1 200 OK\r\nA: \x1b[2J\r\n\r\n", EBADMSG, "invalid character in header" },
    { "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", EBADMSG, "not HTTP" },
    { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", EBADMSG, "not HTTP" },
    { "HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", EBADMSG,
      "switches protocols" },
    { "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n", E2BIG, "over 16 bytes" },
    { "HTTP/1.1 200 OK\r\n\r\n0123456789abcdefg", E2BIG, "over 16 bytes" },
    { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n0123456789abcdefg", E2BIG,
      "over 16 bytes" },
    { "HTTP/1.1 200 OK\r\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA: b"
      "\r\n\r\n",
      E2BIG, "head of the function's answer is over 64 bytes" },
};

START_TEST(what_is_no_answer_is_refused)
{
    for (size_t piece = 1; piece < 128; piece++) {
        struct http_message answer;
        struct err err = { 0 };

        http_message_init(&answer, HEAD_MAX, BODY_MAX, HTTP_MESSAGE_ANSWER);
        ck_assert_int_eq(feed(&answer, bad[_i].text, piece, &err), -bad[_i].code);
        ck_assert_msg(strstr(err.msg, bad[_i].says), "'%s' says nothing of '%s'", err.msg,
                      bad[_i].says);
        ck_assert(!answer.whole);
        http_message_fini(&answer);
    }
}
END_TEST

/* Texts of every length up to what fits, so that each end is met once. */
START_TEST(headers_fill_the_room_and_no_more)
{
    for (unsigned name = 1; name < 70; name++) {
        for (unsigned value = 0; value < 70; value++) {
            struct http_message answer;
            struct err err = { 0 };
            char text[256];
            int rc;

            snprintf(text, sizeof text, "HTTP/1.1 204 OK\r\n%.*s:%.*s\r\n\r\n", (int)name,
                     "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
                     (int)value,
                     "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv");
            http_message_init(&answer, HEAD_MAX, BODY_MAX, HTTP_MESSAGE_ANSWER);
            rc = feed(&answer, text, sizeof text, &err);
            ck_assert_msg((rc == 0) == (name + value + 2 <= HEAD_MAX), "%u and %u: %s", name, value,
                          err.msg);
            if (rc == 0)
                ck_assert_uint_eq(strlen(http_message_value(&answer, 0)), value);
            http_message_fini(&answer);
        }
    }
}
END_TEST

START_TEST(headers_are_counted)
{
    struct http_message answer;
    struct err err = { 0 };
    int rc;

    http_message_init(&answer, 4096, BODY_MAX, HTTP_MESSAGE_ANSWER);
    rc = http_message_feed(&answer, "HTTP/1.1 200 OK\r\n", 17, &err);
    for (unsigned i = 0; rc == 0 && i <= HTTP_MESSAGE_HEADERS_MAX; i++)
        rc = http_message_feed(&answer, "A: b\r\n", 6, &err);
    ck_assert_int_eq(rc, -E2BIG);
    ck_assert_ptr_nonnull(strstr(err.msg, "more than 64 headers"));
    http_message_fini(&answer);
}
END_TEST

static const struct {
    const char *text, *method, *target, *body;
} requests[] = {
    { "GET //2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n", "GET",
      "//2018-06-01/runtime/invocation/next", "" },
    { "POST /a?b=c HTTP/1.1\r\nContent-Length: 2\r\n\r\nok", "POST", "/a?b=c", "ok" },
    { "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "POST", "/a",
      "ok" },
    { "PUT / HTTP/1.0\r\n\r\n", "PUT", "/", "" },
};

START_TEST(requests_are_read)
{
    for (size_t piece = 1; piece < 64; piece++) {
        struct http_message message;
        struct err err = { 0 };

        http_message_init(&message, 128, BODY_MAX, HTTP_MESSAGE_REQUEST);
        ck_assert_msg(feed(&message, requests[_i].text, piece, &err) == 0, "%s", err.msg);
        ck_assert_str_eq(message.method, requests[_i].method);
        ck_assert_str_eq(message.target, requests[_i].target);
        ck_assert_uint_eq(message.body_bytes, strlen(requests[_i].body));
        ck_assert_mem_eq(message.body ? message.body : "", requests[_i].body, message.body_bytes);
        http_message_fini(&message);
    }
}
END_TEST

static const struct {
    const char *text;
    int code;
} no_requests[] = {
    { "", EBADMSG },
    { "HTTP/1.1 200 OK\r\n\r\n", EBADMSG },
    { "GET /\x1b[2J HTTP/1.1\r\n\r\n", EBADMSG },
    { "CONNECT a:1 HTTP/1.1\r\n\r\n", EBADMSG },
    { "GET / HTTP/1.1\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", EBADMSG },
    { "POST / HTTP/1.1\r\nContent-Length: 17\r\n\r\n", E2BIG },
    { "GET /0123456789012345678901234567890123456789012345678901234567890123 HTTP/1.1\r\n\r\n",
      E2BIG },
};

START_TEST(what_is_no_request_is_refused)
{
    for (size_t piece = 1; piece < 64; piece++) {
        struct http_message message;
        struct err err = { 0 };

        http_message_init(&message, HEAD_MAX, BODY_MAX, HTTP_MESSAGE_REQUEST);
        ck_assert_int_eq(feed(&message, no_requests[_i].text, piece, &err), -no_requests[_i].code);
        ck_assert(!message.whole && *err.msg);
        http_message_fini(&message);
    }
}
END_TEST

static const struct {
    const char *method, *target;
    enum runtime_call call;
    const char *id;
} paths[] = {
    { "GET", "/2018-06-01/runtime/invocation/next", RUNTIME_NEXT, "" },
    { "GET", "//2018-06-01/runtime/invocation/next", RUNTIME_NEXT, "" },
    { "POST", "/2018-06-01/runtime/invocation/next", RUNTIME_UNKNOWN, "" },
    { "POST", "/2018-06-01/runtime/invocation/an-id/response", RUNTIME_RESPONSE, "an-id" },
    { "POST", "/2018-06-01/runtime/invocation//response", RUNTIME_RESPONSE, "" },
    { "POST", "/2018-06-01/runtime/invocation/an-id/response/more", RUNTIME_UNKNOWN, NULL },
    { "POST", "/2018-06-01/runtime/invocation/an-id", RUNTIME_UNKNOWN, NULL },
    { "POST", "/2018-06-01/runtime/invocation/an-id/error", RUNTIME_ERROR, "an-id" },
    { "POST", "/2018-06-01/runtime/init/error", RUNTIME_INIT_ERROR, "" },
    { "GET", "/2018-06-01/runtime/restore/next", RUNTIME_RESTORE_NEXT, "" },
    { "POST", "/2018-06-01/runtime/restore/error", RUNTIME_RESTORE_ERROR, "" },
    { "GET", "/2018-06-01/runtime/", RUNTIME_UNKNOWN, NULL },
    { "GET", "/", RUNTIME_UNKNOWN, NULL },
    { "GET", "", RUNTIME_UNKNOWN, NULL },
    { "POST",
      "/2018-06-01/runtime/invocation/0123456789012345678901234567890123456789012345/response",
      RUNTIME_RESPONSE, "012345678901234567890123456789012345678" },
};

START_TEST(paths_of_the_runtime_api)
{
    char id[RUNTIME_ID_BYTES];

    ck_assert_int_eq(runtime_call_of(paths[_i].method, paths[_i].target, id), paths[_i].call);
    if (paths[_i].id)
        ck_assert_str_eq(id, paths[_i].id);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http-message");
    TCase *tcase = tap_case(suite, "answer");

    tcase_add_loop_test(tcase, answers_are_read, 0, ARRAY_LEN(good));
    tcase_add_loop_test(tcase, what_is_no_answer_is_refused, 0, ARRAY_LEN(bad));
    tcase_add_loop_test(tcase, requests_are_read, 0, ARRAY_LEN(requests));
    tcase_add_loop_test(tcase, what_is_no_request_is_refused, 0, ARRAY_LEN(no_requests));
    tcase_add_loop_test(tcase, paths_of_the_runtime_api, 0, ARRAY_LEN(paths));
    tcase_add_test(tcase, headers_fill_the_room_and_no_more);
    tcase_add_test(tcase, headers_are_counted);
    return tap_main(suite);
}
