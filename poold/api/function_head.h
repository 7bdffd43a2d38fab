/* SPDX-License-Identifier: Apache-2.0 */
/* Request line and headers of a call, as its function gets them, made of the client's request. */
#ifndef VOLT_POOLD_FUNCTION_HEAD_H
#define VOLT_POOLD_FUNCTION_HEAD_H

#include "http/http.h"

/* Whether a header is the connection's own, of a request or an answer: it is not passed on. */
bool http_header_is_hop(const char *name);

/* In ret_head (room: FUNCTION_HEAD_MAX): by the query's `method` (POST) and `path` (/), with the
 * client's headers and the body's length. 0, or -EINVAL or -E2BIG with a sentence. */
int function_head_make(const struct http_request *request, const char *function, size_t body_bytes,
                       char *ret_head, size_t *ret_bytes, struct err *err);

#endif
