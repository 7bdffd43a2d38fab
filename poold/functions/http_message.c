/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the reading of a guest's HTTP messages; see http_message.h. */
#include "functions/http_message.h"

#include <errno.h>
#include <http_parser.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/util.h"

static const char *name_of(const struct http_message *message)
{
    return message->kind == HTTP_MESSAGE_REQUEST ? "the function's request"
                                                 : "the function's answer";
}

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
static int text_add(struct http_message *message, const char *bytes, size_t count)
{
    if (text_is_odd(bytes, count, !message->in_value)) {
        err_set(&message->err, EBADMSG, "%s is not HTTP: invalid character in header",
                name_of(message));
        return -1;
    }
    if (count >= message->head_max - message->text_bytes) {
        err_set(&message->err, E2BIG, "the head of %s is over %zu bytes", name_of(message),
                message->head_max);
        return -1;
    }
    if (!message->texts)
        message->texts = malloc(message->head_max);
    if (!message->texts) {
        err_set(&message->err, ENOMEM, "out of memory");
        return -1;
    }
    memcpy(message->texts + message->text_bytes, bytes, count);
    message->text_bytes += count;
    return 0;
}

/* Ends the text that was added last: there is always room for its NUL. */
static void text_end(struct http_message *message)
{
    message->texts[message->text_bytes++] = '\0';
}

static int value_end(struct http_message *message)
{
    if (message->in_target)
        text_end(message);
    message->in_target = false;
    if (!message->open)
        return 0;
    /* A header without a value has none added. */
    if (!message->in_value) {
        text_end(message);
        message->headers[message->header_count].value = message->text_bytes;
        if (text_add(message, "", 0) < 0)
            return -1;
    }
    text_end(message);
    message->header_count++;
    message->open = message->in_value = false;
    return 0;
}

/* The first text of a request. */
static int on_url(http_parser *parser, const char *at, size_t bytes)
{
    struct http_message *message = parser->data;

    message->in_target = true;
    return text_add(message, at, bytes);
}

static int on_header_field(http_parser *parser, const char *at, size_t bytes)
{
    struct http_message *message = parser->data;

    if (message->head_whole && !message->piece) /* a trailer: it is left out */
        return 0;
    if ((message->in_target || (message->open && message->in_value)) && value_end(message) < 0)
        return -1;
    if (!message->open) {
        if (message->header_count == HTTP_MESSAGE_HEADERS_MAX) {
            err_set(&message->err, E2BIG, "%s has more than %u headers", name_of(message),
                    HTTP_MESSAGE_HEADERS_MAX);
            return -1;
        }
        message->headers[message->header_count].name = message->text_bytes;
        message->open = true;
    }
    return text_add(message, at, bytes);
}

static int on_header_value(http_parser *parser, const char *at, size_t bytes)
{
    struct http_message *message = parser->data;

    if (message->head_whole && !message->piece)
        return 0;
    if (!message->in_value) {
        text_end(message);
        message->headers[message->header_count].value = message->text_bytes;
        message->in_value = true;
    }
    return text_add(message, at, bytes);
}

static int too_long(struct http_message *message)
{
    err_set(&message->err, E2BIG, "%s is over %zu bytes", name_of(message), message->body_max);
    return -1;
}

/* 1: there is no body. */
static int on_headers_complete(http_parser *parser)
{
    struct http_message *message = parser->data;
    const bool told = parser->content_length != ULLONG_MAX;

    if (value_end(message) < 0)
        return -1;
    if (parser->upgrade || (message->kind != HTTP_MESSAGE_REQUEST && parser->status_code == 101)) {
        err_set(&message->err, EBADMSG, "%s switches protocols", name_of(message));
        return -1;
    }
    message->head_whole = true;
    if (message->kind == HTTP_MESSAGE_REQUEST) {
        message->method = http_method_str((enum http_method)parser->method);
        message->target = message->texts;
        if (message->head)
            message->head(message->owner, message);
    }
    if (told && !message->piece && message->kind != HTTP_MESSAGE_HEAD_ANSWER &&
        parser->content_length > message->body_max)
        return too_long(message);
    return message->kind == HTTP_MESSAGE_HEAD_ANSWER ? 1 : 0;
}

