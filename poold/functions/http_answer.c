/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the reading of a guest's HTTP answer; see http_answer.h. */
#include "functions/http_answer.h"

#include <errno.h>
#include <http_parser.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

/* Whether the parser has let something pass that whoever gets the answer might take for more than a
 * character: it looks at the first of a value less closely, and takes blanks in names. */
static bool text_is_odd(const char *bytes, size_t count, bool name)
{
    for (size_t i = 0; i < count; i++) {
        const unsigned char c = (unsigned char)bytes[i];

        if ((c < ' ' && c != '\t') || c == 0x7f || (name && (c == ' ' || c == '\t')))
            return true;
    }
    return false;
}

/* Appends to the texts of the head; -1: it is noted what is wrong. */
static int text_add(struct http_answer *answer, const char *bytes, size_t count)
{
    if (text_is_odd(bytes, count, !answer->in_value)) {
        err_set(&answer->err, EBADMSG,
                "the function's answer is not HTTP: invalid character in header");
        return -1;
    }
    if (count >= answer->head_max - answer->text_bytes) {
        err_set(&answer->err, E2BIG, "the headers of the function's answer are over %zu bytes",
                answer->head_max);
        return -1;
    }
    if (!answer->texts)
        answer->texts = malloc(answer->head_max);
    if (!answer->texts) {
        err_set(&answer->err, ENOMEM, "out of memory");
        return -1;
    }
    memcpy(answer->texts + answer->text_bytes, bytes, count);
    answer->text_bytes += count;
    return 0;
}

/* Ends the text that was added last: there is always room for its NUL. */
static void text_end(struct http_answer *answer)
{
    answer->texts[answer->text_bytes++] = '\0';
}

static int value_end(struct http_answer *answer)
{
    if (!answer->open)
        return 0;
    /* A header without a value has none added. */
    if (!answer->in_value) {
        text_end(answer);
        answer->headers[answer->header_count].value = answer->text_bytes;
        if (text_add(answer, "", 0) < 0)
            return -1;
    }
    text_end(answer);
    answer->header_count++;
    answer->open = answer->in_value = false;
    return 0;
}

static int on_header_field(http_parser *parser, const char *at, size_t bytes)
{
    struct http_answer *answer = parser->data;

    if (answer->head_whole) /* a trailer: it is left out */
        return 0;
    if (answer->open && answer->in_value && value_end(answer) < 0)
        return -1;
    if (!answer->open) {
        if (answer->header_count == HTTP_ANSWER_HEADERS_MAX) {
            err_set(&answer->err, E2BIG, "the function's answer has more than %u headers",
                    HTTP_ANSWER_HEADERS_MAX);
            return -1;
        }
        answer->headers[answer->header_count].name = answer->text_bytes;
        answer->open = true;
    }
    return text_add(answer, at, bytes);
}

static int on_header_value(http_parser *parser, const char *at, size_t bytes)
{
    struct http_answer *answer = parser->data;

    if (answer->head_whole)
        return 0;
    if (!answer->in_value) {
        text_end(answer);
        answer->headers[answer->header_count].value = answer->text_bytes;
        answer->in_value = true;
    }
    return text_add(answer, at, bytes);
}

static int too_long(struct http_answer *answer)
{
    err_set(&answer->err, E2BIG, "the function's answer is over %zu bytes", answer->body_max);
    return -1;
}

/* 1: there is no body. */
static int on_headers_complete(http_parser *parser)
{
    struct http_answer *answer = parser->data;
    const bool told = parser->content_length != ULLONG_MAX;

    if (value_end(answer) < 0)
        return -1;
    if (parser->status_code == 101) {
        err_set(&answer->err, EBADMSG, "the function's answer switches protocols");
        return -1;
    }
    answer->head_whole = true;
    if (told && !answer->no_body && parser->content_length > answer->body_max)
        return too_long(answer);
    return answer->no_body ? 1 : 0;
}

static int on_body(http_parser *parser, const char *at, size_t bytes)
{
    struct http_answer *answer = parser->data;
    size_t room = MAX_OF(answer->body_room, (size_t)1024);
    char *grown;

    if (bytes > answer->body_max - answer->body_bytes)
        return too_long(answer);
    while (room < answer->body_bytes + bytes)
        room *= 2;
    grown = room == answer->body_room ? answer->body : realloc(answer->body, room);
    if (!grown) {
        err_set(&answer->err, ENOMEM, "out of memory");
        return -1;
    }
    answer->body = grown;
    answer->body_room = room;
    memcpy(answer->body + answer->body_bytes, at, bytes);
    answer->body_bytes += bytes;
    return 0;
}

/* 1xx answers are followed by the true one. */
static int on_message_complete(http_parser *parser)
{
    struct http_answer *answer = parser->data;

    if (parser->status_code < 200) {
        answer->header_count = 0;
        answer->text_bytes = 0;
        answer->head_whole = false;
        return 0;
    }
    answer->status = parser->status_code;
    answer->whole = true;
    http_parser_pause(parser, 1);
    return 0;
}

static const http_parser_settings settings = {
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void http_answer_init(struct http_answer *answer, size_t head_max, size_t body_max, bool no_body)
{
    memset(answer, 0, sizeof *answer);
    answer->head_max = head_max;
    answer->body_max = body_max;
    answer->no_body = no_body;
}

void http_answer_fini(struct http_answer *answer)
{
    free(answer->parser);
    free(answer->texts);
    free(answer->body);
    answer->parser = NULL;
    answer->texts = answer->body = NULL;
}

static bool parser_make(struct http_answer *answer)
{
    if (answer->parser)
        return true;
    answer->parser = malloc(sizeof *answer->parser);
    if (!answer->parser)
        return false;
    http_parser_init(answer->parser, HTTP_RESPONSE);
    answer->parser->data = answer;
    return true;
}

static int feed(struct http_answer *answer, const void *bytes, size_t count, struct err *err)
{
    enum http_errno error;

    if (answer->whole)
        return 0;
    if (!parser_make(answer))
        return err_set(err, ENOMEM, "out of memory");
    http_parser_execute(answer->parser, &settings, bytes, count);
    error = HTTP_PARSER_ERRNO(answer->parser);
    if (answer->whole || error == HPE_OK)
        return 0;
    if (answer->err.code) {
        *err = answer->err;
        return -err->code;
    }
    return err_set(err, EBADMSG, "the function's answer is not HTTP: %s",
                   http_errno_description(error));
}

int http_answer_feed(struct http_answer *answer, const void *bytes, size_t count, struct err *err)
{
    return count ? feed(answer, bytes, count, err) : 0;
}

int http_answer_end(struct http_answer *answer, struct err *err)
{
    int rc = feed(answer, "", 0, err);

    if (rc == 0 && !answer->whole)
        rc = err_set(err, EBADMSG, "the function closed the connection without an answer");
    return rc;
}
