/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what is served by TCP: calls of functions and nothing else; and how a request is told that it
 * is nobody's, in the words of whoever asks. */
#include <jansson.h>
#include <string.h>

#include "api/api.h"
#include "base/json_text.h"
#include "base/util.h"

const struct route api_remote_routes[] = {
    { "POST", "/v1/functions/{}/invoke", RIGHT_ACQUIRE, api_function_invoke,
      .body = &api_invoke_body, .query = "method path" },
    { "POST", "/2015-03-31/functions/{}/invocations", RIGHT_ACQUIRE, api_lambda_invoke,
      .body = &api_lambda_body, .query = "Qualifier" },
    { "POST", "/2021-11-15/functions/{}/response-streaming-invocations", RIGHT_ACQUIRE,
      api_lambda_stream, .body = &api_lambda_stream_body, .query = "Qualifier" },
};
const size_t api_remote_route_count = ARRAY_LEN(api_remote_routes);

/* AWS' paths begin with a date, as of their API. */
static bool is_aws(const struct http_request *request)
{
    return strncmp(http_target(request), "/20", 3) == 0;
}

void api_remote_denied(struct http_request *request, const struct http_denial *denial)
{
    const bool aws = is_aws(request);
    const unsigned status =
        !aws && denial->status == MHD_HTTP_FORBIDDEN ? MHD_HTTP_UNAUTHORIZED : denial->status;
    const struct http_header headers[] = {
        { "Content-Type", "application/json" },
        aws ? (struct http_header){ "X-Amzn-ErrorType", denial->type }
            : (struct http_header){ "WWW-Authenticate", "Bearer realm=\"volt\"" },
    };
    json_t *body = aws ? json_pack("{s:o}", "message", json_text(denial->sentence))
                       : json_pack("{s:{s:o, s:o}}", "error", "code", json_text("unauthorized"),
                                   "message", json_text(denial->sentence));
    char *text = json_dumps(body, JSON_COMPACT);

    json_decref(body);
    if (log_share_allows(&api_of(request)->client_lines))
        log_warn("a request from %s is refused: %s: %s", request->connection->from, denial->type,
                 denial->sentence);
    http_reply_with(request, status, headers, ARRAY_LEN(headers), text, text ? strlen(text) : 0);
}