/* 0, or -1: it is noted why. */
static int body_grow(struct http_message *message, size_t bytes)
{
    size_t room = MAX_OF(message->body_room, (size_t)1024);
    char *grown;

    while (room < bytes)
        room *= 2;
    if (room == message->body_room)
        return 0;
    if (message->charge && !message->charge(message->owner, room - message->body_room)) {
        err_set(&message->err, EDQUOT, "%s and all else that is held for you take too much memory",
                name_of(message));
        return -1;
    }
    grown = realloc(message->body, room);
    if (!grown) {
        err_set(&message->err, ENOMEM, "out of memory");
        return -1;
    }
    message->body = grown;
    message->body_room = room;
    return 0;
}

static int on_body(http_parser *parser, const char *at, size_t bytes)
{
    struct http_message *message = parser->data;

    if (message->piece) {
        message->piece(message->owner, at, bytes);
        return 0;
    }
    if (bytes > message->body_max - message->body_bytes)
        return too_long(message);
    if (body_grow(message, message->body_bytes + bytes) < 0)
        return -1;
    memcpy(message->body + message->body_bytes, at, bytes);
    message->body_bytes += bytes;
    return 0;
}

/* 1xx answers are followed by the true one. */
static int on_message_complete(http_parser *parser)
{
    struct http_message *message = parser->data;

    if (message->kind != HTTP_MESSAGE_REQUEST && parser->status_code < 200) {
        message->header_count = 0;
        message->text_bytes = 0;
        message->head_whole = false;
        return 0;
    }
    if (value_end(message) < 0) /* the last trailer */
        return -1;
    message->status = parser->status_code;
    message->whole = true;
    http_parser_pause(parser, 1);
    return 0;
}

static const http_parser_settings settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void http_message_init(struct http_message *message, size_t head_max, size_t body_max,
                       enum http_message_kind kind)
{
    memset(message, 0, sizeof *message);
    message->head_max = head_max;
    message->body_max = body_max;
    message->kind = kind;
}

void http_message_fini(struct http_message *message)
{
    free(message->parser);
    free(message->texts);
    free(message->body);
    message->parser = NULL;
    message->texts = message->body = NULL;
}

static bool parser_make(struct http_message *message)
{
    if (message->parser)
        return true;
    message->parser = malloc(sizeof *message->parser);
    if (!message->parser)
        return false;
    http_parser_init(message->parser,
                     message->kind == HTTP_MESSAGE_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE);
    message->parser->data = message;
    return true;
}

static int feed(struct http_message *message, const void *bytes, size_t count, struct err *err)
{
    enum http_errno error;

    if (message->whole)
        return 0;
    if (!parser_make(message))
        return err_set(err, ENOMEM, "out of memory");
    http_parser_execute(message->parser, &settings, bytes, count);
    error = HTTP_PARSER_ERRNO(message->parser);
    if (message->whole || error == HPE_OK)
        return 0;
    if (message->err.code) {
        *err = message->err;
        return -err->code;
    }
    return err_set(err, EBADMSG, "%s is not HTTP: %s", name_of(message),
                   http_errno_description(error));
}

int http_message_feed(struct http_message *message, const void *bytes, size_t count,
                      struct err *err)
{
    return count ? feed(message, bytes, count, err) : 0;
}

int http_message_end(struct http_message *message, struct err *err)
{
    int rc = feed(message, "", 0, err);

    if (rc == 0 && !message->whole)
        rc = err_set(err, EBADMSG, "the function closed the connection without %s",
                     message->kind == HTTP_MESSAGE_REQUEST ? "a request" : "an answer");
    return rc;
}

const char *http_message_find(const struct http_message *message, const char *name)
{
    for (unsigned i = 0; i < message->header_count; i++) {
        if (strcasecmp(http_message_name(message, i), name) == 0)
            return http_message_value(message, i);
    }
    return NULL;
}
