/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP/1.1 message of a guest, as it comes: an answer, or a request; first line, headers and
 * body, all bounded, or what is wrong with it. The parser is http_parser's (RFC 7230), in whose
 * headers no control characters and no blanks in names are taken here. Any thread. */
#ifndef VOLT_POOLD_HTTP_MESSAGE_H
#define VOLT_POOLD_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define HTTP_MESSAGE_HEADERS_MAX 64u

enum http_message_kind {
    HTTP_MESSAGE_ANSWER,
    HTTP_MESSAGE_HEAD_ANSWER, /* to a HEAD: it has no body */
    HTTP_MESSAGE_REQUEST,
};

/* The last two: of the first bytes of `texts`, NUL-terminated each. */
struct http_message_header {
    size_t name, value;
};

struct http_message {
    bool whole;         /* nothing more is wanted of it */
    unsigned status;    /* of an answer */
    const char *method; /* of a request, in capitals; constant */
    const char *target; /* what it asks for, as it came; valid as long as the message */
    size_t body_bytes;
    char *body; /* the caller may take it (free) and set NULL */
    unsigned header_count;
    struct http_message_header headers[HTTP_MESSAGE_HEADERS_MAX];
    /* The caller's, set after http_message_init: whether the body may have so many bytes more of memory;
     * NULL: it may. */
    bool (*charge)(void *owner, size_t bytes);
    /* The head of a request is whole: the caller may set `piece`. NULL: nobody asks. */
    void (*head)(void *owner, struct http_message *message);
    /* Takes the body as it comes: it is not gathered, has no limit, and its trailers are among the
     * headers when it is whole. NULL: it is gathered. */
    void (*piece)(void *owner, const char *bytes, size_t count);
    void *owner;
    size_t body_room; /* that it has */
    /* Its own. */
    struct http_parser *parser;
    char *texts;
    size_t text_bytes, head_max, body_max;
    enum http_message_kind kind;
    bool head_whole, in_target;
    bool open, in_value; /* the last header has begun; its value has */
    struct err err;
};

void http_message_init(struct http_message *message, size_t head_max, size_t body_max,
                       enum http_message_kind kind);
void http_message_fini(struct http_message *message);

/* Takes the next bytes. 0, or -EBADMSG it is not HTTP, -E2BIG too long, -EDQUOT its body may not have
 * the memory, -ENOMEM, with a sentence; then it is over. What comes behind a whole message is ignored. */
int http_message_feed(struct http_message *message, const void *bytes, size_t count,
                      struct err *err);
/* Nothing more comes: that may be the message's end. 0, or -EBADMSG: it is not whole. */
int http_message_end(struct http_message *message, struct err *err);

static inline const char *http_message_name(const struct http_message *message, unsigned header)
{
    return message->texts + message->headers[header].name;
}
/* The value of the header of that name, in any case; NULL: there is none. */
const char *http_message_find(const struct http_message *message, const char *name);
static inline const char *http_message_value(const struct http_message *message, unsigned header)
{
    return message->texts + message->headers[header].value;
}

#endif
