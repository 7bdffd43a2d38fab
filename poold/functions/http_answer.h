/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP/1.1 answer of a guest, as it comes: status, headers and body, all bounded, or what is wrong
 * with it. The parser is http_parser's (RFC 7230), in whose headers no control characters and no
 * blanks in names are taken here. Any thread. */
#ifndef VOLT_POOLD_HTTP_ANSWER_H
#define VOLT_POOLD_HTTP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define HTTP_ANSWER_HEADERS_MAX 64u

/* The last two: of the first bytes of `texts`, NUL-terminated each. */
struct http_answer_header {
    size_t name, value;
};

struct http_answer {
    bool whole; /* nothing more is wanted of it */
    unsigned status;
    size_t body_bytes;
    char *body; /* the caller may take it (free) and set NULL */
    unsigned header_count;
    struct http_answer_header headers[HTTP_ANSWER_HEADERS_MAX];
    /* Its own. */
    struct http_parser *parser;
    char *texts;
    size_t text_bytes, head_max, body_room, body_max;
    bool no_body, head_whole;
    bool open, in_value; /* the last header has begun; its value has */
    struct err err;
};

/* no_body: it is the answer to a HEAD. */
void http_answer_init(struct http_answer *answer, size_t head_max, size_t body_max, bool no_body);
void http_answer_fini(struct http_answer *answer);

/* Takes the next bytes. 0, or -EBADMSG it is not HTTP, -E2BIG too long, -ENOMEM, with a sentence; then
 * it is over. What comes behind a whole answer is ignored. */
int http_answer_feed(struct http_answer *answer, const void *bytes, size_t count, struct err *err);
/* Nothing more comes: that may be the answer's end. 0, or -EBADMSG: it is not whole. */
int http_answer_end(struct http_answer *answer, struct err *err);

static inline const char *http_answer_name(const struct http_answer *answer, unsigned header)
{
    return answer->texts + answer->headers[header].name;
}
static inline const char *http_answer_value(const struct http_answer *answer, unsigned header)
{
    return answer->texts + answer->headers[header].value;
}

#endif
